"""What is asked and refused before anything is done, in words that show how it is meant."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.fakes.fake_botd import FakeBotd, Refusal
from tests.unit.botctl.conftest import bot_row


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("set alpha --capital 1500", "botctl set alpha capital=1500"),
        ("set alpha --stop-loss off period=3", "botctl set alpha stop_loss=off period=3"),
        ("set alpha --take-profit=4%", "botctl set alpha take_profit=4%"),
        ("set alpha --set period=21", "botctl set alpha period=21"),
        ("set alpha capital 1500", "botctl set alpha capital=1500"),
        ("risk set daily_loss 3%", "botctl risk set daily_loss=3%"),
        ("risk set alpha daily_loss 3%", "botctl risk set alpha daily_loss=3%"),
    ],
)
def test_who_writes_a_change_as_an_option_is_shown_how_it_is_written(
    botctl: Any, botd: FakeBotd, words: str, hint: str
) -> None:
    result = botctl(*words.split())
    assert (result.code, botd.requests) == (2, [])
    assert result.err.endswith(f"  hint: write it as {hint}\n")


def test_a_key_with_a_dash_is_answered_with_the_right_one(botctl: Any, botd: FakeBotd) -> None:
    result = botctl("set", "alpha", "stop-loss=2%")
    assert (result.code, botd.requests) == (2, [])
    assert result.err == "botctl: error: stop-loss: no such key\n  hint: did you mean stop_loss?\n"


def test_a_hint_of_the_daemon_names_keys_where_the_verb_has_no_options(botctl: Any, botd: FakeBotd) -> None:
    def refuse(args: dict[str, Any]) -> Any:
        raise Refusal("INVALID", "a: --risk-per-trade needs a stop", "add --stop-loss 2% or --trailing-stop 1.5%")

    botd.handlers["set"] = refuse
    assert botctl("set", "a", "risk_per_trade=1%").err == (
        "botctl: error: a: risk_per_trade needs a stop\n  hint: add stop_loss=2% or trailing_stop=1.5%\n"
    )


def test_removing_everything_asks_and_removing_one_does_not(botctl: Any, botd: FakeBotd, terminal: Any) -> None:
    botd.handlers["rm"] = lambda args: {"rows": []}
    code, lines = terminal(80, "rm", "--all", answer=b"maybe\nn\n")
    assert (code, botd.asked("rm")) == (1, [])
    told = "\n".join(lines)
    assert "remove all bots? [y/N]" in told and "please answer y or n" in told and "nothing was done" in told
    assert terminal(80, "rm", "--all", answer=b"yes\n")[0] == 0
    assert botctl("rm", "a").code == botctl("rm", "-l", "team=x").code == 0
    assert botd.asked("rm") == [{"all": True}, {"names": ["a"]}, {"labels": {"team": "x"}}]


@pytest.mark.parametrize(("key", "code"), [(b"\x03", 130), (b"\x04", 1)])
def test_an_interrupted_question_ends_its_line(botd: FakeBotd, terminal: Any, key: bytes, code: int) -> None:
    given, lines = terminal(80, "flatten", after="[y/N]", answer=key)
    assert (given, botd.asked("flatten")) == (code, [])
    assert lines[0].startswith("halt the account and sell everything held? [y/N]")
    assert len(lines) == (1 if code == 130 else 2) and "Error" not in "".join(lines)


def test_what_can_never_be_is_refused_before_anything_is_asked(botctl: Any, botd: FakeBotd) -> None:
    for words in ("wait --for market=foo", "wait a --for state=foo"):
        assert "hint: one of " in botctl(*words.split()).err and botd.requests == []
    for verb in ("orders", "fills", "trades", "equity"):
        result = botctl(verb, "--since", "2026-01-02", "--until", "2026-01-01")
        assert (result.code, botd.asked(verb)) == (2, [])
        assert "--since 2026-01-02 is later than --until 2026-01-01" in result.err


def test_a_topic_that_no_event_ever_had_is_answered_with_those_there_are(botctl: Any, botd: FakeBotd) -> None:
    botd.handlers["events"] = lambda args: {"rows": [], "next": None, "seq": 0, "epoch": "e1"}
    result = botctl("events", "--topic", "ordr")
    assert result.code == 0 and "no topic ordr is known; there are account, " in result.err
    for known in ("order", "order.denied", "risk.state", "bot"):
        assert "is known" not in botctl("events", "--topic", known).err
    assert json.loads(botctl("events", "--topic", "ordr", "-o", "json").out) == []


def test_risk_show_of_a_bot_is_its_own_limits(botctl: Any, botd: FakeBotd) -> None:
    limit = {"control": "max_exposure", "limit": "value", "value": 50.0, "unit": "%", "state": "ok", "effect": "deny"}
    rows = [{**limit, "scope": "account"}, {**limit, "scope": "bot:alpha", "value": 20.0}]
    held = [{"scope": "bot:alpha", "state": "halted"}, {"scope": "bot:beta", "state": "reduce"}]
    botd.handlers |= {"risk.show": lambda args: {"rows": rows, "held": held}, "show": lambda args: bot_row("x")}
    shown = botctl("risk", "show", "alpha").out
    assert "20%" in shown and "50%" not in shown and "bot:alpha" in shown and "bot:beta" not in shown
    assert "SCOPE" in botctl("risk", "show").out
    assert [row["scope"] for row in json.loads(botctl("risk", "show", "alpha", "-o", "json").out)] == ["bot:alpha"]
    assert "beta has no limits of its own" in botctl("risk", "show", "beta").err


def test_why_tells_its_details_in_full_on_a_narrow_terminal(botd: FakeBotd, terminal: Any) -> None:
    detail = "enters while the histogram is above 0 and the candle closed above its average, exits below 0 at once"
    gates = [
        {"gate": "signal", "passed": False, "value": "none", "limit": None, "detail": detail},
        {"gate": "filters", "passed": True, "value": "0.4712", "limit": "the exchange's filters", "detail": ""},
    ]
    decision = {"name": "a", "at": "2026-01-01T00:00:00Z", "outcome": "hold", "gates": gates, "notes": {}}
    botd.handlers["why"] = lambda args: decision
    lines = terminal(80, "why", "a")[1]
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    assert " ".join(line.strip() for line in lines if line.startswith("    ")) == detail
    assert any(detail in line for line in terminal(200, "why", "a")[1])


def test_a_broken_strategy_is_listed_with_its_reason(
    botctl: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".config/botd/strategies"
    folder.mkdir(parents=True)
    (folder / "bad.py").write_text("import nothing_of_that_name\n")
    result = botctl("strategies")
    assert result.code == 0
    assert [line for line in result.out.splitlines() if line.startswith("bad ") and "does not load" in line]
    assert "bad.py, line 1: ModuleNotFoundError" in result.err


def test_every_line_that_follows_the_demo_fits_80_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from botctl.commands.demo import next_steps

    (tmp_path / "activate").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert f"  . {tmp_path.name}/activate" in next_steps()
    assert max(map(len, next_steps().splitlines())) <= 80
    (tmp_path / "botctl").write_text("#!/bin/sh\n")
    (tmp_path / "botctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "activate" not in next_steps()


def test_lists_say_that_they_are_whole(botctl: Any) -> None:
    for words in ("orders", "fills", "trades", "equity", "events", "candles", "logs", "audit show"):
        shown = botctl(*words.split(), "--help").out
        assert "[default: all" in shown, words


def test_the_audit_says_whose_clock_a_time_is_of(botctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"time": "2026-01-01T00:00:00Z", "entry": {}, "mac": "00"}
    rows = [{"id": 1, "kind": "command", **entry}, {"id": 2, "kind": "order", **entry}]
    monkeypatch.setattr("botctl.commands.audit.offline", lambda *given: rows if given[3] != "ordr" else [])
    assert [row["clock"] for row in json.loads(botctl("audit", "show", "-o", "json").out)] == ["wall", "trading"]
    assert "no kind ordr is known; there are command, order, " in botctl("audit", "show", "--kind", "ordr").err
    assert "clock" not in botctl("audit", "export").out
