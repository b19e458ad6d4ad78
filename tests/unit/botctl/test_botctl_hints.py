"""What was refused is told in the user's words, with the nearest right name."""

from __future__ import annotations

import json

import pytest

from botctl.exit_codes import Fault
from botctl.hints import explained
from tests.fakes.fake_botd import Refusal
from tests.unit.botctl.conftest import bot_row

NO_BOT = "alhpa: no such bot"


def refusing(code, message, hint=""):
    def handler(args):
        raise Refusal(code, message, hint)

    return handler


@pytest.fixture
def bots(botd):
    botd.handlers["ls"] = lambda args: {"rows": [bot_row("alpha"), bot_row("beta")], "next": None}
    botd.handlers["symbols"] = lambda args: {"rows": [{"symbol": "BTC/USDT"}, {"symbol": "ETH/USDT"}], "next": None}
    return botd


@pytest.mark.parametrize("verb", ["show", "why", "orders", "stats", "close"])
def test_a_wrong_name_is_answered_with_the_nearest_bot(botctl, bots, verb):
    bots.handlers[verb] = refusing("NOT_FOUND", NO_BOT, "see: botctl ls")
    result = botctl(verb, "alhpa")
    assert (result.code, result.out) == (4, "")
    assert result.err == "botctl: error: alhpa: no such bot\n  hint: did you mean alpha?\n"


def test_so_is_a_wrong_name_among_several(botctl, bots):
    error = {"code": "NOT_FOUND", "message": NO_BOT, "hint": "see: botctl ls"}
    rows = [{"name": "alhpa", "error": error}, {"name": "beta", "before": "stopped", "after": "running"}]
    bots.handlers["start"] = lambda args: {"rows": rows}
    result = botctl("start", "alhpa", "beta")
    assert (result.code, result.out) == (4, "beta  stopped -> running\n")
    assert "did you mean alpha?" in result.err
    assert json.loads(botctl("start", "alhpa", "beta", "-o", "json").out) == rows


def test_a_name_like_none_keeps_the_daemons_hint(botctl, bots):
    bots.handlers["show"] = refusing("NOT_FOUND", "zzz: no such bot", "see: botctl ls")
    assert botctl("show", "zzz").err.endswith("  hint: see: botctl ls\n")


@pytest.mark.parametrize("message", ["symbol: 'btcusdt' is not a symbol", "no symbol 'BTC/USD' in this market"])
def test_a_wrong_symbol_is_answered_with_the_nearest(botctl, bots, message):
    bots.handlers["candles"] = refusing("INVALID", message, "write it like BTC/USDT")
    assert "did you mean BTC/USDT?" in botctl("candles", "x").err


def test_a_better_hint_of_the_daemon_stays(botctl, bots):
    bots.handlers["show"] = refusing("NOT_FOUND", NO_BOT, "did you mean alphabet?")
    assert "did you mean alphabet?" in botctl("show", "alhpa").err
    assert bots.asked("ls") == []


@pytest.mark.parametrize(
    ("wire", "told"),
    [
        ("spec.symbol: 'X' is not a symbol", "symbol: 'X' is not a symbol"),
        ("names[1]: 'a/b' is not a bot's name", "'a/b' is not a bot's name"),
        ("symbols[0]: 'X' is not a symbol", "symbol: 'X' is not a symbol"),
        ("alpha: capital must be a number", "alpha: capital must be a number"),
    ],
)
def test_no_path_of_the_wire_is_told(wire, told):
    fault = explained(Fault(2, wire, "as it is", "INVALID"), lambda cmd, args: {"rows": []})
    assert (fault.message, fault.hint, fault.exit_code) == (told, "as it is", 2)


@pytest.mark.parametrize("verb", ["halt", "reduce", "release"])
def test_a_symbol_where_a_bot_is_expected_is_answered_with_the_option(botctl, botd, verb):
    result = botctl(verb, "BTC/USDT")
    assert (result.code, botd.requests) == (2, [])
    assert result.err.endswith(f"  hint: botctl {verb} --symbol BTC/USDT\n")
