"""What the verbs promise about bots and their positions, on a market whose every price is known.

Two symbols rise at the end of their files, so whoever follows the trend holds something when the market stands.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Botd
from tests.fakes.refused import BIN, refused
from tests.fakes.rising_market import CRASH, FAST, IDLE, RISING, TREND, Rising

HOLDERS = ("alpha", "beta", "gamma", "delta", "eps", "zeta")
RAISES = '''
import pathlib
import numpy as np
from botd.strategy.base import Signals, SignalStrategy

class Raises(SignalStrategy):
    """Raises at every candle, once it is broken."""

    def warmup(self):
        return 1

    def signals(self, candles):
        if pathlib.Path(__file__).with_suffix(".broken").exists():
            raise ValueError("a mistake in the strategy")
        return Signals(*np.zeros((2, len(candles)), bool))
'''


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rising]:
    """Six bots that hold BTC, one that holds ETH, one that is flat; the market stands at its end."""
    botd = Rising(tmp_path_factory.mktemp("fleet"))
    try:
        botd.start()
        for number, name in enumerate(HOLDERS):
            botd.run(
                *("create", name, *TREND, *FAST, "--stop-loss", "5%", "--take-profit", "50%", "--start"),
                *("--label", "team=a" if number % 2 else "team=b", "--label", "kind=holder"),
            )
        eth = [word.replace("BTC", "ETH") for word in TREND]
        botd.run("create", "ether", *eth, *FAST, "--start")
        botd.run("create", "flat", *IDLE, "--start")
        levels = ["--set", "lower=80", "--set", "upper=98", "--set", "levels=4"]
        botd.run("create", "ladder", *eth[2:], "--strategy", "grid", *levels, "--start")
        botd.play()
        assert all(botd.position(name) for name in (*HOLDERS, "ether"))
        yield botd
    finally:
        botd.stop()


# -- create, start, stop, pause


def test_create_says_what_should_be(fleet: Rising) -> None:
    create = ["create", "new", *IDLE, "--set", "period=21", "--stop-loss", "2%"]
    assert fleet.run(*create).stdout.startswith("new  created  created  largest order ")
    assert fleet.run(*create).stdout.startswith("new  unchanged  created")
    assert fleet.run(*create, "--capital", "1000.00").stdout.startswith("new  unchanged")
    other = [*create, "--capital", "500"]
    refused(fleet.run(*other, check=False), 5, "new: exists with another spec .capital 1000 -> 500", "use --replace")
    number = fleet.json("show", "new")["number"]
    assert fleet.run(*other, "--replace").stdout.startswith("new  replaced")
    shown = fleet.json("show", "new")
    assert (shown["number"], shown["capital"], shown["equity"]) == (number, "500", "500")
    assert fleet.run("rm", "new").stdout == "new  created -> removed\n"
    small, large = fleet.run(*create, "--capital", "4"), fleet.run(*create, "--capital", "200000", "--replace")
    assert "warning: new: it cannot buy: an order is worth at least 5 USDT\n" in small.stderr
    assert "account is worth" in large.stderr and "the gate decides at each order\n" in large.stderr
    fleet.run("rm", "new")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("dca", "--set", "amount=1"), "is worth 1 USDT, the exchange takes none below 5"),
        (("dca", "--set", "amount=1000"), "is worth 1000 USDT, its capital is 100"),
        (("grid", "--set", "lower=10", "--set", "upper=20", "--set", "levels=101"), "is worth 1 USDT, the exchange"),
        (("grid", "--set", "lower=10", "--set", "upper=20", "--set", "levels=11"), ""),
    ],
)
def test_a_strategy_whose_orders_are_too_small_or_too_large_is_told(
    fleet: Rising, words: tuple[str, ...], problem: str
) -> None:
    made = fleet.run("create", "odd", "--strategy", *words, *IDLE[2:], "--capital", "100")
    assert ("it cannot buy: each of its orders" in made.stderr) is bool(problem) and problem in made.stderr
    fleet.run("rm", "odd")


def test_start_of_a_running_bot_and_stop_of_a_stopped_one_change_nothing(fleet: Rising) -> None:
    assert fleet.run("start", "flat").stdout == "flat  running (unchanged)\n"
    assert fleet.run("stop", "flat").stdout == "flat  running -> stopped\n"
    assert fleet.run("stop", "flat").stdout == "flat  stopped (unchanged)\n"
    refused(fleet.run("pause", "flat", check=False), 5, "flat: is stopped, only a running bot can be paused")
    refused(fleet.run("resume", "flat", check=False), 5, "flat: is stopped, not paused", "botctl start flat")
    assert fleet.run("show", "flat", "--check", check=False).returncode == 3
    assert fleet.run("start", "flat").stdout == "flat  stopped -> running\n"
    assert fleet.run("show", "flat", "--check").returncode == 0
    assert fleet.run("pause", "flat").stdout == "flat  running -> paused\n"
    assert fleet.run("pause", "flat").stdout == "flat  paused (unchanged)\n"
    assert fleet.run("start", "flat").returncode == 0
    assert fleet.run("resume", "flat").returncode == 0
    assert fleet.json("show", "flat")["state"] == "running"
    assert fleet.run("restart", "flat").stdout == "flat  running (unchanged)  restarted\n"


def test_stop_prints_what_is_held_and_what_guards_it(fleet: Rising) -> None:
    held = fleet.position("alpha")
    said = fleet.run("stop", "alpha").stdout
    guard = f"stop {held['stop']} and target {held['target']} still guarded"
    assert said == f"alpha  running -> stopped  holds {held['quantity']} BTC, {guard}\n"
    assert fleet.position("alpha") == held
    assert held["guard"] == "botd"
    said = fleet.run("stop", "ether").stdout
    assert said == f"ether  running -> stopped  holds {fleet.position('ether')['quantity']} ETH, no stop\n"


def test_stop_with_close_sells(fleet: Rising) -> None:
    quantity = fleet.position("beta")["quantity"]
    assert fleet.run("stop", "beta", "--close").stdout == f"beta  running -> stopped  sold {quantity} BTC\n"
    assert fleet.position("beta") is None
    assert fleet.json("trades", "beta")[-1]["exit_reason"] == "manual"
    refused(fleet.run("stop", "--all", "--close", check=False), 2, "not without --yes", "no terminal")
    assert fleet.position("gamma") is not None


def test_close_sells_and_pauses_unless_told_otherwise(fleet: Rising) -> None:
    assert fleet.run("close", "gamma").stdout.startswith("gamma  sold ")
    shown = fleet.json("show", "gamma")
    assert (shown["position"], shown["state"], shown["desired"]) == (None, "paused", "paused")
    again = fleet.run("close", "gamma")
    rests = "nothing was held, paused: no entries until botctl resume gamma"
    assert (again.returncode, again.stdout) == (0, f"gamma  sold 0  {rests}\n")
    assert fleet.run("close", "delta", "--keep-running").returncode == 0
    assert fleet.json("show", "delta")["state"] == "running"
    refused(fleet.run("close", "--all", check=False), 2, "not without --yes")


def test_rm_is_refused_while_something_is_held_and_force_leaves_it_unassigned(fleet: Rising) -> None:
    held = fleet.position("eps")["quantity"]
    number = fleet.json("show", "eps")["number"]
    refused(fleet.run("rm", "eps", check=False), 5, f"eps: holds {held}0* BTC", "botctl close eps")
    refused(fleet.run("rm", "eps", "--force", check=False), 2, "not without --yes")
    assert fleet.json("portfolio")["unassigned"] == []
    said = fleet.run("rm", "eps", "--force", "--yes").stdout
    assert said.startswith("eps  running -> removed  ") and said.endswith(" BTC now unassigned\n")
    (left,) = fleet.json("portfolio")["unassigned"]
    assert (left["asset"], Decimal(left["quantity"])) == ("BTC", Decimal(held))
    assert "eps" not in fleet.run("ls", "-o", "name").stdout.split()
    assert [row["state"] for row in fleet.json("ls", "--removed") if row["name"] == "eps"] == ["removed"]
    refused(fleet.run("show", "eps", check=False), 4, "eps: no such bot")
    assert len(fleet.json("fills", "eps")) == 1  # what it did is kept
    fleet.run("create", "eps", *IDLE)
    shown = fleet.json("show", "eps")
    assert shown["number"] > number and shown["trades"] == 0 and shown["position"] is None
    assert fleet.json("fills", "eps") == []  # the name now means the new one
    fleet.run("rm", "eps")


def test_rm_is_refused_while_orders_work(fleet: Rising) -> None:
    working = fleet.json("orders", "ladder", "--open")
    assert len(working) > 1 and {row["status"] for row in working} == {"open"}
    refused(fleet.run("rm", "ladder", check=False), 5, f"ladder: has {len(working)} open orders", "botctl stop ladder")
    assert fleet.run("stop", "ladder").stdout.startswith("ladder  running -> stopped")
    assert fleet.json("orders", "ladder", "--open") == []  # working entries are cancelled
    assert fleet.run("rm", "ladder").stdout.startswith("ladder  stopped -> removed")


def test_set_changes_parameters_and_moves_the_levels_of_what_is_held(fleet: Rising) -> None:
    before = fleet.position("zeta")
    said = fleet.run("set", "zeta", "stop_loss=2%", "take_profit=off", "slow=7", "capital=1500").stdout
    assert said.startswith("zeta  running (unchanged)  ") or "slow=7" in said
    shown = fleet.json("show", "zeta")
    assert (shown["params"]["slow"], shown["capital"], shown["state"]) == (7, "1500", "running")
    after = shown["position"]
    entry = Decimal(before["entry_price"])
    assert (after["quantity"], after["entry_price"], after["target"]) == (
        before["quantity"],
        before["entry_price"],
        None,
    )
    assert Decimal(after["stop"]) == pytest.approx(entry * Decimal("0.98"))
    assert Decimal(shown["equity"]) > 1490
    refused(fleet.run("set", "zeta", "capital=900", check=False), 5, "zeta: 600 cannot be taken out, 500.00 is free")
    again = fleet.json("set", "zeta", "slow=7")
    assert [row["result"] for row in again] == ["unchanged"]
    refused(fleet.run("set", "zeta", "interval=5m", check=False), 5, "zeta: holds .* interval")


# -- many at once


def test_labels_and_all_select(fleet: Rising) -> None:
    def names(*selector: str) -> list[str]:
        return fleet.run("ls", *selector, "-o", "name").stdout.split()

    assert names("-l", "team=b", "-l", "kind=holder")[:2] == ["alpha", "gamma"]
    assert names("-l", "team=nobody") == []
    assert set(names("-l", "team=a")) <= {"beta", "delta", "zeta"}
    rows = fleet.json("restart", "-l", "team=a")
    assert {row["name"] for row in rows} == set(names("-l", "team=a"))
    assert names("--all") == names()
    assert fleet.run("start", "-l", "team=nobody").stderr == "no bots\n"
    assert len(fleet.json("stop-all")) == len(names())
    assert {row["state"] for row in fleet.json("ls")} == {"stopped"}
    assert len(fleet.json("start-all")) == len(names())
    assert {row["state"] for row in fleet.json("ls")} == {"running"}


def test_apply_shows_and_does_the_difference_all_or_nothing(fleet: Rising, tmp_path: Path) -> None:
    exported = fleet.run("export").stdout
    file = tmp_path / "fleet.yaml"
    file.write_text(exported)
    changes = fleet.json("apply", "-f", str(file), "--plan")
    assert {change["action"] for change in changes} == {"leave"}  # the round trip
    document = yaml.safe_load(exported)
    bots = {bot["name"]: bot for bot in document["bots"]}
    bots["flat"]["params"] = {"period": 9}
    wanted = [*bots.values(), {**bots["flat"], "name": "fresh", "stop_loss": "3%"}]
    before = fleet.json("export")

    def apply(*options: str, check: bool = True) -> Any:
        file.write_text(json.dumps({"bots": wanted}))  # JSON is YAML, without aliases
        return fleet.run("apply", "-f", str(file), *options, check=check)

    plan = apply("--plan")
    assert "flat  change  period: 14 -> 9\n" in plan.stdout and "fresh  create\n" in plan.stdout
    assert "plan only: 2 to do" in plan.stderr
    assert fleet.json("export") == before
    wanted.append({**bots["flat"], "name": "worse", "symbol": "NO/USDT"})
    refused(apply(check=False), 4, "worse: no symbol 'NO/USDT'")
    wanted[-1] = {**bots["alpha"], "symbol": "ETH/USDT"}
    refused(apply(check=False), 2, "alpha: named twice")
    wanted[-1]["name"] = wanted[0]["name"] = "alpha"
    refused(fleet.run("apply", "-f", "-", check=False), 78, "no bots in it")
    assert fleet.json("export") == before
    wanted.pop()
    assert "fresh  create\n" in apply().stdout
    assert fleet.json("show", "flat")["params"]["period"] == 9
    assert (fleet.json("show", "fresh")["stop_loss"], fleet.json("show", "fresh")["state"]) == ("0.03", "created")
    assert {change["action"] for change in json.loads(apply("-o", "json").stdout)} == {"leave"}
    fleet.run("rm", "fresh")


# -- waiting


def test_wait_and_its_exit_codes(fleet: Rising) -> None:
    assert fleet.run("wait", "flat", "--for", "state=running,paused").stdout == "flat  state running\n"
    assert fleet.run("wait", "flat", "--for", "position=flat", "-q").stdout == ""
    assert fleet.run("wait", "--for", "ready").stdout == "botd  ready true\n"
    late = fleet.run("wait", "flat", "--for", "state=stopped", "--timeout", "300ms", check=False)
    refused(late, 75, "flat: state is not stopped after 0.3 s .now: running")
    refused(fleet.run("wait", "--for", "state=running", check=False), 2, "give the bot's NAME")


def test_wait_ends_at_once_when_the_bot_is_failed(tmp_path: Path) -> None:
    botd = Rising(tmp_path)
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "raises.py").write_text(RAISES)
    botd.start()
    try:
        botd.run("create", "r", *[word.replace("ema_cross", "raises") for word in TREND], "--start")
        (tmp_path / "strategies" / "raises.broken").touch()
        botd.play()
        done = botd.run("wait", "r", "--for", "state=running", "--timeout", "20", check=False)
        refused(done, 1, "r: failed: .*a mistake in the strategy", "botctl show r")
        assert botd.run("wait", "r", "--for", "state=failed", "--timeout", "5").stdout == "r  state failed\n"
    finally:
        botd.stop()


# -- what lasts


def test_a_stop_sells_for_a_stopped_bot_and_a_halt_lasts(tmp_path: Path) -> None:
    botd = Rising(tmp_path)
    botd.start()
    try:
        for name in ("held", "halted", "free"):
            botd.run("create", name, *TREND, *FAST, "--stop-loss", "5%", "--start")
        botd.run("create", "paused", *TREND, *FAST, "--start")
        botd.play()
        held = botd.position("held")
        botd.run("stop", "held")
        botd.run("pause", "paused")
        halt_and_reduce(botd)
        botd.kill()
        botd.write(RISING + CRASH)  # what the market does next
        botd.start()
        botd.run("wait", "--for", "market=ended", "--timeout", "30")
        shown = botd.json("show", "held")
        assert (shown["state"], shown["desired"], shown["position"]) == ("stopped", "stopped", None)
        (trade,) = botd.json("trades", "held")
        assert (trade["exit_reason"], trade["quantity"]) == ("stop_loss", held["quantity"])
        assert Decimal(trade["exit_price"]) <= Decimal(held["stop"])
        shown = botd.json("show", "paused")
        assert (shown["state"], shown["desired"], shown["position"]) == ("paused", "paused", None)
        assert [trade["exit_reason"] for trade in botd.json("trades", "paused")] == ["signal"]  # exits go on
        assert botd.json("trades", "halted")[-1]["exit_reason"] in ("signal", "stop_loss")  # exits go on in a halt
        states = {row["control"]: row for row in botd.json("risk", "show")}
        assert set(states["trading_state"]["tripped"]) >= {"account", "symbol:ETH/USDT"}
        assert botd.run("halt").stdout == "account  halted (unchanged)\n"
        assert botd.run("release").stdout == "account  halted -> active\n"
        assert botd.run("release").stdout == "account  active (unchanged)\n"
        assert botd.run("release", "halted").stdout == "halted  reduce -> active\n"
        assert botd.run("release", "--symbol", "ETH/USDT").stdout == "ETH/USDT  halted -> active\n"
    finally:
        botd.stop()


def halt_and_reduce(botd: Rising) -> None:
    assert botd.run("reduce", "halted").stdout == "halted  active -> reduce\n"
    assert botd.run("halt", "--symbol", "ETH/USDT").stdout == "ETH/USDT  active -> halted\n"
    assert botd.run("reduce").stdout == "account  active -> reduce\n"
    assert botd.run("halt").stdout == "account  reduce -> halted\n"


HALTED = "the account is halted: no entries until botctl release\n"


def test_flatten_asks_halts_first_and_sells_everything(fleet: Rising) -> None:
    holders = [row["name"] for row in fleet.json("ls") if row["position"]]
    assert len(holders) >= 2
    refused(fleet.run("flatten", check=False), 2, "halt the account and sell everything held: not without --yes")
    assert on_terminal(fleet, "n\n", "flatten") == 1
    assert [row["name"] for row in fleet.json("ls") if row["position"]] == holders
    assert on_terminal(fleet, "y\n", "flatten", "--symbol", "ETH/USDT") == 0
    again = fleet.run("flatten", "--symbol", "ETH/USDT", "--yes").stderr
    assert again.endswith("ETH/USDT is halted: no entries until botctl release --symbol ETH/USDT\n")
    assert fleet.position("ether") is None and fleet.position("zeta") is not None
    flat = fleet.run("flatten", "--yes")
    assert flat.stderr == HALTED
    sold = flat.stdout.splitlines()
    assert [line.split()[:2] for line in sold] == [[name, "sold"] for name in holders if name != "ether"]
    assert fleet.json("positions") == []
    states = next(row for row in fleet.json("risk", "show") if row["control"] == "trading_state")
    assert set(states["tripped"]) == {"account", "symbol:ETH/USDT"}  # nobody buys it back
    seen = fleet.json("events", "-n", "60")
    topics = [row["topic"] for row in seen]
    assert topics.index("risk.state") < topics.index("trade.closed", topics.index("risk.state"))
    nothing = fleet.run("flatten", "--yes")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", f"nothing was held\n{HALTED}")
    fleet.run("release")
    fleet.run("release", "--symbol", "ETH/USDT")


def on_terminal(botd: Botd, answer: str, *arguments: str) -> int:
    """Run botctl on a terminal of its own, answer its question, and return the exit code."""
    keyboard, terminal = pty.openpty()
    try:
        command = [BIN / "botctl", "--endpoint", str(botd.socket), *arguments]
        os.write(keyboard, answer.encode())
        done = subprocess.run(
            command, env=botd.environment, stdin=terminal, stdout=terminal, stderr=terminal, timeout=30
        )
        assert b"sell everything held?" in os.read(keyboard, 10_000)
        return done.returncode
    finally:
        os.close(keyboard)
        os.close(terminal)
