"""A whole botd on a market that fails: nothing is opened on a price nobody vouches for, what is held can be sold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.fakes.binance import Fault
from tests.fakes.live_world import LiveWorld, with_world

LIMIT_S = 10.0
STEP_S = 0.5
STALE = ("STALE_MARKET_DATA", "NOT_READY")
"""An old price, or a stream or lane that is doubted: whichever the gate sees first."""


def cut_off(world: LiveWorld, seconds: float | None = None) -> list[Fault]:
    """Nothing reaches botd any more: connections end, nobody listens, REST fails."""
    lasts = None if seconds is None else round(seconds * 1000)
    faults = [world.front.inject(Fault(kind=kind, for_ms=lasts)) for kind in ("refuse", "error")]
    world.front.inject(Fault(kind="cut"))
    return faults


@pytest.mark.parametrize("kind", ["cut off", "half open", "silent"])
def test_entries_are_denied_within_a_second_of_the_limit(tmp_path: Path, kind: str) -> None:
    async def scene(world: LiveWorld) -> None:
        bot = await world.bot()
        if kind == "cut off":
            cut_off(world)
        elif kind == "half open":
            world.front.inject(Fault(kind="half_open"))
            world.front.inject(Fault(kind="error"))
        else:
            world.front.inject(Fault(kind="silent"))
            world.quote("50100.00", "50100.10")  # the market moved, and the stream does not say so
        took = await world.until(lambda: world.denial(bot), 30)
        assert world.denial(bot) in STALE
        assert took <= LIMIT_S + 1.0 + STEP_S
        assert took >= LIMIT_S - 1.5, "a moment of silence is no outage"

    with_world(LiveWorld(tmp_path), scene)


@pytest.mark.parametrize("seconds", [10, 60, 600, 6 * 3600])
def test_after_an_outage_bots_trade_again_by_themselves(tmp_path: Path, seconds: int) -> None:
    async def scene(world: LiveWorld) -> None:
        bot = await world.bot()
        last = bot.last_candle_ms
        cut_off(world, seconds)
        await world.play(min(seconds, 30))
        if seconds > 60:
            world.clock._now_ms += (seconds - 60) * 1000  # as when the machine slept
        await world.play(max(0, min(seconds, 60) - 30))
        took = await world.until(lambda: not world.denial(bot) and bot.last_candle_ms != last, 150)
        assert took <= 95.0  # a reconnect's pause of 30 s at most, and at most a minute until a candle closes
        window = world.world.market.window("BTC/USDT", "1m", 60)
        assert {int(step) for step in window.time[1:] - window.time[:-1]} == {60_000}
        world.buy(bot)

    with_world(LiveWorld(tmp_path), scene)


def test_a_position_can_be_closed_while_nothing_may_be_opened(tmp_path: Path) -> None:
    async def scene(world: LiveWorld) -> None:
        bot = await world.bot()
        world.buy(bot)
        cut_off(world)
        await world.until(lambda: world.denial(bot), 30)
        before = bot.book.position.quantity
        world.world.kill_switch.close(bot, keep_running=True)
        row = world.world.kill_switch.closed_row(bot, before)
        assert (bot.holds, row["sold"]) == (False, "0.001")
        assert world.denial(bot) in STALE

    with_world(LiveWorld(tmp_path), scene)


def test_a_stop_sells_at_the_first_price_that_comes_although_the_symbol_is_doubted(tmp_path: Path) -> None:
    async def scene(world: LiveWorld) -> None:
        bot = await world.bot()
        world.buy(bot)
        # Candles neither by stream nor by REST: the lane goes stale, while prices come.
        world.front.inject(Fault(kind="missing", stream="*@kline_1m"))
        world.front.inject(Fault(kind="error", path="/klines"))
        await world.until(lambda: world.denial(bot), 200)
        assert world.world.market.doubts("BTC/USDT")
        world.quote("48000.00", "48000.10")
        assert await world.until(lambda: not bot.holds, 10) <= 1.0
        assert world.denial(bot) in STALE

    with_world(LiveWorld(tmp_path), scene)


def test_a_stop_that_was_passed_during_an_outage_sells_when_the_market_is_back(tmp_path: Path) -> None:
    async def scene(world: LiveWorld) -> None:
        bot = await world.bot()
        world.buy(bot)
        faults = cut_off(world)
        await world.until(lambda: world.denial(bot), 30)
        world.quote("48000.00", "48000.10")
        await world.play(20)
        assert bot.holds
        for fault in faults:
            world.front.mend(fault)
        await world.until(lambda: not bot.holds, 60)

    with_world(LiveWorld(tmp_path), scene)


@pytest.mark.parametrize("kind, status", [("banned", "418"), ("limited", "429")])
def test_a_botd_started_anew_keeps_to_what_the_exchange_asked_for(tmp_path: Path, kind: str, status: str) -> None:
    async def scene(world: LiveWorld) -> None:
        await world.bot()
        world.front.inject(Fault(kind=kind, path="/ticker/bookTicker", retry_after_s=300, for_ms=60_000))
        world.front.inject(Fault(kind="silent", stream="*@bookTicker", for_ms=20_000))
        feed = world.world._feed
        await world.until(lambda: feed.governor.blocked_s > 0, 20)
        await world.play(30)
        await world.end()
        asked = len(world.front.record.requests)
        await world.open()
        beginning = pytest.raises(Exception, match=status)
        with beginning:
            await world.begin()
        await world.play(200)
        assert len(world.front.record.requests) == asked, "nothing is asked"
        await world.play(80)
        await world.begin()
        await world.until(lambda: not world.denial(world.world.orchestrator.get("alpha")), 60)
        await world.end()
        await world.open()  # the row is gone
        assert "blocked" not in world.world.loaded.kv.get("bans", {})
        await world.begin()

    with_world(LiveWorld(tmp_path), scene)


def relist(world: LiveWorld, status: str) -> None:
    """The exchange gives the symbol another status, and tells nobody."""
    listed = world.front.market.listings
    row = {**listed["BTCUSDT"].row, "status": status}
    listed["BTCUSDT"] = dataclasses.replace(listed["BTCUSDT"], row=row)


def asked(world: LiveWorld) -> int:
    """How often the listing was asked for."""
    return sum(seen.path.endswith("/exchangeInfo") for seen in world.front.record.requests)


def test_a_symbol_that_the_exchange_halts_opens_nothing_until_it_trades_again(tmp_path: Path) -> None:
    async def scene(world: LiveWorld) -> None:
        bot = await world.bot()
        world.buy(bot)
        relist(world, "HALT")
        took = await world.until(lambda: world.denial(bot), 320)
        assert (world.denial(bot), bot.instrument.status) == ("SYMBOL_NOT_ALLOWED", "HALT")
        assert took <= 302
        assert bot.sell_all("manual", 50_000.0) is not None, "an exit is tried all the same"
        relist(world, "TRADING")
        assert await world.until(lambda: not world.denial(bot), 302) <= 61, "what does not trade is looked up oftener"
        assert asked(world) <= 3

    with_world(LiveWorld(tmp_path), scene)


def test_a_symbol_whose_rules_an_order_was_refused_by_is_looked_up_once_a_minute_at_most(tmp_path: Path) -> None:
    async def scene(world: LiveWorld) -> None:
        bot = await world.bot()
        site = world.world._feed._site
        await world.play(60)
        began = asked(world)
        relist(world, "HALT")
        site.doubted.add("BTC/USDT")  # as the order desk does
        assert await world.until(lambda: world.denial(bot) == "SYMBOL_NOT_ALLOWED", 10) <= 2
        assert not site.doubted
        await world.play(170)
        assert asked(world) - began == 3, "in three minutes"

    with_world(LiveWorld(tmp_path), scene)


def test_what_each_bots_candles_take_is_accounted_and_how_late_it_hears_of_them(tmp_path: Path) -> None:
    async def scene(world: LiveWorld) -> None:
        bot = await world.bot()
        details = world.world.views.details
        assert details(bot)["candles_told"] is None
        await world.until(lambda: bot.last_candle_ms is not None, 70)
        shown = details(bot)
        assert shown["candles_told"] == 1
        assert 0 <= shown["told_late_ms"] <= 5_000
        assert shown["candles_s"] * 1000 == pytest.approx(shown["candles_longest_ms"], abs=0.01)

    with_world(LiveWorld(tmp_path), scene)
