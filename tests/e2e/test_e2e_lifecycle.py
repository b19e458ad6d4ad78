"""What the verbs promise about bots and their positions, on a market whose every price is known.

Two symbols rise at the end of their files, so whoever follows the trend holds something when the market stands.
"""

from __future__ import annotations

import csv
import io
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

FIRST_MS = 1_722_470_400_000
RISING = [100.0] * 60 + [100 + 0.1 * step for step in range(60)]
CRASH = [105.9] * 20 + [90.0] * 20
TREND = ["--strategy", "ema_cross", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000"]
IDLE = ["--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000"]
FAST = ["--set", "fast=3", "--set", "slow=6"]
HOLDERS = ("alpha", "beta", "gamma", "delta", "eps", "zeta")
RAISES = '''
from botd.strategy.base import SignalStrategy

class Raises(SignalStrategy):
    """Raises at every candle."""

    def warmup(self):
        return 1

    def signals(self, candles):
        raise ValueError("a mistake in the strategy")
'''


def write_candles(path: Path, closes: list[float]) -> None:
    lines = ["open_time_ms,open,high,low,close,volume"]
    for number, close in enumerate(closes):
        opened = closes[number - 1] if number else close
        time_ms = FIRST_MS + number * 60_000
        lines.append(f"{time_ms},{opened:.2f},{max(opened, close):.2f},{min(opened, close):.2f},{close:.2f},10.5")
    path.write_text("\n".join(lines) + "\n")


class Rising(Botd):
    """A botd that replays the rising market at once, once it is told to play."""

    def __init__(self, home: Path, **config: Any) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.files = {symbol: home / f"{symbol[:3]}.csv" for symbol in ("BTC/USDT", "ETH/USDT")}
        self.write(RISING)
        market = {"source": "replay", "files": {s: str(f) for s, f in self.files.items()}, "speed": 0}
        grids = {symbol: {"tick": "0.01", "step": "0.0001"} for symbol in self.files}
        super().__init__(home, {"market": {**market, "autoplay": False}, "instruments": grids, **config})

    def write(self, closes: list[float]) -> None:
        for file in self.files.values():
            write_candles(file, closes)

    def play(self) -> None:
        self.run("market", "play")
        self.run("wait", "--for", "market=ended", "--timeout", "30")

    def position(self, name: str) -> Any:
        return self.json("show", name)["position"]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rising]:
    """Six bots that hold BTC, one that holds ETH, one that is flat; the market stands at its end."""
    botd = Rising(tmp_path_factory.mktemp("fleet"))
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
    assert (again.returncode, again.stdout) == (0, "gamma  sold 0\n")
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
        botd.play()
        done = botd.run("wait", "r", "--for", "state=running", "--timeout", "20", check=False)
        refused(done, 1, "r: failed: .*a mistake in the strategy", "botctl show r")
        assert botd.run("wait", "r", "--for", "state=failed", "--timeout", "5").stdout == "r  state failed\n"
    finally:
        botd.stop()


# -- how it is printed


def test_every_format_says_the_same(fleet: Rising) -> None:
    def ls(form: str, *more: str) -> str:
        return fleet.run("ls", "-o", form, *more).stdout

    rows = json.loads(ls("json"))
    names = [row["name"] for row in rows]
    assert [json.loads(line) for line in ls("jsonl").splitlines()] == rows
    assert ls("name").split() == names
    table, wide = ls("table").splitlines(), ls("wide").splitlines()
    assert table[0] == wide[0] == "PAPER · REPLAYED MARKET"
    assert table[1].split()[:4] == ["NAME", "STRATEGY", "SYMBOL", "EVERY"] and len(wide[1]) > len(table[1])
    assert [line.split()[0] for line in table[2:]] == names
    assert [line.split()[0] for line in ls("table", "--no-headers").splitlines()] == names
    tabbed = list(csv.DictReader(io.StringIO(ls("tsv")), delimiter="\t"))
    comma = list(csv.DictReader(io.StringIO(ls("csv"))))
    assert tabbed == comma and [row["name"] for row in comma] == names
    assert [row["equity"] for row in comma] == [row["equity"] for row in rows]
    assert ls("csv", "--no-headers").splitlines()[0].startswith(names[0] + ",")
    for verb in ("stats", "orders", "fills", "trades", "positions", "equity", "prices", "symbols", "export"):
        count = len(json.loads(fleet.run(verb, "-o", "json").stdout))
        assert count and len(fleet.run(verb, "-o", "tsv", "--no-headers").stdout.splitlines()) == count
        assert fleet.run(verb, "-o", "wide").stdout
    assert json.loads(fleet.run("trades", "flat", "-o", "json").stdout) == []
    assert fleet.run("trades", "flat", "-o", "csv").stdout.count("\n") == 1  # the header stays
    nothing = fleet.run("trades", "flat")
    assert (nothing.stdout, nothing.stderr) == ("", "no trades\n")
    assert "\x1b" not in fleet.run("ls").stdout


BOT = (
    "name strategy params symbol interval mode source state desired since capital equity realized_pnl unrealized_pnl "
    "trades position last_candle note labels"
)
KEYS = {
    ("ls",): BOT,
    ("show", "zeta"): BOT,
    ("stats",): "name trades wins losses win_rate gross_profit gross_loss profit_factor expectancy avg_win avg_loss "
    "best_trade worst_trade max_consecutive_losses avg_holding_s fees realized_pnl unrealized_pnl equity return_pct "
    "max_drawdown_pct max_drawdown_duration_s sharpe sortino calmar sqn exposure_pct turnover skipped_min_notional",
    ("portfolio",): "bots running capital equity realized_pnl unrealized_pnl fees return_pct exposure_pct "
    "max_drawdown_pct positions_value account_cash account_equity unassigned by_symbol by_bot",
    ("orders",): "client_order_id exchange_order_id bot symbol side type quantity price stop_price filled average "
    "status reason created updated",
    ("fills",): "trade_id client_order_id bot symbol side quantity price fee fee_asset realized_pnl time",
    ("trades",): "bot symbol side quantity entry_time exit_time entry_price exit_price pnl return_pct fees "
    "exit_reason bars",
    ("health",): "status version pid uptime_s mode source exchange market redis ledger loop bots checks",
    ("why", "zeta"): "name at outcome gates notes",
}


@pytest.mark.parametrize("verb", KEYS, ids=" ".join)
def test_json_has_the_keys_that_scripts_rely_on(fleet: Rising, verb: tuple[str, ...]) -> None:
    found = json.loads(fleet.run(*verb, "-o", "json", check=False).stdout)
    is_list = verb[0] not in ("show", "portfolio", "health", "why")
    assert isinstance(found, list) is is_list
    for row in found if is_list else [found]:
        assert set(KEYS[verb].split()) <= set(row)
        for key in ("capital", "equity", "quantity", "price", "fee", "fees", "pnl", "realized_pnl"):
            assert isinstance(row.get(key), str | None), key  # amounts are text, to the digit
        for key in ("return_pct", "win_rate", "max_drawdown_pct"):
            assert isinstance(row.get(key), float | int | None), key
        for key in ("since", "created", "entry_time", "exit_time", "time", "at"):
            assert row.get(key) is None or (row[key].startswith("2024-") and row[key].endswith("Z")), key
    if verb[0] in ("ls", "show"):
        position = (found if verb[0] == "show" else next(row for row in found if row["name"] == "zeta"))["position"]
        assert {"quantity", "entry_price", "side", "stop", "target", "guard"} <= set(position)
    if verb[0] == "health":
        assert all({"name", "status", "detail"} <= set(check) for check in found["checks"])
    if verb[0] == "why":
        assert all({"gate", "passed", "value", "limit", "detail"} <= set(gate) for gate in found["gates"])


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


def test_flatten_asks_halts_first_and_sells_everything(fleet: Rising) -> None:
    holders = [row["name"] for row in fleet.json("ls") if row["position"]]
    assert len(holders) >= 2
    refused(fleet.run("flatten", check=False), 2, "halt the account and sell everything held: not without --yes")
    assert on_terminal(fleet, "n\n", "flatten") == 2
    assert [row["name"] for row in fleet.json("ls") if row["position"]] == holders
    assert on_terminal(fleet, "y\n", "flatten", "--symbol", "ETH/USDT") == 0
    assert fleet.position("ether") is None and fleet.position("zeta") is not None
    sold = fleet.run("flatten", "--yes").stdout.splitlines()
    assert [line.split()[:2] for line in sold] == [[name, "sold"] for name in holders if name != "ether"]
    assert fleet.json("positions") == []
    states = next(row for row in fleet.json("risk", "show") if row["control"] == "trading_state")
    assert set(states["tripped"]) == {"account", "symbol:ETH/USDT"}  # nobody buys it back
    seen = fleet.json("events", "-n", "60")
    topics = [row["topic"] for row in seen]
    assert topics.index("risk.state") < topics.index("trade.closed", topics.index("risk.state"))
    nothing = fleet.run("flatten", "--yes")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "nothing was held; halted\n")
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
