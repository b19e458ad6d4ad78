"""What botctl says of changes that leave a state as it is, which daemon a restart means, what can be waited for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from botctl.session import Session
from tests.fakes.fake_botd import FakeBotd
from tests.unit.botctl.conftest import HELLO


def test_set_says_that_the_bot_changed_though_its_state_did_not(botctl: Any, botd: FakeBotd) -> None:
    row = {"name": "a", "before": "running", "after": "running", "detail": "slow=7", "error": None}
    botd.handlers["set"] = lambda args: {"rows": [{**row, "result": "changed"}]}
    assert botctl("set", "a", "slow=7").out == "a  running (changed)  slow=7\n"
    botd.handlers["set"] = lambda args: {"rows": [{**row, "result": "unchanged"}]}
    assert botctl("set", "a", "slow=7").out == "a  running (unchanged)  slow=7\n"


def test_risk_set_tells_a_share_from_an_amount(botctl: Any, botd: FakeBotd) -> None:
    row = {"control": "max_order_value", "scope": "account", "units": {"value": "% or quote"}, "result": "changed"}
    botd.handlers["risk.set"] = lambda args: {"rows": [{**row, "before": {"value": 100.0}, "after": {"value": "100"}}]}
    assert botctl("risk", "set", "max_order_value=100").out == ("max_order_value  account  value=100% -> value=100\n")
    exposure = {"control": "max_exposure", "scope": "account", "units": {"value": "quote"}, "result": "changed"}
    botd.handlers["risk.set"] = lambda args: {
        "rows": [{**exposure, "before": {"value": 50.0}, "after": {"value": "5e3"}}]
    }
    assert botctl("risk", "set", "max_exposure=5000").out == "max_exposure  account  value=50% -> value=5e3\n"
    rate = {"control": "rate_limit", "scope": "account", "units": {"bot": "per second"}, "result": "changed"}
    botd.handlers["risk.set"] = lambda args: {"rows": [{**rate, "before": {"bot": 2}, "after": {"bot": 2.5}}]}
    assert botctl("risk", "set", "rate_limit.bot=2.5").out.endswith("bot=2 per second -> bot=2.5 per second\n")


@pytest.mark.parametrize(
    ("words", "scope", "release"),
    [
        ("flatten --yes", "the account", "botctl release"),
        ("flatten --yes --symbol ETH/USDT", "ETH/USDT", "botctl release --symbol ETH/USDT"),
    ],
)
def test_flatten_says_what_is_halted_now_and_what_ends_it(
    botctl: Any, botd: FakeBotd, words: str, scope: str, release: str
) -> None:
    row = {"name": "dca", "symbol": "ETH/USDT", "sold": "0.0841", "remaining": "0", "detail": ""}
    told = f"{scope} is halted: no entries until {release}\n"
    for rows, out, err in (([row], "dca  sold 0.0841\n", told), ([], "", "nothing was held\n" + told)):
        botd.handlers["flatten"] = lambda args, rows=rows: {"rows": rows, "done": True}
        result = botctl(*words.split())
        assert (result.code, result.out, result.err) == (0, out, err)


@pytest.mark.parametrize("words", ["a --for state=runing", "a --for desired=failed", "--for health=good"])
def test_a_word_that_can_never_come_is_not_waited_for(botctl: Any, botd: FakeBotd, words: str) -> None:
    result = botctl("wait", *words.split())
    assert result.code == 2 and "hint: one of " in result.err
    assert botd.requests == []


def test_restart_with_a_configuration_means_the_daemon_of_that_configuration(
    botctl: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    month, usual = tmp_path / "month.yaml", tmp_path / "state/control.sock"  # the usual one: $BOTD_STATE_DIR
    month.write_text(f"control: {{socket: {tmp_path}/month.sock}}\n")
    usual.parent.mkdir()
    script = tmp_path / "botd"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with FakeBotd(usual, {"hello": lambda args: HELLO, "shutdown": lambda args: {"stopping": True}}) as other:
        assert botctl("daemon", "restart", "--config", str(month)).code == 0
        assert other.requests == []


def test_restart_with_a_mistake_in_the_configuration_stops_nothing(botctl: Any, botd: FakeBotd, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("bogus: 1\n")
    botd.handlers["hello"] = lambda args: {**HELLO, "pid": 0, "config": str(broken)}
    result = botctl("daemon", "restart")
    assert result.code == 78 and "bogus: unknown key" in result.err
    assert botd.asked("shutdown") == []


def test_candles_are_read_page_by_page(botctl: Any, botd: FakeBotd) -> None:
    rows = [{"time": f"2026-01-01T00:0{n}:00Z", **dict.fromkeys(("open", "high", "low", "close"), "1")} for n in (1, 2)]
    botd.handlers["candles"] = lambda args: (
        {"rows": rows[1:], "next": None} if args.get("cursor") else {"rows": rows[:1], "next": "60000"}
    )
    assert botctl("candles", "BTC/USDT", "-o", "name").out == "2026-01-01T00:01:00Z\n2026-01-01T00:02:00Z\n"
    assert botd.asked("candles") == [
        {"symbol": "BTC/USDT", "interval": "1m"},
        {"symbol": "BTC/USDT", "interval": "1m", "cursor": "60000"},
    ]


@pytest.mark.parametrize(
    ("variable", "option", "coloured"), [(None, None, True), ("", None, True), ("1", None, False), (None, False, False)]
)
def test_colour_goes_with_no_color_and_with_the_option(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, option: bool | None, coloured: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable is not None:
        monkeypatch.setenv("NO_COLOR", variable)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    session = Session()
    session.color = option
    assert session.colored() is coloured
