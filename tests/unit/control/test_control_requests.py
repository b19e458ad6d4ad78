"""Arguments: every command has a schema, and each mistake is answered with one clear line."""

import msgspec
import pytest

from botd.control.arguments import decode
from botd.control.protocol import CROSS_VERSION
from botd.control.requests import COMMANDS
from botd.domain.errors import InvalidError

SPEC = {"name": "alpha", "strategy": "rsi", "symbol": "BTC/USDT", "interval": "1m", "capital": "1000"}


def refusal(cmd, args):
    with pytest.raises(InvalidError) as caught:
        decode(COMMANDS[cmd].schema, args)
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


@pytest.mark.parametrize("name", ["a", "A-1", "x.y_z-9", "0", "a" * 64])
def test_names_of_bots(name):
    assert decode(COMMANDS["show"].schema, {"name": name}).name == name


@pytest.mark.parametrize("name", ["", ".x", "-x", "a/b", "a b", "a\n", "ä", "a" * 65, "../x", "a\x00"])
def test_what_is_no_name_of_a_bot(name):
    error = refusal("show", {"name": name})
    assert "is not a bot's name" in error.message
    assert "at most 64" in error.hint


@pytest.mark.parametrize(
    "cmd, args, message, hint",
    [
        ("stop", {"nmaes": ["a"]}, "unknown argument 'nmaes'", "did you mean names?"),
        ("create", {"spec": {**SPEC, "captial": "1"}}, "unknown argument 'captial' in spec", "did you mean capital?"),
        (
            "apply",
            {"bots": [SPEC, {**SPEC, "stop_los": "1"}]},
            "unknown argument 'stop_los' in bots[1]",
            "did you mean stop_loss?",
        ),
        ("ping", {"x": 1}, "unknown argument 'x'", "this command takes no arguments"),
        ("show", {}, "name is missing", ""),
        ("create", {"spec": {"name": "a"}}, "spec.strategy is missing", ""),
        ("show", {"name": 5}, "name: expected a text, not a whole number", ""),
        ("stop", {"names": "a"}, "names: expected a list, not a text", ""),
        ("stop", {"names": ["a", "b/c"]}, "names[1]: 'b/c' is not a bot's name", None),
        ("stop", {"all": True, "close": 1}, "close: expected true or false, not a whole number", ""),
        ("start", {}, "which bots? names, all or labels must be given", ""),
        ("start", {"names": ["a"], "all": True}, "names, all and labels exclude each other", ""),
        ("create", {"spec": {**SPEC, "symbol": "BTCUSDT"}}, "spec.symbol: 'BTCUSDT' is not a symbol", None),
        ("create", {"spec": {**SPEC, "mode": "real"}}, "spec.mode: Invalid enum value 'real'", ""),
        ("orders", {"since": -1}, "since: expected a whole number >= 0", ""),
        ("orders", {"limit": True}, "limit: expected a whole number, not true or false", ""),
        ("prices", {"names": ["a"]}, "unknown argument 'names'", "known: symbols"),
        ("positions", {"symbols": ["A/B"]}, "unknown argument 'symbols'", "known: names"),
        ("fills", {"status": "open"}, "unknown argument 'status'", None),
        ("equity", {"symbol": "A/B"}, "unknown argument 'symbol'", None),
        ("set", {"name": "a", "changes": {"x": [1]}}, None, None),
        ("set", {"name": "a", "changes": {}}, None, None),
    ],
)
def test_a_mistake_is_answered_in_one_line_with_the_nearest_right_key(cmd, args, message, hint):
    error = refusal(cmd, args)
    assert message is None or error.message == message
    assert hint is None or error.hint == hint


@pytest.mark.parametrize(
    "cmd, args",
    [
        ("create", {"spec": {**SPEC, "params": {"period": 14, "x": "1h"}, "labels": {"a": "b"}}, "start": True}),
        ("stop", {"all": True, "close": True}),
        ("rm", {"names": ["a", "b"], "force": True}),
        ("ls", {"all": True, "removed": True, "limit": 100}),
        ("halt", {}),
        ("halt", {"labels": {"team": "x"}, "symbol": "BTC/USDT"}),
        ("risk.set", {"changes": {"daily_loss": {"bot": "0.03", "account": "0.05"}, "price_collar": "off"}}),
        ("set", {"name": "a", "changes": {"period": 20, "stop_loss": None, "capital": "5"}}),
        ("orders", {"name": "a", "status": "filled", "open": False, "since": 1, "until": 2, "cursor": "x", "limit": 5}),
        ("candles", {"symbol": "1000SATS/USDT", "interval": "1m", "limit": 5, "since": 0}),
        ("logs", {"lines": 100}),
        ("events", {"since_seq": 7, "limit": 10, "topics": ["bot"]}),
        ("why", {"name": "a", "at": 1_767_225_600_000}),
        ("prices", {"symbols": ["BTC/USDT"]}),
        ("positions", {"names": ["a"]}),
    ],
)
def test_what_botctl_sends_is_understood(cmd, args):
    decoded = decode(COMMANDS[cmd].schema, args)
    told = msgspec.to_builtins(decoded)
    assert {key: told[key] for key in args if key != "spec"} == {key: args[key] for key in args if key != "spec"}


def test_commands_across_versions_are_those_of_the_protocol_and_only_looking_is_read():
    assert {cmd for cmd, command in COMMANDS.items() if command.cross_version} == set(CROSS_VERSION)
    assert {cmd for cmd, command in COMMANDS.items() if command.kind == "operate"} >= {"stop", "halt", "create", "rm"}
    assert COMMANDS["logs"].kind == "read"
