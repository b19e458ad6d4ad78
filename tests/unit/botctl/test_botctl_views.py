"""Risk, market and health as they are shown: what is halted, times that are times, words in the order of need."""

from __future__ import annotations

import json

import pytest

from botctl.cli import VERBS
from botctl.completion import complete_strategy
from botctl.details import details
from tests.unit.botctl.conftest import bot_row

CONTROL = {"control": "trading_state", "limit": "on", "value": "on", "scope": "account", "state": "tripped"}
TRIPPED = {**CONTROL, "tripped": ["symbol:BTC/USDT", "bot:alpha"], "until": None, "help": "by a person"}
HELD = {
    "scope": "symbol:BTC/USDT",
    "state": "halted",
    "since": "2026-01-01T00:00:00Z",
    "until": None,
    "by": "uid 1000",
    "code": "MANUAL",
    "reason": "",
    "remedy": "botctl release --symbol BTC/USDT",
}


def test_risk_show_says_what_is_halted_since_when_by_whom_and_why(botctl, botd):
    botd.handlers["risk.show"] = lambda args: {"rows": [TRIPPED], "held": [HELD]}
    lines = botctl("risk", "show").out.splitlines()
    assert lines[-2].split() == ["SCOPE", "STATE", "CODE", "SINCE", "BY", "ENDS", "WITH"]
    words = [
        "symbol:BTC/USDT",
        "halted",
        "MANUAL",
        "2026-01-01 00:00:00",
        "uid 1000",
        "botctl release --symbol BTC/USDT",
    ]
    assert lines[-1].split("  ") == words
    assert json.loads(botctl("risk", "show", "-o", "json").out) == [TRIPPED]


@pytest.mark.parametrize("more", [{}, {"held": []}])
def test_risk_show_says_that_nothing_is_halted(botctl, botd, more):
    botd.handlers["risk.show"] = lambda args: {"rows": [{**CONTROL, "state": "ok", "tripped": []}], **more}
    assert botctl("risk", "show").err == "nothing is halted or reduced\n"


def test_risk_show_says_what_a_control_does_once(botctl, botd):
    told = {"state": "ok", "tripped": [], "help": "a violent minute"}
    rows = [{**CONTROL, **told, "control": "volatility_halt", "limit": limit} for limit in ("move", "sigma", "pause")]
    rows += [{**CONTROL, **told, "control": "other", "help": "another thing"}]
    botd.handlers["risk.show"] = lambda args: {"rows": rows}
    shown = botctl("risk", "show").out
    assert (shown.count("volatility_halt"), shown.count("a violent minute"), shown.count("another thing")) == (3, 1, 1)
    assert botctl("risk", "show", "-o", "tsv").out.count("a violent minute") == 3


def test_show_has_no_empty_lines_of_what_only_a_live_market_tells(botctl, botd):
    heard = {"candles_told": None, "candles_s": None, "candles_longest_ms": None, "told_late_ms": None}
    botd.handlers["show"] = lambda args: bot_row("alpha", denied=None, **heard)
    shown = botctl("show", "alpha").out
    assert "candles" not in shown and "told" not in shown and "denied" in shown
    botd.handlers["show"] = lambda args: bot_row("alpha", **{**heard, "candles_told": 7, "told_late_ms": 3})
    assert [line.split() for line in botctl("show", "alpha").out.splitlines() if "told" in line] == [
        ["candles", "told", "7"],
        ["told", "late", "3", "ms"],
    ]


def test_events_show_amounts_as_other_tables_do(botctl, botd):
    data = {"quantity": "0.01626", "price": "60186.568244999995", "fee": "0.9786335996636999", "lost": 0.1 + 0.2}
    row = {"seq": 1, "epoch": "e1", "ts": "2026-01-01T00:00:00Z", "topic": "order.fill", "bot": "a", "data": data}
    botd.handlers["events"] = lambda args: {"rows": [row], "next": None, "seq": 1, "epoch": "e1"}
    assert "quantity=0.01626,price=60186.57,fee=0.97863360,lost=0.3\n" in botctl("events").out
    assert json.loads(botctl("events", "-o", "json").out)[0]["data"] == data
    assert "price=60186.568244999995" in botctl("events", "-o", "tsv").out


def test_why_says_which_decision_it_shows_and_what_is_no_number_yet(botctl, botd):
    note = "the last decision kept before 2026-01-01T14:00:00Z is of 2026-01-01T13:35:00Z"
    row = {"name": "a", "at": "2026-01-01T13:35:00Z", "outcome": "hold", "gates": [], "note": note}
    botd.handlers["why"] = lambda args: {**row, "notes": {"close": 1.5, "trend": None}}
    lines = botctl("why", "a", "--at", "2026-01-01T14:00:00Z").out.splitlines()
    assert lines == ["a  2026-01-01T13:35:00Z  hold", note, "", "close  1.5", "trend  not defined yet"]
    assert json.loads(botctl("why", "a", "-o", "json").out)["notes"]["trend"] is None


def test_times_of_the_market_are_times_in_json(botctl, botd):
    status = {"state": "playing", "time": 1767225792123, "cursor_ms": 1767225792000, "speed": 600.0}
    botd.handlers["market.status"] = lambda args: {**status, "gaps": [{"from_ms": 1767225600000, "missing": 2}]}
    shown = json.loads(botctl("market", "status", "-o", "json").out)
    assert shown["time"] == "2026-01-01T00:03:12.123Z"
    assert (shown["cursor"], shown["cursor_ms"]) == ("2026-01-01T00:03:12Z", 1767225792000)
    assert shown["gaps"] == [{"from_ms": 1767225600000, "from": "2026-01-01T00:00:00Z", "missing": 2}]
    assert "2026-01-01T00:03:12" in botctl("market", "status").out
    botd.handlers["health"] = lambda args: {"status": "ok", "uptime_s": 2, "market": {"time": 1767225792000}}
    health = json.loads(botctl("health", "-o", "json").out)
    assert health == {"status": "ok", "uptime_s": 2, "market": {"time": "2026-01-01T00:03:12Z"}}


def test_profit_is_labelled_as_what_it_is():
    from botctl.commands.inspect import LS_COLUMNS, STATS_COLUMNS
    from botctl.commands.trading import FILLS
    from botctl.dashboard.frame import COLUMNS

    for columns in (LS_COLUMNS, STATS_COLUMNS, FILLS, COLUMNS):
        titles = {column.key: column.title for column in columns}
        assert titles["realized_pnl"] == "REALIZED" and "PNL" not in titles.values()
        assert titles.get("unrealized_pnl", "OPEN PNL") == "OPEN PNL"


def test_help_begins_with_what_a_newcomer_needs():
    assert list(VERBS)[:3] == ["Lifecycle", "Inspect", "Trading"] and list(VERBS)[-1] == "Daemon"
    assert list(VERBS["Lifecycle"])[:3] == ["create", "start", "stop"]
    assert list(VERBS["Inspect"])[:3] == ["ls", "show", "top"]


def test_tests_are_not_offered_as_strategies(monkeypatch, tmp_path):
    folder = tmp_path / ".config/botd/strategies"
    folder.mkdir(parents=True)
    for name in ("mine.py", "test_mine.py"):
        (folder / name).touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    found = complete_strategy(None, None, "")  # type: ignore[arg-type]
    assert "mine" in found and "rsi" in found
    assert not [name for name in found if name.startswith("test_")]


def test_every_figure_of_a_bot_has_its_unit_and_no_more_digits_than_mean_something():
    effort = {"strategy_s": 0.0554321, "strategy_longest_ms": 0.154321, "told_late_ms": 1234.5, "candles_s": 192.4}
    lines = details({**effort, "macd": 14.433218765, "close": 60494.602321, "strategy": "rsi"})
    assert [line.split("  ")[-1].strip() for line in lines] == [
        "55.4 ms",
        "0.154 ms",
        "1,234 ms",
        "3m12s",
        "14.4332",
        "60494.60",
        "rsi",
    ]
    assert lines[0].startswith("strategy time ") and lines[1].startswith("strategy longest ")
