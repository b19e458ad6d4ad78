"""What a strategy reads besides on a live feed is what it reads in the lab, at each close; or it is waited for."""

from __future__ import annotations

from typing import Any

import numpy as np

from botd.backtest.history import from_candles
from botd.bot.evaluation import Evaluator
from botd.bot.inputs import claims
from botd.domain.candle import Candle, interval_ms
from botd.domain.candles import Candles
from botd.strategy.base import Input, Signals, SignalStrategy
from botd.strategy.inputs import reads_of, signals_of
from tests.fakes.binance import Fault
from tests.fakes.live_bench import MINUTE, START, LiveBench, with_bench

BTC, ETH = "BTC/USDT", "ETH/USDT"
FIVE = 5 * MINUTE
NEXT = START // FIVE * FIVE
"""Open time of the larger candle that is open at the start."""
NEEDS = 4


class Seeing(SignalStrategy):
    """Keeps what it sees at the last candle, by its time."""

    def __init__(self) -> None:
        super().__init__()
        self.saw: dict[int, list[float]] = {}

    def warmup(self) -> int:
        return NEEDS

    def inputs(self) -> list[Input]:
        return [Input("5m", 3), Input("5m", 2, ETH), Input("1m", 3, ETH)]

    def signals(self, candles: Candles) -> Signals:
        seen = [candles.at("5m"), candles.at("5m", ETH), candles.at("1m", ETH)]
        self.saw[int(candles.time[-1])] = [float(one.align(one.close)[-1]) for one in seen]
        flags = np.zeros(len(candles), np.bool_)
        return Signals(enter=flags, exit=flags)


class Listener:
    """The bot's own ears: an evaluation is only made for who listens."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def on_open(self, open_time: int, price: float) -> None:
        raise AssertionError("tick feeds open no candles")

    def on_closed(self, candle: Candle) -> None:
        self.told.append(candle.open_time)


class Bot:
    """As a bot claims its lanes and has its strategy evaluated."""

    def __init__(self, bench: LiveBench) -> None:
        self.bench, self.strategy, self.ears = bench, Seeing(), Listener()
        self.waited: dict[int, str] = {}
        reads = reads_of("seeing", self.strategy, BTC, "1m")
        evaluator = Evaluator(bench.manager.window, bench.time)
        self.evaluation = evaluator.acquire(("k",), self.strategy, (BTC, "1m"), needs=NEEDS, trusted=True, reads=reads)

        def prepare(closed: Any) -> None:
            evaluator.prepare(closed)
            if self.evaluation.waits:
                self.waited[self.evaluation.candle_time] = self.evaluation.waits

        bench.manager.set_hooks(prepare, lambda now: None)
        bench.manager.subscribe(BTC, "1m", self.ears, 30)
        claims(bench.manager, reads, "1m", NEEDS, 1)
        for lane in ((ETH, "1m"),):
            bench.read(*lane)  # for ready()

    def expected(self) -> dict[int, list[float]]:
        """What the lab sees at the same closes, of the whole truth."""
        last = self.ears.told[-1]
        rows = {lane: self._rows(*lane, last) for lane in ((BTC, "1m"), (BTC, "5m"), (ETH, "5m"), (ETH, "1m"))}
        history = from_candles(rows[BTC, "1m"], BTC)
        history = type(history)(history.candles, history.instrument, inputs=rows)
        lab = Seeing()
        candles = history.seen_by("seeing", lab)
        for row in range(len(candles)):
            if int(candles.time[row]) in self.ears.told:
                signals_of(lab, candles.part(max(0, row - NEEDS + 1), row + 1))
        return lab.saw

    def _rows(self, symbol: str, interval: str, last: int) -> Candles:
        length = interval_ms(interval)
        first = NEXT - 60 * MINUTE
        candles = self.bench.truth(symbol, interval, first, (last + MINUTE) // length * length)
        columns = zip(*((c.open_time, c.open, c.high, c.low, c.close, c.volume) for c in candles), strict=True)
        time, *values = columns
        return Candles(interval, np.array(time, np.int64), *(np.array(column) for column in values))


def test_on_a_sound_feed_nothing_is_waited_for_and_all_is_as_in_the_lab() -> None:
    async def scene(bench: LiveBench) -> None:
        bot = Bot(bench)
        await bench.ready()
        await bench.play(11 * 60, 1000)
        assert len(bot.ears.told) >= 10 and bot.waited == {}
        assert bot.strategy.saw == bot.expected() and set(bot.strategy.saw) == set(bot.ears.told)

    with_bench(LiveBench("BTCUSDT", "ETHUSDT"), scene)


def test_what_a_stream_loses_is_built_or_fetched_or_waited_for_and_never_an_older_one_instead() -> None:
    """The larger candle of both markets is lost on the stream: ours is built of its minutes, ETH's is fetched later."""
    opens = (NEXT, NEXT + FIVE)
    faults = tuple(
        Fault(kind="missing", stream="*@kline_5m", symbol=symbol, opens=opens) for symbol in ("BTCUSDT", "ETHUSDT")
    )

    async def scene(bench: LiveBench) -> None:
        bot = Bot(bench)
        await bench.ready()
        await bench.play(11 * 60, 1000)
        expected = bot.expected()
        assert set(bot.strategy.saw) | set(bot.waited) == set(bot.ears.told) == set(expected)
        assert all(expected[time] == saw for time, saw in bot.strategy.saw.items())
        assert all(words.startswith("the candle of ETH/USDT 5m that opened at ") for words in bot.waited.values())
        assert len(bot.strategy.saw) > 7

    with_bench(LiveBench("BTCUSDT", "ETHUSDT", faults=faults), scene)
