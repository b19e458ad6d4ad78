"""The lab as a user runs it: processes, a terminal, Ctrl-C, a machine without the extra `lab`."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from botd.domain.candles import Candles
from botd.market.store.candle_store import CandleStore
from tests.e2e.conftest import BIN, Botd, clean_environment
from tests.unit.backtest.conftest import walk
from tests.unit.lab.conftest import csv_of, in_cents

LANE = ("--symbol", "BTC/USDT", "--interval", "1m")


class Lab:
    """botctl with a configuration and a store of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "botd.yaml").write_text("data_dir: candles\nstate_dir: state\nstrategies_dir: strategies\n")
        CandleStore(home / "candles").write("BTC/USDT", "1m", in_cents(walk(30_000)))
        self.environment = {**clean_environment(), "HOME": str(home), "BOTD_CONFIG": str(home / "botd.yaml")}

    def begin(self, *words: str, **settings: Any) -> subprocess.Popen[str]:
        return subprocess.Popen([BIN / "botctl", *words], env=self.environment, text=True, cwd=self.home, **settings)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**self.environment, **environment}
        command = [BIN / "botctl", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, cwd=self.home, timeout=60)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_backtest_is_data_on_stdout_and_the_same_twice(lab: Lab) -> None:
    rows = []
    for _ in range(2):
        done = lab.run("backtest", "rsi", *LANE, "--stop-loss", "2%", "--trades", "-o", "json")
        assert (done.returncode, done.stderr) == (0, "")
        rows.append(json.loads(done.stdout))
    assert rows[0]["trade_list"] == rows[1]["trade_list"] and rows[0]["sharpe"] == rows[1]["sharpe"]
    assert rows[0]["trades"] > 50


def test_ctrl_c_ends_a_sweep_with_what_it_has_and_it_goes_on(lab: Lab) -> None:
    folder = lab.home / "strategies"
    folder.mkdir()
    (folder / "slow.py").write_text(
        "import time\nimport talib\nfrom botd.strategy.base import Signals, SignalStrategy\n"
        "from botd.strategy.comparisons import above, below\nfrom botd.strategy.parameters import integer\n\n\n"
        "class Slow(SignalStrategy):\n"
        "    period = integer(14, low=2, high=500)\n\n    def warmup(self):\n        return 500\n\n"
        "    def signals(self, candles):\n        time.sleep(0.04 if len(candles.close) > 25000 else 0)\n"
        "        mean = talib.SMA(candles.close, self.period)\n"
        "        close = candles.close\n        return Signals(above(close, mean, close), below(close, mean, close))\n"
    )
    words = ("sweep", "slow", *LANE, "--range", "period=2:400", "--top", "1000", "-o", "json")
    leader, follower = pty.openpty()
    told_rows = lab.home / "rows.json"  # a file: a pipe that nobody reads yet would stop a command with many rows
    with told_rows.open("w") as stdout:
        process = lab.begin(*words, stdout=stdout, stderr=follower)
    os.close(follower)
    shown, signalled = b"", False
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            part = os.read(leader, 4096)
        except OSError:
            break
        shown += part
        if b"/s" in shown and b"[#" in shown and not signalled:
            process.send_signal(signal.SIGINT)
            signalled = True
    os.close(leader)
    assert process.wait(timeout=20) == 130, shown
    rows = json.loads(told_rows.read_text())
    told = shown.decode()
    assert "left" in told and "Traceback" not in told
    assert f"stopped after {len(rows)} of 399 sets" in told and 0 < len(rows) < 399
    (kept,) = (lab.home / "candles" / "sweeps").iterdir()
    assert len(kept.read_bytes().splitlines()) == len(rows)
    again = lab.run("sweep", "slow", *LANE, "--range", "period=2:400:199", "--top", "1000")
    assert again.returncode == 0 and "known from before" in again.stderr


def test_without_the_extra_a_command_says_so_in_a_line(lab: Lab) -> None:
    (lab.home / "absent" / "numba").mkdir(parents=True)
    fault = "raise ModuleNotFoundError(\"No module named 'numba'\", name='numba')\n"
    (lab.home / "absent" / "numba" / "__init__.py").write_text(fault)
    for words in (("backtest", "rsi", *LANE), ("sweep", "rsi", *LANE, "--range", "period=5:9")):
        done = lab.run(*words, PYTHONPATH=str(lab.home / "absent"))
        assert (done.returncode, done.stdout) == (69, "") and done.stderr.count("\n") == 2
        assert "backtests need numba, which is not installed" in done.stderr and "botctl[lab]" in done.stderr


def test_a_report_is_written_and_named(lab: Lab) -> None:
    done = lab.run("report", "rsi", *LANE, "--out", "r.html")
    assert (done.returncode, done.stdout) == (0, "written: r.html\n")
    assert (lab.home / "r.html").read_text().startswith("<!doctype html>")


def on_the_market(home: Path, rows: Candles) -> Botd:
    """Return a botd that replays these candles of BTC/USDT once it is told to play, every limit off."""
    (home / "btc.csv").write_text(csv_of(rows))
    market = {"source": "replay", "files": {"BTC/USDT": str(home / "btc.csv")}, "speed": 0, "autoplay": False}
    return Botd(home, {"market": market, "risk": {"preset": "off"}, "data_dir": str(home / "candles")}).start()


def test_replay_holds_a_bot_to_the_rules(tmp_path: Path) -> None:
    daemon = on_the_market(tmp_path, in_cents(walk(6000)))
    try:
        words = ("--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "10000")
        daemon.run("create", "alpha", *words, "--stop-loss", "2%", "--set", "period=7", "--start")
        daemon.run("create", "idle", *words)
        daemon.run("market", "play")
        daemon.run("wait", "--for", "market=ended", "--timeout", "60s")
    finally:
        daemon.stop()
    config = ("--config", str(daemon.config_file))
    same = daemon.json("replay", "alpha", *config)
    assert len(same) > 10 and {row["verdict"] for row in same} == {"same"}
    assert max(row["difference_pct"] for row in same) < 1e-7
    missed = daemon.run("replay", "idle", *config, check=False)
    assert missed.returncode == 1 and "missing" in missed.stdout and "0 trades, " in missed.stderr
    (tmp_path / "other.csv").write_text(csv_of(in_cents(walk(6000, seed=6))))
    other = daemon.run("replay", "alpha", *config, "--data", str(tmp_path / "other.csv"), check=False)
    assert other.returncode == 1 and "not the same" in other.stderr
    assert daemon.run("replay", "alfa", *config, check=False).returncode == 4


def test_replay_holds_bots_that_place_their_own_orders_to_the_rules_order_by_order(tmp_path: Path) -> None:
    rows = in_cents(walk(4000))
    daemon = on_the_market(tmp_path, rows)
    try:
        words = ("--symbol", "BTC/USDT", "--interval", "1m", "--capital", "10000", "--start")
        bounds = (f"lower={rows.close.min():.2f}", "--set", f"upper={rows.close.max():.2f}")
        daemon.run("create", "drip", "--strategy", "dca", *words, "--set", "amount=50", "--set", "take_profit=900%")
        daemon.run("create", "net", "--strategy", "grid", *words, "--set", *bounds)
        daemon.run("market", "play")
        daemon.run("wait", "--for", "market=ended", "--timeout", "60s")
        fills = {name: daemon.json("fills", name, "-n", "10000") for name in ("drip", "net")}
        daemon.run("set", "drip", "amount=60")
    finally:
        daemon.stop()
    config = ("--config", str(daemon.config_file))
    told = daemon.json("replay", "net", *config)
    assert {row["verdict"] for row in told} == {"same"} and {row["side"] for row in told} == {"buy", "sell"}
    assert len(told) == len({row["client_order_id"] for row in fills["net"]}) > 5
    (tmp_path / "other.csv").write_text(csv_of(in_cents(walk(4000, seed=6))))
    other = daemon.run("replay", "net", *config, "--data", str(tmp_path / "other.csv"), check=False)
    assert other.returncode == 1 and "missing" in other.stdout
    assert f"net: {len(told)} orders, " in other.stderr and "not the same" in other.stderr
    assert len(fills["drip"]) > 50
    nothing = daemon.run("replay", "drip", *config)
    assert nothing.stdout == "" and "drip: nothing was compared" in nothing.stderr
    assert "amount changed at " in nothing.stderr and "nothing to compare yet: it holds what " in nothing.stderr
