"""The speed of botctl is what it does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.botctl.conftest import bot_row

HEAVY = {"asyncio", "yaml", "redis", "sqlite_utils", "sqlite3", "numpy", "ccxt", "msgspec", "aiohttp", "talib"}
AVOIDED = HEAVY | {"curses", "subprocess", "importlib.metadata", "dataclasses", "decimal", "csv", "tempfile", "shutil"}


def imported(*arguments, code=0):
    """Return the modules that a run of botctl imports, as -X importtime tells them."""
    command = [sys.executable, "-S", "-X", "importtime", "-c", PROGRAM, *sys.path, "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == code, done.stderr
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


# Without site: what an editable install's finder imports is not ours.
PROGRAM = "import sys; at = sys.argv.index('--'); sys.path[:] = sys.argv[1:at]; sys.argv[1:at + 1] = []; "
PROGRAM += "from botctl.cli import main; main()"


@pytest.fixture
def bots(botd):
    botd.handlers["ls"] = lambda args: {"rows": [bot_row(f"bot{number}") for number in range(200)], "next": None}
    botd.handlers["start"] = lambda args: {"rows": []}
    return botd


def test_a_list_as_json_imports_zmq_and_nothing_heavy(bots):
    seen = imported("ls", "-o", "json")
    assert "zmq" in seen
    assert not (AVOIDED | {"tabulate"}) & seen


def test_a_table_imports_tabulate_besides(bots):
    seen = imported("ls")
    assert "tabulate" in seen
    assert not (AVOIDED - {"dataclasses"}) & seen  # tabulate's own


def test_the_stand_in_for_tabulates_sake_does_not_stay():
    code = "from botctl.light_tabulate import load; load(); import importlib.metadata as real; real.version('click')"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_action_imports_no_tabulate(bots):
    assert not (AVOIDED | {"tabulate"}) & imported("start", "a")


def test_without_a_daemon_zmq_is_not_imported(tmp_path):
    assert not (AVOIDED | {"tabulate", "zmq"}) & imported("ls", "--endpoint", str(tmp_path / "none"), code=69)


def test_a_verb_imports_its_own_page_only(bots):
    seen = imported("ls", "-o", "json")
    pages = {name for name in seen if name.startswith("botctl.commands.")}
    assert pages == {"botctl.commands.inspect"}


def test_of_botd_only_the_protocol_is_imported(bots):
    rooms = {name for name in imported("ls", "-o", "json") if name.split(".")[0] == "botd"}
    assert rooms == {"botd", "botd.control", "botd.control.protocol"}
