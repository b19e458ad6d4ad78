"""A disk that fails at the n-th write or sync: nothing is sent that is not durable, nothing is lost, it goes on by
itself, and no sync is asked for again where one failed.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Botd, make_botd  # noqa: F401
from tests.kill.failing_disk import FailingDisk, why_not
from tests.kill.worlds import unsound

ROOT = Path(__file__).parents[2]
ORDERS = 60
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)
pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FailingDisk(tmp_path_factory.mktemp("shim")).library


@pytest.fixture
def disk(library: Path, tmp_path: Path) -> FailingDisk:
    """A disk of this test's own."""
    return FailingDisk(tmp_path, library)


@pytest.fixture
def send(disk: FailingDisk, tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """Send orders on the disk, in a process of its own."""

    def run() -> dict[str, Any]:
        (tmp_path / "ledger").mkdir()
        command = [sys.executable, "-m", "tests.kill.intents_child", str(tmp_path / "ledger"), str(ORDERS)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **disk.environment}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize(
    ("operation", "skip", "error"),
    [
        *(("write", 37, error) for error in ERRORS),
        ("write", 0, ERRORS[0]),
        ("sync", 7, ERRORS[1]),
        ("sync", 0, ERRORS[2]),
    ],
)
def test_a_refused_write_is_never_followed_by_a_send(
    disk: FailingDisk, send: Any, tmp_path: Path, operation: str, skip: int, error: int
) -> None:
    disk.fail(operation, error, "-wal", skip=skip, times=4)
    told = send()
    assert told["denied"] and told["later"], "it met the errors, and went on by itself"
    assert not set(told["sent"]) & set(told["denied"])
    assert len(told["sent"]) + len(told["denied"]) == ORDERS
    assert told["not_durable"] == []
    assert unsound(tmp_path / "ledger" / "ledger.db") == []
    with sqlite3.connect(tmp_path / "ledger" / "ledger.db") as connection:
        rows = dict(connection.execute("SELECT client_order_id, status FROM orders"))
    connection.close()
    assert {rows[order] for order in told["denied"]} == {"denied"}
    assert rows.keys() == {*told["sent"], *told["denied"]}
    assert_no_sync_is_asked_for_again(disk)


@pytest.mark.parametrize(("operation", "skip"), [("write", 2), ("sync", 1)])
def test_a_file_that_takes_nothing_from_the_log_costs_no_order(
    disk: FailingDisk, send: Any, tmp_path: Path, operation: str, skip: int
) -> None:
    disk.fail(operation, errno.EIO, "ledger.db", skip=skip, times=2)
    told = send()
    assert (told["denied"], told["not_durable"], len(told["sent"])) == ([], [], ORDERS)
    assert unsound(tmp_path / "ledger" / "ledger.db") == []
    assert_no_sync_is_asked_for_again(disk)


def assert_no_sync_is_asked_for_again(disk: FailingDisk) -> None:
    """What a failed sync left unwritten no other makes durable: the log is opened anew, the file is written anew."""
    failed: dict[tuple[int, str], bool] = {}
    for operation, descriptor, name, result in disk.calls():
        key = (descriptor, name)
        if operation == "close" or (operation == "write" and not name.endswith("-wal")):
            failed.pop(key, None)
        elif operation == "sync":
            assert key not in failed, f"{name} was synced again on the same descriptor"
            if result < 0:
                failed[key] = True


def test_botd_goes_on_by_itself_when_its_disk_is_well_again(
    disk: FailingDisk,
    make_botd: Callable[..., Botd],  # noqa: F811
) -> None:
    """Meanwhile it answers, says what is wrong, opens nothing and acknowledges nothing."""
    botd = make_botd({"market": {"speed": 1800}})
    botd.environment.update(disk.environment)
    botd.start()
    often = ["--set", "period=3", "--set", "oversold=49", "--set", "overbought=51"]
    rsi = ["--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000"]
    botd.run("create", "busy", *rsi, *often, "--start")
    botd.until(lambda: len(botd.json("trades", "busy")) > 2, 20)
    for operation, error, said in (("sync", errno.EIO, "input/output error"), ("write", errno.ENOSPC, "disk is full")):
        disk.fail(operation, error, "-wal")
        botd.until(lambda said=said: said in ledger_check(botd)["detail"], 20)
        refused = botd.run("create", "later", *rsi, check=False)
        assert (refused.returncode, said in refused.stderr) == (69, True), refused.stderr
        before = len(botd.json("fills"))
        disk.heal()
        botd.until(lambda: ledger_check(botd)["status"] == "ok", 20)
        botd.until(lambda before=before: len(botd.json("fills")) > before + 2, 20)
    fills = [row["trade_id"] for row in botd.json("fills")]
    botd.kill()
    botd.start()
    again = [row["trade_id"] for row in botd.json("fills")]
    assert again[: len(fills)] == fills
    assert len(set(again)) == len(again)
    assert botd.stop() == 0
    assert unsound(botd.state_dir / "ledger.db") == []
    assert_no_sync_is_asked_for_again(disk)


def ledger_check(botd: Botd) -> dict[str, str]:
    health = json.loads(botd.run("health", "-o", "json", check=False).stdout)
    return next(check for check in health["checks"] if check["name"] == "ledger")
