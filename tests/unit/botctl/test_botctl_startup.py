"""The speed of botctl is what it does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from botctl.light import cleandoc
from tests.unit.botctl.conftest import bot_row
from tests.unit.botctl.test_botctl_help import COMMANDS

HEAVY = {"asyncio", "yaml", "redis", "sqlite_utils", "sqlite3", "numpy", "ccxt", "msgspec", "aiohttp", "talib"}
AVOIDED = HEAVY | {"curses", "subprocess", "importlib.metadata", "dataclasses", "decimal", "csv", "tempfile", "shutil"}
AVOIDED |= {
    "inspect",
    "ast",
    "html.entities",
    "textwrap",
    "uuid",
    "platform",
    "pickle",
    "random",
    "difflib",
    "gettext",
    "locale",
}


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
    assert not AVOIDED & seen


def test_the_stand_in_for_tabulates_sake_does_not_stay():
    code = "from botctl.light import load_tabulate; load_tabulate(); import importlib.metadata as real; "
    subprocess.run([sys.executable, "-c", code + "real.version('click')"], check=True)


def test_what_click_and_zmq_do_without_is_there_when_it_is_used():
    code = "import botctl, click.core, sys; from botctl.light import load_zmq; zmq = load_zmq(); "
    code += "assert not {'inspect', 'uuid', 'gettext', 'pickle', 'random', 'platform'} & set(sys.modules); "
    code += "assert click.core.inspect.isfunction(load_zmq) and click.core.inspect.signature(load_zmq); "
    code += "assert zmq.sugar.socket.pickle.loads(zmq.sugar.socket.pickle.dumps([1])) == [1]; "
    code += "import inspect, uuid, random; assert uuid.UUID(int=1) and random.random() < 1 and inspect.getsource"
    subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"], check=True)


def test_help_is_cleaned_as_the_standard_library_does_it():
    import inspect

    texts = ["one line", "", "\n\n  a\n    b\n  c\n\n", "first\n    second\n\n      third\n    ", "\ta\n\t b\n  \n"]
    for command in COMMANDS.values():
        texts += [command.callback.__doc__, *(getattr(parameter, "help", "") or "" for parameter in command.params)]
    assert [cleandoc(text) for text in texts] == [inspect.cleandoc(text) for text in texts]


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


def test_short_global_options_are_the_long_ones_but_not_behind_two_dashes(botctl, bots):
    assert botctl("-q", "ls", "-o", "name").out == botctl("ls", "--output", "name").out != ""
    assert botctl("ls", "-oname").out == botctl("ls", "-o", "name").out
    bots.handlers["start"] = lambda args: {"rows": [{"name": name} for name in args["names"]]}
    botctl("start", "--", "-o")
    assert bots.asked("start") == [{"names": ["-o"]}]
