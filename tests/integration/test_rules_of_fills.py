"""A whole world in this process, without sockets: markets made of accidents, and what the rules make of them.

Accidental markets are random walks with jumps, holes and flat stretches; a candle's volume tells the bots
what to do, so that entries and exits fall anywhere. Levels are so near that they are gapped over, touched
together and touched in the candle of the entry. Expected is what the plain loop gives.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib

from botd.bot.guard import change_levels
from botd.config import from_mapping
from botd.domain.bot_spec import BotSpec
from botd.domain.candle import INTERVALS
from botd.domain.clock import rfc3339
from botd.domain.order import Fill, Side
from botd.ledger import queries
from botd.ledger.accounting import BotBook
from botd.world import World
from tests.fakes.plain_loop import PlainTrade, Rows, play

START, ROWS = 1_704_067_200_000, 900
MINUTE = 60_000
CAPITAL = 1000
SCRIPTED = '''
from botd.strategy.base import Signals, SignalStrategy


class Scripted(SignalStrategy):
    """Does what the volume says: 1 enter, 2 exit, 3 both."""

    def warmup(self):
        return 1

    def signals(self, candles):
        word = candles.volume % 8
        return Signals(enter=(word == 1) | (word == 3), exit=(word == 2) | (word == 3))
'''


LIMITED = '''
from decimal import Decimal
from botd.strategy.base import EventStrategy


class Limited(EventStrategy):
    """Bids 99 for one unit after a candle with volume 1, and asks 101 for it after one with 5."""

    def on_candle(self, context, candle):
        if candle.volume == 1:
            context.buy(Decimal(1), Decimal(99))
        if candle.volume == 5:
            context.sell(Decimal(1), Decimal(101))
'''
Line = tuple[int, float, float, float, float, int]
"""Open time, open, high, low, close, volume."""


class Market:
    """Candles of one symbol with signals in the volume, and the larger candles of it."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines

    @classmethod
    def of(cls, *candles: tuple[float, float, float, float, int]) -> Market:
        """A market of one candle a minute."""
        return cls([(START + minute * MINUTE, *candle) for minute, candle in enumerate(candles)])

    @classmethod
    def by_accident(cls, seed: int) -> Market:
        rng = random.Random(seed)
        lines: list[Line] = []
        minute, price = 0, 100.0
        for _ in range(ROWS):
            minute += 1 if rng.random() < 0.985 else rng.choice((2, 3, 7, 61))
            if rng.random() < 0.1:
                price *= rng.choice((0.97, 0.99, 1.01, 1.03))
            open_ = round(price, 2)
            close = round(open_ * rng.choice((1.0, 1.0, rng.uniform(0.99, 1.01))), 2)
            high = round(max(open_, close) * rng.choice((1.0, 1 + rng.random() / 80)), 2)
            low = round(min(open_, close) * rng.choice((1.0, 1 - rng.random() / 80)), 2)
            word = rng.choice((0, 0, 0, 1, 1, 2, 3))
            lines.append((START + minute * MINUTE, open_, high, low, close, word))
            price = close
        return cls(lines)

    def write(self, path: Path) -> None:
        text = "".join(f"{t},{o:.2f},{h:.2f},{low:.2f},{c:.2f},{v}\n" for t, o, h, low, c, v in self.lines)
        path.write_text("open_time_ms,open,high,low,close,volume\n" + text)

    def lane(self, interval: str) -> tuple[Rows, list[bool], list[bool]]:
        """The complete candles of an interval, and where they say enter and exit."""
        length = INTERVALS[interval]
        buckets: dict[int, list[Any]] = {}
        for line in self.lines:
            buckets.setdefault(line[0] // length, []).append(line)
        whole = [found for found in buckets.values() if len(found) * MINUTE == length]
        rows = Rows(
            [found[0][0] for found in whole],
            [found[0][1] for found in whole],
            [max(line[2] for line in found) for found in whole],
            [min(line[3] for line in found) for found in whole],
            [found[-1][4] for found in whole],
        )
        words = [sum(line[5] for line in found) % 8 for found in whole]
        return rows, [word in (1, 3) for word in words], [word in (2, 3) for word in words]


def wishes(rng: random.Random) -> list[dict[str, Any]]:
    """Bots of every kind, several on each lane."""

    def maybe(*values: float) -> float | None:
        return rng.choice((None, *values))

    found = []
    for interval in ("1m", "1m", "1m", "1m", "3m", "3m", "5m", "5m", "15m", "1h"):
        wish: dict[str, Any] = {
            "interval": interval,
            "stop_loss": maybe(0.002, 0.01, 0.02),
            "take_profit": maybe(0.002, 0.01, 0.03),
            "trailing": maybe(0.0004, 0.005, 0.01, 0.02),
            "fraction": rng.choice((1.0, 0.3)),
            "atr_stop": maybe(0.5, 3.0, 300.0),
            "atr_period": rng.choice((1, 2, 14)),
            "break_even": maybe(0.001, 0.01),
            "time_stop": rng.choice((None, 1, 3, 20)),
        }
        if wish["stop_loss"] or wish["trailing"] or wish["atr_stop"]:
            wish["risk"] = maybe(0.001, 0.01)
        found.append(wish)
    return found


def spec_of(name: str, wish: dict[str, Any], strategy: str = "scripted") -> BotSpec:
    def exact(key: str) -> Decimal | None:
        return None if wish.get(key) is None else Decimal(repr(wish[key]))

    risk = exact("risk")
    return BotSpec(
        name=name,
        strategy=strategy,
        symbol="ABC/USDT",
        interval=wish["interval"],
        capital=Decimal(CAPITAL),
        fraction=exact("fraction") if risk is None else None,
        risk_per_trade=risk,
        stop_loss=exact("stop_loss"),
        take_profit=exact("take_profit"),
        trailing_stop=exact("trailing"),
        atr_stop=exact("atr_stop"),
        atr_period=wish.get("atr_period", 14),
        break_even=exact("break_even"),
        time_stop=wish.get("time_stop"),
    )


class Run:
    """The world of a market, which may end and begin again anywhere."""

    def __init__(self, home: Path, market: Market, slippage: float = 0.0, fee: float = 0.0) -> None:
        strategies = home / "strategies"
        strategies.mkdir()
        (strategies / "scripted.py").write_text(SCRIPTED)
        (strategies / "limited.py").write_text(LIMITED)
        market.write(home / "abc.csv")
        self.config = from_mapping(
            {
                "state_dir": str(home / "state"),
                "strategies_dir": str(strategies),
                "market": {
                    "source": "replay",
                    "files": {"ABC/USDT": str(home / "abc.csv")},
                    "interval": "1m",
                    "speed": 0,
                },
                "instruments": {"ABC/USDT": {"tick": "0.01", "step": "0.001", "min_notional": "5"}},
                "paper": {"slippage": repr(slippage), "maker_fee": repr(fee), "taker_fee": repr(fee)},
                "risk": {"preset": "off"},
            }
        )

    async def play(
        self, specs: list[BotSpec], cuts: tuple[int, ...] = ()
    ) -> tuple[list[dict[str, Any]], dict[str, BotBook]]:
        """Create the bots, play to the end, with a new world after each of ``cuts`` moments."""
        for moments in (*cuts, 1_000_000):
            world = World(self.config)
            world.build()
            world.orchestrator.market_ready()
            if not world.orchestrator.bots:
                for spec in specs:
                    world.orchestrator.create(spec, start=True, replace=False)
            await world.settlement.commit()
            source, market = world.source, world.market
            assert source is not None and world.player is not None
            source.seek(world.player.cursor_ms)
            while moments and (moment := source.next()) is not None:
                await market.deliver(moment)
                moments -= 1
            await world.settlement.commit()
            rows, _ = await queries.trades(world.ledger, limit=100_000)
            await world.ledger.close()
        return rows, {name: bot.book for name, bot in world.orchestrator.bots.items()}


OPTIONS = ("stop_loss", "take_profit", "trailing", "fraction", "risk", "atr_stop", "break_even", "time_stop")


def average_ranges(lane: Rows, period: int) -> list[float]:
    prices = (np.array(column) for column in (lane.high, lane.low, lane.close))
    return [float(value) for value in talib.ATR(*prices, period)]


def assert_same(rows: list[dict[str, Any]], trades: list[PlainTrade], what: Any) -> None:
    found = [(row["entry_time"], row["exit_time"], row["exit_reason"], row["bars"]) for row in rows]
    assert found == [(rfc3339(t.entry_time), rfc3339(t.exit_time), t.exit_reason, t.bars) for t in trades], what
    for row, trade in zip(rows, trades, strict=True):
        for key in ("quantity", "entry_price", "exit_price"):
            assert float(row[key]) == pytest.approx(getattr(trade, key), rel=1e-9), (what, row)
        assert float(row["pnl"]) == pytest.approx(trade.pnl, rel=1e-9, abs=1e-7), (what, row)


@pytest.mark.parametrize("seed", range(6))
def test_every_bot_makes_the_trades_of_the_plain_loop_also_through_restarts(tmp_path: Path, seed: int) -> None:
    rng, market = random.Random(seed), Market.by_accident(seed)
    slippage, fee = rng.choice(((0.0, 0.0), (0.0, 0.001), (0.0005, 0.001), (0.003, 0.002)))
    fleet = {f"bot{number}": wish for number, wish in enumerate(wishes(rng))}
    cuts = () if seed % 2 else tuple(rng.randrange(1, 300) for _ in range(3))
    run = Run(tmp_path, market, slippage, fee)
    rows, books = asyncio.run(run.play([spec_of(name, wish) for name, wish in fleet.items()], cuts))
    reasons: Counter[str] = Counter()
    for name, wish in fleet.items():
        lane, enter, leave = market.lane(wish["interval"])
        options = {key: wish.get(key) for key in OPTIONS}
        options["atr"] = average_ranges(lane, wish["atr_period"])
        trades = play(lane, enter, leave, capital=CAPITAL, step=0.001, slippage=slippage, fee=fee, **options)
        assert_same([row for row in rows if row["bot"] == name], trades, (seed, wish, slippage, fee))
        entry_fee = fee * float(books[name].position.cost)
        assert float(books[name].realized_pnl) == pytest.approx(sum(t.pnl for t in trades) - entry_fee, abs=1e-6)
        reasons.update(trade.exit_reason for trade in trades)
    assert sum(reasons.values()) > 200
    assert len(reasons) == 5


def one_bot(tmp_path: Path, market: Market, strategy: str = "scripted", **wish: Any) -> list[tuple[str, int, float]]:
    """Exit reason, bars and exit price of the closed trades of one bot."""
    spec = spec_of("one", {"interval": "1m", "fraction": 1.0, **wish}, strategy)
    rows, _ = asyncio.run(Run(tmp_path, market).play([spec]))
    return [(row["exit_reason"], row["bars"], float(row["exit_price"])) for row in rows]


ENTER = (100.0, 100.0, 100.0, 100.0, 1)
STAY = (100.0, 100.0, 100.0, 100.0, 0)


@pytest.mark.parametrize(
    ("candle", "expected"),
    [
        ((97.0, 110.0, 96.0, 97.0, 0), ("stop_loss", 1, 97.0)),
        ((99.0, 110.0, 97.0, 99.0, 0), ("stop_loss", 1, 98.0)),
        ((105.0, 106.0, 104.5, 105.0, 0), ("take_profit", 1, 105.0)),
        ((105.0, 106.0, 97.5, 105.0, 0), ("stop_loss", 1, 98.0)),
        ((101.0, 104.0, 98.5, 101.0, 0), ("take_profit", 1, 104.0)),
    ],
)
def test_stop_first_then_target_each_at_the_open_where_that_is_beyond(
    tmp_path: Path, candle: Any, expected: tuple[str, int, float]
) -> None:
    market = Market.of(ENTER, STAY, candle, STAY)
    assert one_bot(tmp_path, market, stop_loss=0.02, take_profit=0.04) == [expected]


@pytest.mark.parametrize(
    ("stop", "trail", "high", "expected"),
    [
        (0.02, 0.02, 100.0, ("stop_loss", 2, 98.0)),
        (0.02, 0.02, 100.5, ("trailing_stop", 2, 0.98 * 100.5)),
        (0.01, 0.02, 101.0, ("stop_loss", 2, 99.0)),
        (0.01, 0.02, 102.0, ("trailing_stop", 2, 0.98 * 102.0)),
        (None, 0.02, 100.0, ("trailing_stop", 2, 98.0)),
    ],
)
def test_a_trail_that_is_not_above_the_fixed_stop_is_the_fixed_stop(
    tmp_path: Path, stop: float | None, trail: float, high: float, expected: tuple[str, int, float]
) -> None:
    """And a candle's own high never lifts the stop that its own low hits."""
    market = Market.of(ENTER, STAY, (100.0, high, 99.97, 100.0, 0), (100.0, 120.0, 97.0, 100.0, 0), STAY)
    assert one_bot(tmp_path, market, stop_loss=stop, trailing=trail) == [expected]


def test_a_configured_step_finer_than_the_volumes_of_the_file_is_also_the_least_quantity(tmp_path: Path) -> None:
    market = Market.of(ENTER, STAY, (100.0, 100.0, 100.0, 100.0, 2), STAY, STAY)
    assert one_bot(tmp_path, market, fraction=0.06) == [("signal", 2, 100.0)]  # 0.6 of a unit; volumes are whole


AT_99 = ((105.0, 105.0, 104.0, 105.0, 1), (105.0, 106.0, 98.5, 99.5, 0))


def test_a_limit_filled_within_a_candle_reaches_no_target_by_a_high_that_may_have_been_before(tmp_path: Path) -> None:
    after = ((99.5, 102.9, 99.5, 100.0, 0), (100.0, 103.0, 100.0, 101.0, 0), STAY)
    assert one_bot(tmp_path, Market.of(*AT_99, *after), "limited", take_profit=0.04) == [
        ("take_profit", 2, 99 * (1 + 0.04))
    ]


def test_a_limit_filled_within_a_candle_is_stopped_by_the_low_of_that_candle(tmp_path: Path) -> None:
    assert one_bot(tmp_path, Market.of(*AT_99, STAY), "limited", stop_loss=0.004) == [
        ("stop_loss", 0, 99 * (1 - 0.004))
    ]


def test_a_limit_filled_within_a_candle_trails_from_its_price_and_not_from_a_high_before_it(tmp_path: Path) -> None:
    after = ((99.5, 100.0, 98.0, 99.0, 0), (99.0, 99.0, 97.5, 98.0, 0), STAY)
    assert one_bot(tmp_path, Market.of(*AT_99, *after), "limited", trailing=0.02) == [("trailing_stop", 2, 98.0)]


@pytest.mark.parametrize(
    ("candle", "reason", "price"),
    [
        ((99.5, 102.0, 97.0, 100.0, 0), "stop_loss", 99 * (1 - 0.01)),  # both within: the stop came first
        ((101.5, 102.0, 97.0, 100.0, 0), "signal", 101.5),  # opened beyond the limit: sold before anything else
        ((99.5, 102.0, 98.9, 100.0, 0), "signal", 101.0),
    ],
)
def test_a_candle_that_reaches_a_limit_sale_and_the_stop_counts_as_stopped(
    tmp_path: Path, candle: tuple[float, float, float, float, int], reason: str, price: float
) -> None:
    bought = ((105.0, 105.0, 104.0, 105.0, 1), (105.0, 106.0, 98.5, 99.5, 5))
    found = one_bot(tmp_path, Market.of(*bought, candle, STAY), "limited", stop_loss=0.01)
    assert found == [(reason, 1, price)]


def test_a_change_of_the_spec_does_not_move_levels_that_it_does_not_name() -> None:
    """Also where the fee was taken from what was bought, which makes a unit held dearer than the price paid."""
    book = BotBook(1, "ABC/USDT", Decimal(1000))
    bought = Fill(
        trade_id="1",
        client_order_id="1",
        bot=1,
        symbol="ABC/USDT",
        side=Side.BUY,
        quantity=Decimal(3),
        price=Decimal("100.1"),
        fee=Decimal("0.003"),
        fee_asset="ABC",
        time_ms=START,
    )
    book.apply(bought, reason="signal", bar=0)
    spec = spec_of("one", {"interval": "1m", "stop_loss": 0.02, "take_profit": 0.04})
    assert book.position.entry_price is not None
    change_levels(book.position, spec, book.position.entry_price)
    assert (book.position.stop, book.position.target) == (100.1 * (1 - 0.02), 100.1 * (1 + 0.04))
