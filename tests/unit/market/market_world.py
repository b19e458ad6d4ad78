"""Helpers of the market room's tests: small files, a recording listener, a manager with everything recorded."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from botd.domain.candle import Candle, interval_ms
from botd.domain.clock import VirtualClock
from botd.domain.events import Event
from botd.market.feed import CandleSource, Quote
from botd.market.manager import MarketManager
from botd.market.simulated.replay import ReplaySource

T0 = 1_704_067_200_000  # 2024-01-01T00:00:00Z, a multiple of every interval
MINUTE = 60_000
DATA = Path(os.environ.get("BOTD_TEST_DATA", "../shared/data"))
HEADER = "open_time_ms,open,high,low,close,volume\n"


def real_file(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not here (set BOTD_TEST_DATA)")
    return path


def rows_at(minutes: list[int], start: int = T0) -> list[Candle]:
    """Candles at the given minutes, with values that tell them apart."""
    return [
        Candle(start + m * MINUTE, 100.0 + m, 103.25 + m + m % 7, 98.5 + m - m % 5, 101.0 + m, 1.0 + m % 11)
        for m in minutes
    ]


def csv_text(rows: list[Candle], header: str = HEADER) -> str:
    return header + "".join(f"{c.open_time},{c.open},{c.high},{c.low},{c.close},{c.volume}\n" for c in rows)


def source_of(rows: dict[str, list[Candle]], interval: str = "1m") -> ReplaySource:
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for symbol, candles in rows.items():
            path = files[symbol] = Path(folder) / f"{symbol.replace('/', '')}.csv"
            path.write_text(csv_text(candles))
        return ReplaySource(files, interval)


def naive_buckets(rows: list[Candle], interval: str, base: str = "1m") -> list[Candle]:
    """The complete larger candles, the slow and obvious way (volumes are small whole numbers: exact)."""
    length, step = interval_ms(interval), interval_ms(base)
    by_time = {c.open_time: c for c in rows}
    found = []
    for start in sorted({c.open_time - c.open_time % length for c in rows}):
        parts = [by_time.get(t) for t in range(start, start + length, step)]
        whole = [part for part in parts if part is not None]
        if len(whole) == len(parts):
            high, low = max(c.high for c in whole), min(c.low for c in whole)
            found.append(Candle(start, whole[0].open, high, low, whole[-1].close, sum(c.volume for c in whole)))
    return found


class RecordingListener:
    def __init__(self, log: list[tuple[Any, ...]] | None = None, name: str = "") -> None:
        self.opened: list[tuple[int, float]] = []
        self.closed: list[Candle] = []
        self.log = log if log is not None else []
        self.name = name

    def on_open(self, open_time: int, price: float) -> None:
        self.opened.append((open_time, price))
        self.log.append(("open", self.name, open_time))

    def on_closed(self, candle: Candle) -> None:
        self.closed.append(candle)
        self.log.append(("closed", self.name, candle.open_time))


class RecordingCache:
    def __init__(self) -> None:
        self.quotes: dict[str, Quote] = {}
        self.candles: list[tuple[str, str, Candle]] = []

    def put_quote(self, symbol: str, quote: Quote) -> None:
        self.quotes[symbol] = quote

    def put_candle(self, symbol: str, interval: str, candle: Candle) -> None:
        self.candles.append((symbol, interval, candle))


class SteppingClock(VirtualClock):
    """Our wall clock is set by somebody; the monotonic one goes on."""

    step_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.step_ms


class World:
    """A manager on a virtual clock; ``events`` and ``cache`` hold what it told."""

    def __init__(self, source: CandleSource | None, *, base: str | None = "1m", start: int = T0, **more: Any) -> None:
        self.clock = SteppingClock(start)
        self.cache = RecordingCache()
        self.events: list[Event] = []
        self.source = source
        self.manager = MarketManager(
            clock=self.clock,
            cache=self.cache,
            base_interval=base,
            on_event=self.events.append,
            candle_feed=source is not None,
            **more,
        )
        if source is not None:
            self.manager.attach_source(source)

    async def play(self, moments: int = 1_000_000) -> None:
        assert self.source is not None
        while moments and (moment := self.source.next()) is not None:
            await self.manager.deliver(moment)
            moments -= 1

    def gaps(self) -> list[tuple[str, str, int, int, int]]:
        return [
            tuple(event.data[key] for key in ("symbol", "interval", "from_ms", "to_ms", "missing"))  # type: ignore[misc]
            for event in self.events
            if event.topic == "market.gap"
        ]
