"""Closed candles over REST: the history before a lane begins, then each candle once it is proven closed.

A row is closed when its close time lies more than 2 s before the exchange's own time; that the next candle
appeared proves nothing. One that no market can have made is not there yet. This page asks and decides;
:mod:`botd.market.by_ccxt.exchange_feed` delivers.
"""

from __future__ import annotations

from typing import Any

from botd.domain.candle import Candle, bucket_start, interval_ms
from botd.domain.clock import Clock
from botd.market.by_ccxt.ccxt_client import candle_of
from botd.market.feed import PROOF_MS

_PAGE = 1000
_TIME_AGE_S = 60.0  # after which the exchange's time is measured anew
_STEP_MS = 500  # our clock against the monotonic one; less is drift
_AGAIN_MS = (500, 1000, 2000, 5000, 10_000)
_LATE_MS = 90_000  # after its close a candle is overdue


class LanePoll:
    """Where one lane stands: which candle comes next, and when to ask for it."""

    __slots__ = ("ask_ms", "interval", "length", "loaded", "next_open", "symbol", "tries")

    def __init__(self, symbol: str, interval: str, next_open: int, loaded: int) -> None:
        self.symbol = symbol
        self.interval = interval
        self.length = interval_ms(interval)
        self.loaded = loaded
        """How many candles of history were asked for."""
        self.tries = 0
        self.next_open = next_open
        self.ask_ms = 0
        self.expect(next_open)

    @property
    def proof_ms(self) -> int:
        """When the next candle is proven closed, in the exchange's time."""
        return self.next_open + self.length + PROOF_MS

    def expect(self, next_open: int) -> None:
        """Everything before ``next_open`` is delivered."""
        self.next_open = next_open
        self.tries = 0
        self.ask_ms = self.proof_ms

    def missed(self, server_ms: int) -> None:
        """The exchange has not got the candle yet: ask again, ever more slowly."""
        self.ask_ms = server_ms + _AGAIN_MS[min(self.tries, len(_AGAIN_MS) - 1)]
        self.tries += 1

    def late(self, server_ms: int) -> bool:
        """Tell whether the candle is overdue so long that something is wrong."""
        return server_ms > self.next_open + self.length + _LATE_MS


class CandleDesk:
    """Asks the exchange for closed candles, on the exchange's time."""

    def __init__(self, client: Any, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._quarantined = 0
        self._offset_ms = 0
        self._measured_s = float("-inf")
        self._ahead_ms = 0.0
        """Our clock less the monotonic one when that was measured: another value tells of a step."""

    def server_ms(self) -> int:
        """Return the exchange's time, as far as it was measured."""
        return self._clock.now_ms() + self._offset_ms

    async def measure_time(self) -> None:
        """Measure by how much the exchange's clock is ahead of ours, once a minute and after a step of ours."""
        now_s = self._clock.monotonic()
        ahead_ms = self._clock.now_ms() - now_s * 1000
        if now_s - self._measured_s < _TIME_AGE_S and abs(ahead_ms - self._ahead_ms) < _STEP_MS:
            return
        if self._client.has.get("fetchTime"):
            server = int(await self._client.fetch_time())
            # The answer was made at some time of the round trip: assume the latest, so that proof comes late
            # rather than early.
            self._offset_ms = server - self._clock.now_ms()
        self._measured_s, self._ahead_ms = now_s, ahead_ms

    async def closed_since(self, symbol: str, interval: str, since_ms: int) -> list[Candle]:
        """Return all proven closed candles that open at ``since_ms`` or later, oldest first."""
        length = interval_ms(interval)
        found: list[Candle] = []
        while True:
            await self.measure_time()
            closed_before = self.server_ms() - PROOF_MS
            if since_ms + length > closed_before:
                return found
            wanted = min(_PAGE, (closed_before - since_ms) // length + 2)
            rows = await self._client.fetch_ohlcv(symbol, interval, since_ms, wanted)
            candles = [candle_of(row) for row in rows]
            closed = [c for c in candles if c.open_time >= since_ms and c.open_time + length <= closed_before]
            page = [candle for candle in closed if candle.is_sound]
            self._quarantined += len(closed) - len(page)
            found += page
            if not page or len(rows) < wanted:
                return found
            since_ms = page[-1].open_time + length

    async def history(self, symbol: str, interval: str, count: int) -> list[Candle]:
        """Return up to ``count`` closed candles, the latest there are, oldest first."""
        await self.measure_time()
        length = interval_ms(interval)
        begin = bucket_start(self.server_ms() - PROOF_MS, length) - count * length
        return (await self.closed_since(symbol, interval, max(0, begin)))[-count:]

    def forming(self, interval: str) -> int:
        """Return the open time of the candle that is not proven closed yet."""
        return bucket_start(self.server_ms() - PROOF_MS, interval_ms(interval))

    def statistics(self) -> dict[str, Any]:
        return {"server_offset_ms": self._offset_ms, "quarantined": self._quarantined}
