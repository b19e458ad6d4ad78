"""wait: what ends it, and how it lives through an absent daemon."""

from __future__ import annotations

import threading
import time

import pytest

from tests.fakes.fake_botd import FakeBotd, Refusal
from tests.unit.botctl.conftest import HELLO, bot_row


def answers(*values):
    """Return a handler that gives one value after the other, and the last one for ever."""
    left = list(values)
    return lambda args: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize(
    ("what", "bots"),
    [
        ("state=running", [bot_row("a", state="starting"), bot_row("a", state="running")]),
        ("state=paused,stopped", [bot_row("a"), bot_row("a", state="stopped")]),
        ("desired=stopped", [bot_row("a"), bot_row("a", desired="stopped")]),
        ("position=flat", [bot_row("a"), bot_row("a", position=None)]),
        ("position=open", [bot_row("a", position=None), bot_row("a")]),
    ],
)
def test_it_ends_when_the_bot_is_as_asked(botctl, botd, what, bots):
    botd.handlers["show"] = answers(*bots)
    result = botctl("wait", "a", "--for", what, "--timeout", "5s")
    assert result.code == 0, result.err
    assert len(botd.asked("show")) == 2


def test_market_and_health_are_asked_of_the_daemon(botctl, botd):
    botd.handlers["market.status"] = answers({"state": "playing"}, {"state": "ended"})
    botd.handlers["health"] = answers({"status": "degraded"}, {"status": "ok"})
    assert botctl("wait", "--for", "market=ended", "--timeout", "5s").code == 0
    assert botctl("wait", "--for", "health=ok", "--timeout", "5s").code == 0


def test_75_when_the_time_is_up_and_the_present_value_is_told(botctl, botd):
    botd.handlers["show"] = answers(bot_row("a"))
    result = botctl("wait", "a", "--for", "state=stopped", "--timeout", "200ms")
    assert result.code == 75
    assert "now: running" in result.err


def test_a_failed_bot_ends_it_at_once_unless_that_was_asked(botctl, botd):
    botd.handlers["show"] = answers(bot_row("a", state="failed", note="division by zero"))
    result = botctl("wait", "a", "--for", "state=running")
    assert result.code == 1
    assert "division by zero" in result.err
    assert botctl("wait", "a", "--for", "state=running,failed").code == 0


def test_an_unknown_bot_is_4_at_once(botctl, botd):
    def refuse(args):
        raise Refusal("NOT_FOUND", "a: no such bot")

    botd.handlers["show"] = refuse
    assert botctl("wait", "a", "--for", "state=running").code == 4


@pytest.mark.parametrize(
    "words",
    [
        "a --for market=ended",
        "--for state=running",
        "a --for colour=red",
        "a --for state",
        "a --for position=tall",
        "a",
    ],
)
def test_what_cannot_be_waited_for_is_a_usage_error(botctl, botd, words):
    assert botctl("wait", *words.split()).code == 2


def test_ready_waits_for_a_daemon_that_is_not_there_yet(botctl, tmp_path):
    fake = FakeBotd(tmp_path / "s", {"hello": lambda args: HELLO})
    threading.Timer(0.3, fake.__enter__).start()
    try:
        result = botctl("wait", "--for", "ready", "--endpoint", str(fake.path), "--timeout", "10s")
        assert (result.code, result.out) == (0, "botd  ready true\n")
    finally:
        fake.__exit__()


def test_ready_without_a_daemon_is_75_and_anything_else_69(botctl, tmp_path):
    path = str(tmp_path / "s")
    assert botctl("wait", "--for", "ready", "--endpoint", path, "--timeout", "200ms").code == 75
    assert botctl("wait", "a", "--for", "state=running", "--endpoint", path, "--timeout", "5s").code == 69


def test_a_restart_while_it_waits_is_lived_through(botctl, tmp_path):
    path = tmp_path / "s"
    first = FakeBotd(path, {"show": answers(bot_row("a", state="starting"))})
    second = FakeBotd(path, {"show": answers(bot_row("a", state="running"))})

    def restart():
        time.sleep(0.3)
        first.__exit__()
        time.sleep(0.2)
        second.__enter__()

    with first:
        restarting = threading.Thread(target=restart)
        restarting.start()
        result = botctl("wait", "a", "--for", "state=running", "--endpoint", str(path), "--timeout", "10s")
        restarting.join()
    second.__exit__()
    assert result.code == 0, result.err


def test_quiet_leaves_the_line_out_and_never_the_data(botctl, botd):
    botd.handlers["show"] = answers(bot_row("a"))
    assert botctl("wait", "a", "--for", "state=running", "-q").out == ""
    assert '"value": "running"' in botctl("wait", "a", "--for", "state=running", "-q", "-o", "json").out
