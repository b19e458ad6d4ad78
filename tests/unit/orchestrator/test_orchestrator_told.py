"""What verbs tell beside what they do: what is in force, what a sale leaves, what a fleet's document has wrong."""

from __future__ import annotations

from typing import Any

import pytest

from botd.domain.errors import BotdError
from tests.fakes.plain_strategies import ByClose
from tests.fakes.small_world import SmallWorld

ALPHA = {"name": "alpha", "strategy": "rsi", "symbol": "BTC/USDT", "interval": "1m", "capital": "1000"}


def halt(small: SmallWorld, state: str = "halted", *names: str) -> list[dict[str, Any]]:
    switch = small.world.kill_switch
    return switch.set(switch.scopes(names, None), state, "uid 1000")


def test_health_tells_of_a_halt_and_stays_ok(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        desk = small.world.risk_desk
        assert desk.check() == ("trading", "ok", "active") and desk.held() == []
        small.create("alpha")
        halt(small, "halted")
        assert desk.check() == ("trading", "ok", "account halted since 2026-01-01T00:00:00Z: botctl release")
        halt(small, "reduce", "alpha")
        assert "; bot:alpha reduce since 2026-01-01T00:00:00Z: botctl release alpha" in desk.check()[2]
        assert [row["scope"] for row in desk.held()] == ["account", "bot:alpha"]

    run(script)


def test_a_release_says_what_stays_in_force(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.create("alpha")
        now = small.world.clock.now_ms()
        scope = f"bot:{bot.number}"
        small.world.states.trip(scope, "DAILY_LOSS", "reduce", now_ms=now, until_ms=now + 1000, detail="lost 4 %")
        row = halt(small, "active", "alpha")[0]
        assert (row["after"], row["remaining"]) == ("reduce", ["DAILY_LOSS"])
        assert row["detail"].startswith("bot:alpha reduce: lost 4 %") and "daily_loss=off" in row["detail"]
        assert halt(small, "active")[0]["detail"] == ""

    run(script)


def test_close_says_that_nothing_was_held_and_that_the_bot_rests(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        switch, bot = small.world.kill_switch, small.add(by_signals(ByClose()))
        assert switch.close(bot, keep_running=True)["detail"] == "nothing was held"
        row = switch.close(bot, keep_running=False)
        assert row["detail"] == "nothing was held, paused: no entries until botctl resume alpha"
        assert row["state"] == "paused"

    run(script)


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"stop_loss": "1.5"}, "bot alpha: stop_loss: must be above 0 % and below 100 %, not 150 %", ""),
        ({"risk_per_trade": "0.01"}, "bot alpha: risk_per_trade: needs a stop", "stop_loss: 2%"),
        (
            {"fraction": "0.5", "risk_per_trade": "0.01"},
            "bot alpha: fraction and risk_per_trade exclude each other",
            "",
        ),
        ({"capital": "lots"}, "bot alpha: capital must be a number, not 'lots'", ""),
        ({"params": {"period": "x"}}, "bot alpha: strategy rsi: period must be an integer from 2 to 500, not x", ""),
        ({"symbol": "BTC/EUR"}, "bot alpha: no symbol 'BTC/EUR' in this market", "did you mean BTC/USDT?"),
    ],
)
def test_a_fleet_s_mistake_names_the_bot_and_the_key(run: Any, change: Any, message: str, hint: str) -> None:
    async def script(small: SmallWorld) -> None:
        with pytest.raises(BotdError) as refused:
            small.world.fleet.plan([{**ALPHA, **change}])
        assert refused.value.message == message and hint in refused.value.hint

    run(script)


def test_a_bot_named_twice_is_named(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        with pytest.raises(BotdError, match=r"^bot alpha: named twice in the fleet"):
            small.world.fleet.plan([ALPHA, ALPHA])

    run(script)
