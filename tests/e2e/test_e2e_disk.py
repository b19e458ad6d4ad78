"""A disk that is full, filling up or read-only: said plainly, nothing opened meanwhile, nothing lost."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from botd.ledger.failures import free_bytes
from tests.e2e.conftest import Botd
from tests.fakes.refused import refuse_both_starts, refuse_start, refused

RSI = ["--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000"]
MIB = 1 << 20
STILL = {"market": {"autoplay": False}}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 280 MiB: new positions are opened while 200 MiB are free."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=280m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def on_disk(disk: Path) -> Iterator[Callable[[dict[str, Any]], Botd]]:
    """Make daemons whose state directory, and nothing else, is on the small disk."""
    made: list[Botd] = []

    def make(config: dict[str, Any]) -> Botd:
        botd = Botd(disk.parent / "a")
        botd.state_dir = disk / "state"
        botd.socket = botd.state_dir / "control.sock"
        botd.configure(config)
        made.append(botd)
        return botd

    yield make
    for botd in made:
        if botd.process is not None and botd.process.poll() is None:
            botd.kill()


def fill_up(place: Path, leave: int = 0) -> None:
    with (place / "filler").open("ab") as file:
        while (free := free_bytes(place)) > leave:
            with contextlib.suppress(OSError):  # the daemon was faster
                size = os.fstat(file.fileno()).st_size
                os.posix_fallocate(file.fileno(), size, free - leave)


def test_a_disk_that_is_full_or_read_only_at_the_start_leaves_nothing_in_the_way(disk: Path, on_disk: Any) -> None:
    botd = on_disk(STILL)
    fill_up(disk)
    refuse_start(botd, 69, "botd.lock: the disk is full", "free space there")
    (disk / "filler").unlink()
    botd.start().run("create", "kept", *RSI)
    botd.stop()
    fill_up(disk)
    refuse_both_starts(botd, 69, "the disk is full", "free space there")
    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    refuse_both_starts(botd, 77, "state(/botd.lock)?: (cannot be written|Read-only file system)", "another state_dir")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert botd.start().run("ls", "-o", "name").stdout == "kept\n"
    botd.stop()


def test_a_disk_that_fills_up_denies_entries_and_loses_nothing(disk: Path, on_disk: Any) -> None:
    market = {"symbols": ["BTC/USDT", "ETH/USDT"], "speed": 1800}
    botd = on_disk({"market": market}).start()
    often = ["--set", "period=3", "--set", "oversold=49", "--set", "overbought=51"]
    botd.run("create", "busy", *RSI, *often, "--start")
    botd.until(lambda: len(botd.json("trades", "busy")) > 5, 20)
    before = [row["trade_id"] for row in botd.json("fills")]
    fill_up(disk, leave=100 * MIB)  # low: still written, nothing opened
    botd.run("wait", "--for", "health=failed", "--timeout", "20")
    assert botd.health_check("ledger")["detail"].endswith("MB free: no new positions")
    botd.until(lambda: len(botd.json("orders", "--status", "denied")) > 2, 20)
    denied = botd.json("orders", "--status", "denied")
    assert {row["reason"] for row in denied} == {"NOT_READY"}
    gates = botd.json("why", "busy", "--at", denied[0]["created"])["gates"]
    assert (gates[-1]["gate"], gates[-1]["detail"]) == ("readiness", "not ready: ledger: the disk is nearly full")
    (disk / "filler").unlink()
    held = len(botd.json("trades", "busy"))
    botd.until(lambda: len(botd.json("trades", "busy")) > held, 20)
    fill_up(disk)
    botd.until(lambda: "disk is full" in botd.health_check("ledger")["detail"], 20)
    for arguments in (["daemon", "ping"], ["ls"], ["show", "busy"], ["portfolio"], ["fills"], ["market", "status"]):
        assert botd.run(*arguments).stderr == ""
    refused(botd.run("create", "later", *RSI, check=False), 69, "the disk is full", "nothing is lost")
    refused(botd.run("halt", "--timeout", "5", check=False), 69, "the disk is full", "nothing is lost")
    refused(botd.run("stop", "busy", check=False), 69, "the disk is full", "nothing is lost")
    (disk / "filler").unlink()
    botd.until(lambda: botd.health_check("ledger")["status"] != "failed", 20)
    assert botd.run("start", "busy").stdout == "busy  stopped -> running\n"
    assert botd.run("release").stdout == "account  halted -> active\n"
    assert botd.run("create", "later", *RSI).stdout.startswith("later  unchanged")
    fills = botd.json("fills")
    assert [row["trade_id"] for row in fills][: len(before)] == before
    assert botd.run("backup", "--verify").stdout.rstrip().endswith("verified")
    botd.kill()
    botd.start()
    again = [row["trade_id"] for row in botd.json("fills")]
    assert again[: len(fills)] == [row["trade_id"] for row in fills]
    assert len(set(again)) == len(again)
    assert "Traceback" not in botd.log()
    botd.stop()


def test_a_daemon_that_ends_on_a_full_disk_says_what_was_not_written_and_plays_it_again(
    disk: Path, on_disk: Any
) -> None:
    botd = on_disk({"market": {"speed": 0}}).start()
    botd.run("create", "busy", *RSI, "--set", "period=3", "--start")
    fill_up(disk)
    botd.until(lambda: "disk is full" in botd.health_check("ledger")["detail"], 20)
    time.sleep(0.5)  # the market has run into the ledger's brake
    refused(botd.run("pause", "busy", check=False), 69, "the disk is full", "nothing is lost")
    began = time.monotonic()
    assert botd.stop() == 70
    assert time.monotonic() - began < 15
    assert "batches could not be written: ledger: the disk is full" in botd.log()
    assert "Traceback" not in botd.log()
    (disk / "filler").unlink()
    assert botd.start().run("ls", "-o", "name").stdout == "busy\n"
    botd.stop()
