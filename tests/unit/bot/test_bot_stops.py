"""ATR, break-even and time stops of a bot: at entry, through `set`, through a restart, in every state."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import talib

from botd.bot.bot import Bot
from botd.bot.guard import Guard, change_levels
from botd.bot.lifecycle import BotState
from botd.bot.stops import candles_needed
from botd.domain.bot_spec import BotSpec, parse_atr
from botd.domain.candle import Candle
from botd.domain.position import Position
from botd.market.levels import LevelIndex
from tests.fakes.plain_strategies import ByClose
from tests.fakes.small_world import SmallWorld

BY_CLOSE = '''
from botd.strategy.base import Signals, SignalStrategy


class Closing(SignalStrategy):
    """Closes that end in 1 enter, in 2 exit."""

    def warmup(self):
        return 1

    def signals(self, candles):
        word = candles.close % 10
        return Signals(enter=word == 1, exit=word == 2)
'''
FLAT = (100, 101, 99, 100)


def spec(**how: Any) -> BotSpec:
    exact = {key: Decimal(value) if isinstance(value, str) else value for key, value in how.items()}
    return BotSpec(name="a", strategy="rsi", symbol="BTC/USDT", interval="1m", capital=Decimal(1), **exact)


class Held:
    """A position bought at 100 and its guard."""

    def __init__(self, *, by_ticks: bool = False, atr: float | None = None, **how: Any) -> None:
        self.levels, self.sold = LevelIndex(), list[tuple[str, float]]()
        self.position = Position(
            bot=1, symbol="BTC/USDT", quantity=Decimal(1), cost=Decimal(100),
            bought_quantity=Decimal(1), bought_notional=Decimal(100), atr=atr,
        )  # fmt: skip
        self.lane = ("BTC/USDT", "tick" if by_ticks else "1m")
        self.guard = Guard(
            1, self.lane, self.levels, by_ticks=by_ticks,
            sell=lambda reason, price: self.sold.append((reason, price)), raised=lambda: None,
        )  # fmt: skip
        self.guard.entered(self.position, spec(**how), 100.0)

    def candle(self, high: float, low: float) -> None:
        self.levels.on_closed(self.lane, 100.0, high, low)
        self.guard.on_closed(Candle(0, 100.0, high, low, low, 1.0))


def test_break_even_lifts_the_stop_from_the_next_candle_on() -> None:
    held = Held(break_even="0.01", stop_loss="0.05")
    held.candle(100.99, 99.0)
    assert held.guard.stop() == 95.0
    held.candle(101.0, 98.0)  # its own low does not hit what its own high lifts
    assert held.guard.stop() == 100.0 and held.sold == []
    held.candle(100.5, 99.0)
    assert held.sold == [("stop_loss", 100.0)]


def test_break_even_by_ticks_follows_them_until_it_is_lifted() -> None:
    held = Held(by_ticks=True, break_even="0.01")
    for price in (100.5, 100.99, 99.0, 101.2):
        assert held.guard.stop() is None
        held.levels.on_tick("BTC/USDT", price)
    assert held.guard.stop() == 100.0 and held.sold == []
    held.levels.on_tick("BTC/USDT", 99.5)
    assert held.sold == [("stop_loss", 99.5)]


def test_the_stop_is_the_higher_of_percentage_and_atr_and_one_below_zero_is_none() -> None:
    assert Held(atr=2.0, atr_stop="2", stop_loss="0.05").guard.stop() == 96.0
    assert Held(atr=2.0, atr_stop="3", stop_loss="0.05").guard.stop() == 95.0
    assert Held(atr=2.0, atr_stop="60").guard.stop() is None
    assert Held(atr=None, atr_stop="2").guard.stop() is None
    trail = Held(atr=2.0, atr_stop="60", trailing_stop="0.1")
    trail.candle(101.0, 80.0)
    assert trail.sold == [("trailing_stop", 90.0)]


def test_set_keeps_the_range_of_the_entry_and_a_break_even_that_was_reached() -> None:
    held = Held(atr=2.0, atr_stop="2", break_even="0.01")
    held.candle(102.0, 99.0)
    change_levels(held.position, spec(atr_stop="3", take_profit="0.5"), Decimal(100))
    assert (held.position.stop, held.position.target) == (94.0, 150.0)
    change_levels(held.position, spec(atr_stop="3", break_even="0.02"), Decimal(100))
    assert held.position.stop == 100.0
    change_levels(held.position, spec(atr_stop="3", break_even="0.03"), Decimal(100))
    assert held.position.stop == 94.0


@pytest.mark.parametrize(("text", "parsed"), [("3x14", ("3", 14)), (" 2.5x21 ", ("2.5", 21)), ("3", ("3", 14))])
def test_an_atr_stop_is_read_as_it_is_written(text: str, parsed: tuple[str, int]) -> None:
    multiple, period = parse_atr(text)
    assert (multiple, period) == (Decimal(parsed[0]), parsed[1])
    assert spec(atr_stop=str(multiple), atr_period=period).atr_text == f"{parsed[0]}x{parsed[1]}"


@pytest.mark.parametrize("text", ["", "x14", "0x14", "3x0", "3x10001", "-1", "3%", "3x1.5", "inf", "1e3"])
def test_what_is_no_atr_stop_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a multiple of ATR such as 3x14"):
        parse_atr(text)


ATR = {"atr_stop": Decimal(2), "atr_period": 3}


def test_no_entry_while_the_range_is_not_defined(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()), **ATR)
        await small.play(4)  # three candles closed: the range needs one more
        assert bot.last_decision is not None and bot.last_decision.gates[-1].gate == "atr" and not bot.orders()
        await small.play(1)
        assert bot.holds

    run(script, [(100, 102, 99, 101)] * 8)


def test_a_stop_lies_so_many_ranges_of_the_decision_candle_below_the_entry(run: Any, by_signals: Any) -> None:
    rows = [FLAT, (100, 104, 98, 100), (100, 103, 99, 102), (102, 103, 96, 99), (99, 102, 98, 101), (100, 150, 99, 99)]

    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()), **ATR)
        await small.play(6)
        window = small.world.market.window("BTC/USDT", "1m", 100)
        atr = float(talib.ATR(window.high, window.low, window.close, 3)[-1])
        assert bot.holds and bot.book.position.stop == 100.0 - 2.0 * atr

    run(script, rows)


def test_the_range_is_known_again_after_a_restart_and_an_atr_stop_that_is_not_named_stays(tmp_path: Path) -> None:
    rows = [FLAT, FLAT, FLAT, FLAT, (100, 104, 95, 101), FLAT, (100, 120, 100, 110), *[(110, 110, 105, 110)] * 5]

    async def script() -> None:
        small = SmallWorld(tmp_path, rows)
        (tmp_path / "strategies" / "closing.py").write_text(BY_CLOSE)
        world = await small.begin()
        world.orchestrator.create(
            world.parser.parse(
                {"name": "alpha", "strategy": "closing", "symbol": "BTC/USDT", "interval": "1m", "capital": "1000",
                 "atr_stop": "2x3", "break_even": "0.9"}
            ), start=True, replace=False,
        )  # fmt: skip
        await small.play(6)
        before = world.orchestrator.bots["alpha"].book.position
        assert before.stop is not None and before.atr is not None
        await small.end()
        bot = (await small.begin()).orchestrator.bots["alpha"]
        assert bot.book.position == before
        bot = small.world.orchestrator.change(bot, msgspec.structs.replace(bot.spec, take_profit=Decimal("0.5")))
        assert (bot.book.position.stop, bot.book.position.atr) == (before.stop, before.atr)
        bot = small.world.orchestrator.change(bot, msgspec.structs.replace(bot.spec, break_even=Decimal("0.1")))
        await small.play(2)  # up to 120
        assert bot.guard.stop() == 100.0
        await small.end(killed=True)

    asyncio.run(script())


def test_another_range_by_set_wants_its_history_and_measures_anew(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()), **ATR)
        await small.play(6)
        assert bot.reading.warmup == candles_needed(bot.spec)
        first = bot.book.position.atr
        await small.play(2)
        bot.respec(msgspec.structs.replace(bot.spec, atr_period=5))
        assert bot.reading.warmup == candles_needed(bot.spec) and bot.book.position.atr not in (None, first)
        await small.play(1)
        assert bot.last_candle_ms is not None

    run(script, [(100, 102 + k % 3, 99 - k % 2, 101) for k in range(12)])


def bars_and_reason(small: SmallWorld) -> list[tuple[int, str]]:
    return [(row["bars"], row["exit_reason"]) for row in small.rows("SELECT * FROM trades")]


def test_a_time_stop_sells_at_the_open_so_many_candles_after_the_entry(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()), time_stop=3)
        await small.play(5)
        assert bot.last_decision is not None and bot.last_decision.outcome == "exited"
        assert bot.last_decision.gates[-1].gate == "time_stop"
        await small.play(10)
        await small.world.settlement.commit()
        assert bars_and_reason(small) == [(3, "time_stop")]

    run(script, [101, *[100] * 10])


def test_a_signal_at_the_same_close_is_a_signal(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.add(by_signals(ByClose()), time_stop=3)
        await small.play(10)
        await small.world.settlement.commit()
        assert bars_and_reason(small) == [(3, "signal")]

    run(script, [101, 100, 100, 102, 100, 100])


def test_time_is_up_also_while_the_bot_is_stopped(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()), time_stop=4)
        await small.play(3)
        small.world.orchestrator.stop(bot)
        await small.play(10)
        await small.world.settlement.commit()
        assert bot.state is BotState.STOPPED and bars_and_reason(small) == [(4, "time_stop")]

    run(script, [101, *[100] * 10])


def test_time_is_up_for_what_a_strategy_offers_too(run: Any) -> None:
    """Its limit sale is taken back; everything is sold at market."""

    async def script(small: SmallWorld) -> None:
        bot: Bot = small.create("grid", "grid", params={"lower": "90", "upper": "110", "levels": 3}, time_stop="5")
        await small.play(20)
        await small.world.settlement.commit()
        assert (5, "time_stop") in bars_and_reason(small) and bot.state is BotState.RUNNING

    run(script, [(105, 105, 105, 105), (105, 105, 99, 100), *[(100, 101, 100, 101)] * 12])
