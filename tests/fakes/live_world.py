"""A whole botd without its control socket, on the streams of a Binance front, in time that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

from botd.bot.bot import Bot
from botd.bot.intents import market_entry, risk_request
from botd.config import from_mapping
from botd.world import World
from tests.fakes.binance import BinanceFront, CandleMarket, ManualClock, Pace, Rules
from tests.fakes.live_bench import START, STEP_MS, FrontTime
from tests.fakes.small_fleet import SmallFleet

SUPERVISE_MS = 1_000
TURNS = 400
QUIET_TURNS = 4
"""Turns of the loop without a request, and time may go on."""


class LiveWorld(SmallFleet):
    """The front stays, botd may be ended and begun anew. BTC/USDT at 50,000 until :meth:`quote` says otherwise."""

    def __init__(self, home: Path, pace: Pace | None = None) -> None:
        self.home = home
        self.clock = ManualClock(START)
        market = CandleMarket(["BTCUSDT"], pace=pace or Pace(kline_ms=0, book_ms=1000.0))
        self.front = BinanceFront(market, clock=self.clock, rules=Rules(timers="market"))
        self.time = FrontTime(self.clock)
        self._task: asyncio.Task[None] | None = None
        self._supervised_ms = 0

    async def open(self) -> None:
        """Begin botd: build the world from its ledger; nothing is asked of the exchange yet."""
        endpoints = {"rest": self.front.rest_url, "stream": self.front.ws_url}
        # What a question would count is off, so that a test may ask whether an entry would go.
        risk = {"preset": "off", "readiness": "on", "price_freshness": "10s", "symbol_allowlist": "BTC/USDT"}
        config = {"state_dir": str(self.home), "market": {"source": "exchange"}, "endpoints": endpoints}
        self.world = World(from_mapping({**config, "risk": risk}, self.home))
        self.world.clock = self.time
        self.world.build()

    async def begin(self) -> None:
        """Let the market serve."""
        await self.world.open_market()
        self.world.orchestrator.market_ready()
        await self.world.settlement.commit()
        self._task = asyncio.create_task(self.world.feed(), name="feed")

    async def end(self) -> None:
        """End botd; what it knew is in its ledger."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.world.settlement.commit()
        await self.world.close_feed()
        await self.world.market.close()
        await self.world.ledger.close()

    async def play(self, seconds: float) -> None:
        """Let time pass."""
        end = self.clock.now_ms() + seconds * 1000
        while self.clock.now_ms() < end:
            await self.step()

    async def step(self) -> None:
        """Let a little time pass, and what was sent arrive; the supervisor looks once a second."""
        await self.clock.advance(STEP_MS)
        feed = self.world._feed
        quiet = 0
        for _ in range(TURNS):
            await asyncio.sleep(0.0005)
            quiet = quiet + 1 if feed is None or not feed.governor.statistics()["under_way"] else 0
            if quiet >= QUIET_TURNS:
                break
        if self.clock.now_ms() - self._supervised_ms >= SUPERVISE_MS:
            self._supervised_ms = self.clock.now_ms()
            self.world.orchestrator.supervise()
        self.world.settlement.tick()

    async def until(self, condition: Callable[[], Any], seconds: float = 120.0) -> float:
        """Let time pass until something holds; return after how many seconds it did."""
        begin = self.clock.now_ms()
        while not condition():
            assert self.clock.now_ms() - begin < seconds * 1000, f"not within {seconds} s"
            await self.step()
        return (self.clock.now_ms() - begin) / 1000

    def quote(self, bid: str, ask: str) -> None:
        """The market's price is this from now on."""
        self.front.quote("BTCUSDT", bid, ask)

    async def bot(self, **more: Any) -> Bot:
        """Return a running bot that never trades by itself, with fresh prices and candles."""
        bot = self.create(params={"period": 14, "oversold": 0.001, "overbought": 99.999}, stop_loss="0.02", **more)
        await self.until(lambda: bot.state.value == "running" and not self.denial(bot))
        return bot

    def denial(self, bot: Bot) -> str:
        """Return why an entry would be denied now; nothing is sent."""
        quote = self.world.market.quote("BTC/USDT")
        if quote is None:
            return "no price"
        intent, quantity = market_entry(bot, quote.last), Decimal("0.001")
        return self.world.gate.decide(risk_request(bot, intent, quantity)).code

    def buy(self, bot: Bot) -> None:
        """Let a bot enter, as its strategy might."""
        quote = self.world.market.quote("BTC/USDT")
        assert quote is not None
        order, verdict = bot.place(market_entry(bot, quote.last), Decimal("0.001"))
        assert order is not None and bot.holds, verdict


def with_world(world: LiveWorld, scene: Callable[[LiveWorld], Coroutine[Any, Any, None]]) -> None:
    """Run a scene; at its end the front was never asked for anything while it had said to wait."""

    async def body() -> None:
        await world.front.start()
        world.quote("50000.00", "50000.10")
        await world.open()
        await world.begin()
        try:
            await scene(world)
        finally:
            await world.end()
            await world.front.stop()
        assert world.front.record.while_banned() == []

    asyncio.run(asyncio.wait_for(body(), 60))
