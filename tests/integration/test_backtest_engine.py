"""The event engine makes what botd makes of a replay: event strategies, several bots, symbols and one account."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from botd.backtest.engine import run, spec_of
from botd.backtest.history import History, from_candles
from botd.backtest.terms import Terms
from botd.config import from_mapping
from botd.domain.bot_spec import BotSpec
from botd.domain.candles import Candles, complete_buckets
from botd.domain.clock import VirtualClock
from botd.domain.errors import InvalidError, NotFoundError
from botd.domain.instrument import Instrument
from botd.ledger import queries
from botd.strategy.base import EventStrategy, Signals, SignalStrategy
from botd.strategy.registry import Registry
from botd.world import World
from tests.fakes.backtest_cases import random_candles

CLOCK = VirtualClock()
TERMS = Terms(capital=Decimal(1000))
BALANCE = {"USDT": Decimal(100_000)}


def grid_of(symbol: str) -> Instrument:
    base = symbol.split("/")[0]
    return Instrument(symbol=symbol, base=base, quote="USDT", tick=Decimal("0.01"), step=Decimal("0.001"))


def history_of(seed: int, symbol: str = "ABC/USDT", count: int = 400) -> History:
    return from_candles(random_candles(random.Random(seed), count), symbol, grid_of(symbol))


def fleet(history: History, seed: int) -> list[BotSpec]:
    """Bots of every kind on one symbol."""
    wide = {"lower": "95", "upper": "105", "levels": 8}
    stops = Terms(capital=Decimal(1000), stop_loss=Decimal("0.03"), time_stop=90)
    found = [
        spec_of("grid", history, TERMS, wide),
        spec_of("grid", history, stops, {"lower": "98", "upper": "102", "levels": 5}, "guarded"),
        spec_of("dca", history, TERMS, {"every": "10m", "amount": "50", "take_profit": 0.01}),
        spec_of("dca", history, stops, {"every": "1h", "amount": "200", "take_profit": 0.004}, "stopped"),
        spec_of("rsi", history, stops, {"period": 5, "oversold": 40, "overbought": 60}),
    ]
    registry, named = Registry.standard(), history.symbol.split("/")[0].lower()
    plain = [registry.load(spec.strategy).plain(spec.params) for spec in found]
    return [_named(spec, f"{named}-{spec.interval}-{spec.name}", own) for spec, own in zip(found, plain, strict=True)]


def _named(spec: BotSpec, name: str, params: dict[str, Any]) -> BotSpec:
    return msgspec.structs.replace(spec, name=name, params=params)


def replay(home: Path, histories: list[History], specs: list[BotSpec], risk: dict[str, Any]) -> dict[str, Any]:
    """Trades and books of each bot, from botd itself."""
    files = {}
    for history in histories:
        rows = history.candles
        path = home / f"{history.symbol[:3]}.csv"
        columns = (rows.time, rows.open, rows.high, rows.low, rows.close, rows.volume)
        lines = [
            f"{t},{o!r},{h!r},{low!r},{c!r},{v!r}"
            for t, o, h, low, c, v in zip(*(column.tolist() for column in columns), strict=True)
        ]
        path.write_text("\n".join(["open_time_ms,open,high,low,close,volume", *lines, ""]))
        files[history.symbol] = str(path)
    config = from_mapping(
        {
            "state_dir": str(home / "state"),
            "market": {"source": "replay", "files": files, "interval": "1m", "speed": 0},
            "instruments": {symbol: {"tick": "0.01", "step": "0.001", "min_notional": "5"} for symbol in files},
            "paper": {"balance": {asset: str(amount) for asset, amount in BALANCE.items()}},
            "risk": risk,
        }
    )
    return asyncio.run(_replayed(World(config), specs))


async def _replayed(world: World, specs: list[BotSpec]) -> dict[str, Any]:
    world.build()
    world.orchestrator.market_ready()
    for spec in specs:
        world.orchestrator.create(spec, start=True, replace=False)
    assert world.source is not None
    world.source.seek(None)
    while (moment := world.source.next()) is not None:
        await world.market.deliver(moment)
    await world.settlement.commit()
    rows, _ = await queries.trades(world.ledger, limit=100_000)
    await world.ledger.close()
    books = {name: bot.book for name, bot in world.orchestrator.bots.items()}
    keys = ("quantity", "entry_time", "exit_time", "entry_price", "exit_price", "pnl", "fees", "exit_reason", "bars")
    return {
        name: (
            [tuple(row[key] for key in keys) for row in rows if row["bot"] == name],
            (book.cash, book.realized_pnl, book.fees, book.position.quantity, book.position.cost),
        )
        for name, book in books.items()
    }


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("risk", [{"preset": "off"}, {"preset": "paper", "max_drawdown": {"bot": "4%"}}], ids=str)
def test_several_bots_and_symbols_on_one_account_do_what_they_do_in_botd(
    tmp_path: Path, seed: int, risk: dict[str, Any]
) -> None:
    small = [history_of(seed), history_of(seed + 100, "XYZ/USDT")]
    large = from_candles(complete_buckets(small[0].candles, "5m"), "ABC/USDT", grid_of("ABC/USDT"))
    histories = [small[0], large, small[1]]  # a market tells a symbol's lanes by their length
    specs = [spec for history in histories for spec in fleet(history, seed)]
    expected = replay(tmp_path, small, specs, risk)
    results = run(histories, specs, Registry.standard(), CLOCK, terms=TERMS, risk=risk, balance=BALANCE)
    total = 0
    for spec, result in zip(specs, results, strict=True):
        trades, (cash, realized, fees, quantity, cost) = expected[spec.name]
        closed = [trade for trade in result.trades() if trade.exit_reason != "end_of_data"]
        assert len(closed) == len(trades), spec.name
        for ours, theirs in zip(result.trade_list(), trades, strict=False):
            told = tuple(ours[key] for key in ("entry_time", "exit_time", "exit_reason", "bars"))
            assert told == (theirs[1], theirs[2], theirs[7], theirs[8]), spec.name
            for key, value in zip(
                ("quantity", "entry_price", "exit_price", "pnl", "fees"),
                (*(theirs[k] for k in (0, 3, 4, 5, 6)),),
                strict=True,
            ):
                assert float(ours[key]) == pytest.approx(float(value), rel=1e-9, abs=1e-9), (spec.name, key)
        last = float(result.history.candles.close[-1])
        assert float(result.statistics["realized_pnl"]) == pytest.approx(float(realized), abs=1e-7)
        assert float(result.statistics["fees"]) == pytest.approx(float(fees), abs=1e-7)
        assert result.equity[-1] == pytest.approx(float(cash) + float(quantity) * last, rel=1e-9)
        assert float(result.statistics["unrealized_pnl"]) == pytest.approx(
            float(quantity) * last - float(cost), abs=1e-6
        )
        total += len(trades)
    assert total > 40


def test_a_bot_without_candles_is_refused() -> None:
    spec = spec_of("rsi", history_of(1), TERMS)
    with pytest.raises(NotFoundError, match="no candles of ABC/USDT 1m"):
        run([history_of(1, "XYZ/USDT")], [spec], Registry.standard(), CLOCK)


class Failing(EventStrategy):
    """Fails at its tenth candle."""

    seen = 0

    def on_candle(self, context: Any, candle: Any) -> None:
        self.seen += 1
        if self.seen == 10:
            raise ZeroDivisionError("of course")


class Half(SignalStrategy):
    """Gives half of the signals."""

    def warmup(self) -> int:
        return 1

    def signals(self, candles: Candles) -> Signals:
        flags = candles.close[1:] > 0
        return Signals(flags, flags)


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (Failing(), "strategy bad: ZeroDivisionError: of course"),
        (Half(), "strategy bad: enter must be an array of 400"),
    ],
)
def test_a_strategy_that_fails_ends_the_run_and_is_named(strategy: Any, words: str) -> None:
    history = history_of(2)
    with pytest.raises(InvalidError, match=words):
        run([history], [spec_of("bad", history, TERMS)], Registry.standard(), CLOCK, strategies={"bad": strategy})


def test_bots_share_the_money_of_the_account() -> None:
    """Two that each want all of it: one of them is denied at a time."""
    history = history_of(3)
    specs = [spec_of("ema_cross", history, TERMS, {"fast": 2, "slow": 3}, name) for name in ("one", "two")]
    rich = run([history], specs, Registry.standard(), CLOCK, terms=TERMS)
    assert rich[0].count == rich[1].count > 10
    poor = run([history], specs, Registry.standard(), CLOCK, terms=TERMS, balance={"USDT": Decimal(1000)})
    assert poor[0].count == rich[0].count and poor[1].count < poor[0].count


def test_the_limits_of_a_bot_and_of_the_account_bind_in_the_engine() -> None:
    history = history_of(0)
    counts = []
    for limits in ({}, {"max_drawdown": {"bot": "1%"}}, {"max_drawdown": {"account": "0.05%"}}):
        risk = {"preset": "off", **limits}
        results = run([history], fleet(history, 0), Registry.standard(), CLOCK, terms=TERMS, risk=risk, balance=BALANCE)
        counts.append(sum(result.count for result in results))
    assert counts[0] > counts[1] > 0 and counts[0] > counts[2] > 0


@pytest.mark.parametrize("seed", range(4))
def test_opens_that_can_do_nothing_are_passed_over_and_nothing_is_missed(seed: int) -> None:
    """With a limit in force, one that never binds, every open is told. Each bot is alone: no other asks for it."""
    history, watched = history_of(20 + seed, count=1500), {"preset": "off", "max_drawdown": {"bot": "99%"}}
    for spec in fleet(history, seed):
        (lazy,) = run([history], [spec], Registry.standard(), CLOCK, terms=TERMS)
        (told,) = run([history], [spec], Registry.standard(), CLOCK, terms=TERMS, risk=watched)
        assert lazy.trade_list() == told.trade_list() and lazy.count > 0
        assert (lazy.equity == told.equity).all() and lazy.statistics == told.statistics
