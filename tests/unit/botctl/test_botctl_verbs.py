"""Verbs that act: what they send, what they print, what they exit with, when they ask."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.fakes.fake_botd import Refusal


def row(name, before="stopped", after="running", error=None, detail=""):
    result = "failed" if error else "unchanged" if before == after else "changed"
    return {"name": name, "before": before, "after": after, "result": result, "detail": detail, "error": error}


MISSING = {"code": "NOT_FOUND", "message": "nope: no such bot", "hint": "see botctl ls"}
DENIED = {"code": "DENIED", "message": "held", "hint": ""}


def test_an_action_prints_a_row_a_bot(botctl, botd):
    botd.handlers["start"] = lambda args: {"rows": [row("alpha"), row("beta", "running", "running")]}
    result = botctl("start", "alpha", "beta")
    assert result.out == "alpha  stopped -> running\nbeta  running (unchanged)\n"
    assert (result.code, botd.asked("start")) == (0, [{"names": ["alpha", "beta"]}])


def test_all_are_tried_and_the_worst_decides(botctl, botd):
    botd.handlers["stop"] = lambda args: {"rows": [row("nope", error=MISSING), row("a", error=DENIED), row("b")]}
    result = botctl("stop", "nope", "a", "b")
    assert result.code == 5
    assert result.out == "b  stopped -> running\n"
    assert result.err == "botctl: error: nope: no such bot\n  hint: see botctl ls\nbotctl: error: a: held\n"


def test_json_of_an_action_has_every_row(botctl, botd):
    botd.handlers["stop"] = lambda args: {"rows": [row("nope", error=MISSING), row("b")]}
    result = botctl("stop", "nope", "b", "-o", "json")
    assert [one["name"] for one in json.loads(result.out)] == ["nope", "b"]
    assert result.code == 4


def test_quiet_leaves_lines_out_but_not_errors(botctl, botd):
    botd.handlers["stop"] = lambda args: {"rows": [row("nope", error=MISSING), row("b")]}
    result = botctl("stop", "-q", "nope", "b")
    assert (result.out, result.err.splitlines()[0]) == ("", "botctl: error: nope: no such bot")


@pytest.mark.parametrize(
    ("arguments", "wire"),
    [
        (["--all"], {"all": True}),
        (["-l", "team=a", "-l", "x=1"], {"labels": {"team": "a", "x": "1"}}),
        (["a", "b", "a"], {"names": ["a", "b"]}),
    ],
)
def test_selectors(botctl, botd, arguments, wire):
    botd.handlers["pause"] = lambda args: {"rows": []}
    assert botctl("pause", *arguments).code == 0
    assert botd.asked("pause") == [wire]


@pytest.mark.parametrize("arguments", [[], ["a", "--all"], ["--all", "-l", "a=b"], ["-l", "nonsense"], ["-l", "=x"]])
def test_wrong_selectors_are_usage_errors(botctl, botd, arguments):
    assert botctl("start", *arguments).code == 2
    assert botd.requests == []


def test_create_sends_percentages_as_fractions_and_parameters_as_written(botctl, botd):
    botd.handlers["create"] = lambda args: {
        "name": "a",
        "number": 1,
        "result": "created",
        "state": "running",
        "warnings": ["no stop"],
        "largest_order": "0.1 BTC",
        "detail": "",
    }
    words = "create a --strategy rsi --symbol BTC/USDT --interval 1m --capital 1000 --set period=21 --set x=3%"
    words += " --fraction 100% --stop-loss 2% --take-profit 0.04 --trailing-stop 1.5% --label t=a --start"
    words += " --atr-stop 3x14 --break-even 1% --time-stop 12"
    result = botctl(*words.split())
    assert botd.asked("create") == [
        {
            "spec": {
                "name": "a",
                "strategy": "rsi",
                "symbol": "BTC/USDT",
                "interval": "1m",
                "capital": "1000",
                "params": {"period": "21", "x": "3%"},
                "labels": {"t": "a"},
                "mode": "paper",
                "fraction": "1",
                "stop_loss": "0.02",
                "take_profit": "0.04",
                "trailing_stop": "0.015",
                "break_even": "0.01",
                "atr_stop": "3x14",
                "time_stop": 12,
            },
            "start": True,
            "replace": False,
        }
    ]
    assert result.out == "a  created  running  largest order 0.1 BTC\n"
    assert result.err == "botctl: warning: a: no stop\n"


@pytest.mark.parametrize(
    "words",
    [
        "--stop-loss 2",
        "--stop-loss abc",
        "--stop-loss nan%",
        "--risk-per-trade 1%",
        "--risk-per-trade 1% --stop-loss 2% --fraction 50%",
        "--set period",
        "--set period=1 --set period=2",
        "--unknown",
    ],
)
def test_what_is_lexically_wrong_is_refused_here(botctl, botd, words):
    base = ["create", "a", "--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000"]
    assert botctl(*base, *words.split()).code == 2
    assert botd.requests == []


def test_set_converts_what_is_a_percentage_and_leaves_parameters(botctl, botd):
    botd.handlers["set"] = lambda args: {"rows": [row("a", "running", "running")]}
    botctl("set", "a", "stop_loss=1.5%", "period=21", "take_profit=off", "x=3%")
    changes = {"stop_loss": "0.015", "period": "21", "take_profit": "off", "x": "3%"}
    assert botd.asked("set") == [{"name": "a", "changes": changes}]
    assert botctl("set", "a", "stop_loss=2").code == 2


@pytest.mark.parametrize(
    "words",
    ["flatten", "rm a --force", "rm --all", "close --all", "stop --all --close", "stop-all --close"],
)
def test_dangerous_verbs_need_yes_off_a_terminal(botd, words):
    botd.handlers |= {
        "flatten": lambda args: {"rows": [], "done": True},
        "rm": lambda args: {"rows": []},
        "stop": lambda args: {"rows": []},
        "positions": lambda args: {"rows": [], "next": None},
    }
    command = [sys.executable, "-m", "botctl.cli", *words.split()]
    refused = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (refused.returncode, botd.requests) == (2, [])
    assert "--yes" in refused.stderr
    assert subprocess.run([*command, "--yes"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
    assert botd.requests


@pytest.mark.parametrize("words", ["halt", "halt a", "pause a", "stop a", "stop --all", "stop a --close", "rm a"])
def test_other_verbs_never_ask(botctl, botd, words):
    for cmd in ("halt", "pause", "stop", "rm"):
        botd.handlers[cmd] = lambda args: {"rows": [{**row("a"), "scope": "a"}]}
    assert botctl(*words.split()).code == 0


def test_halt_without_names_is_the_account(botctl, botd):
    states = [{"scope": "account", "before": "active", "after": "halted", "result": "changed"}]
    botd.handlers["halt"] = lambda args: {"rows": states}
    assert botctl("halt").out == "account  active -> halted\n"
    botctl("halt", "--symbol", "BTC/USDT")
    botctl("halt", "a", "b")
    assert botd.asked("halt") == [{}, {"symbol": "BTC/USDT"}, {"names": ["a", "b"]}]


def test_stop_all_is_the_verb_that_works_across_versions(botctl, botd):
    botd.handlers["stop"] = lambda args: {"rows": []}
    botctl("stop-all")
    assert botd.asked("stop") == [{"all": True}]


def test_close_answers_75_with_what_remains(botctl, botd):
    left = {"name": "a", "symbol": "BTC/USDT", "sold": "0.1", "remaining": "0.2"}
    botd.handlers["close"] = lambda args: {"rows": [left], "done": False}
    result = botctl("close", "a")
    assert result.code == 75
    assert "not flat yet: a 0.2" in result.err
    assert botd.asked("close") == [{"name": "a", "keep_running": False}]


def test_close_tries_every_bot_and_the_worst_decides(botctl, botd):
    def close(args):
        if args["name"] == "nope":
            raise Refusal("NOT_FOUND", "nope: no such bot")
        return {"rows": [{"name": args["name"], "sold": "1", "remaining": "0"}], "done": True}

    botd.handlers["close"] = close
    result = botctl("close", "nope", "b")
    assert (result.code, result.out) == (4, "b  sold 1\n")


def test_risk_set_takes_a_bot_and_dotted_controls(botctl, botd):
    botd.handlers["risk.set"] = lambda args: {"rows": []}
    botctl("risk", "set", "max_exposure=50%", "max_orders=30")
    botctl("risk", "set", "a", "daily_loss.bot=3%")
    assert botd.asked("risk.set") == [
        {"changes": {"max_exposure": "0.5", "max_orders": "30"}},
        {"changes": {"daily_loss.bot": "0.03"}, "name": "a"},
    ]
    assert botctl("risk", "set", "a").code == 2


def test_an_error_of_the_daemon_names_fact_and_remedy(botctl, botd):
    def refuse(args):
        raise Refusal("INVALID", "alpha: period must be an integer", "botctl strategies rsi")

    botd.handlers["set"] = refuse
    result = botctl("set", "alpha", "period=x")
    assert (result.code, result.out) == (2, "")
    assert result.err == "botctl: error: alpha: period must be an integer\n  hint: botctl strategies rsi\n"


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("CONFLICT", 5),
        ("UNAVAILABLE", 69),
        ("INTERNAL", 70),
        ("TIMEOUT", 75),
        ("VERSION", 76),
        ("FORBIDDEN", 77),
        ("CONFIG", 78),
        ("WHO_KNOWS", 70),
    ],
)
def test_every_code_of_the_wire_has_its_exit_code(botctl, botd, code, exit_code):
    def refuse(args):
        raise Refusal(code, "so it is")

    botd.handlers["health"] = refuse
    assert botctl("health").code == exit_code


@pytest.mark.parametrize("words", [["nonsense"], ["lss"], ["ls", "--nonsense"], ["ls", "-o", "xml"], ["market", "fly"]])
def test_usage_errors_exit_2_and_are_one_line(botctl, words):
    result = botctl(*words)
    assert result.code == 2 and result.err.startswith("botctl: error: ")
    assert len(result.err.splitlines()) <= 2  # and its remedy


def test_a_wrong_verb_is_answered_with_the_nearest(botctl):
    assert "did you mean trades?" in botctl("trade").err


def test_global_options_work_before_and_after_the_verb(botctl, botd):
    botd.handlers["ping"] = lambda args: {"pong": True, "time": "x"}
    path = str(botd.path)
    assert botctl("--endpoint", path, "-o", "json", "daemon", "ping").code == 0
    assert botctl("daemon", "ping", "--endpoint", path, "-o", "json").code == 0
    assert botctl("daemon", "-o", "json", "ping").out.startswith("{")
    botctl("--timeout", "500ms", "daemon", "ping")
    botctl("daemon", "ping", "--timeout", "2m")
    assert [request["deadline_ms"] for request in botd.requests][-2:] == [500, 120_000]


def test_without_a_daemon_the_fault_is_69_with_the_remedy(botctl):
    result = botctl("ls")
    assert (result.code, result.out) == (69, "")
    assert result.err.endswith("  hint: start one with: botctl daemon start\n")


def test_it_works_with_an_empty_environment(process, botd):
    botd.handlers["ls"] = lambda args: {"rows": [], "next": None}
    done = process("--endpoint", str(botd.path), "ls", "-o", "json", env={})
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert process("ls", env={}).returncode in (0, 69)
