"""Strategies that place their own orders and read larger candles and another market: the engine is botd's replay."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from botd.backtest.engine import run, spec_of
from botd.backtest.history import History, from_candles, from_file
from botd.backtest.terms import Terms
from botd.config import Config
from botd.domain.bot_spec import BotSpec
from botd.domain.candles import complete_buckets
from botd.domain.errors import InvalidError, NotFoundError
from botd.ledger import queries
from botd.orchestrator.specs import as_mapping
from botd.strategy.registry import Registry
from botd.world import World
from tests.fakes.input_strategies import two_markets, write_tide
from tests.fakes.recorded_candles import recorded
from tests.integration.test_backtest_inputs import (
    CLOCK,
    OTHER,
    OWN,
    assert_same_trades,
    config_of,
    files_of,
    grid_of,
    history_of,
    traded,
)

TERMS = Terms(capital=Decimal(100_000), stop_loss=Decimal("0.03"))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.standard(write_tide(tmp_path / "strategies"))


def bot_of(registry: Registry, history: History, name: str = "tide", terms: Terms = TERMS, **params: Any) -> BotSpec:
    return spec_of("tide", history, terms, registry.load("tide").plain({"market": OTHER, **params}), name)


@pytest.mark.parametrize("seed", range(3))
def test_random_cases_trade_alike_by_engine_and_replay(tmp_path: Path, registry: Registry, seed: int) -> None:
    """Holes in both markets; bots of two intervals, each with its own inputs, alone and all on one account."""
    rng = random.Random(seed)
    own, other = two_markets(seed, 1500)
    histories = [history_of(own, other, interval) for interval in ("1m", "1m", "5m")]
    specs = [
        bot_of(registry, history, f"bot-{k}", slow=rng.randint(2, 4), larger=rng.choice(("5m", "15m", "1h")))
        for k, history in enumerate(histories)
    ]
    expected = traded(config_of(tmp_path, files_of(tmp_path, own, other), TERMS), specs)
    balance = {"USDT": Decimal(1_000_000)}
    together = run([histories[0], histories[2]], specs, registry, CLOCK, terms=TERMS, balance=balance)
    total = 0
    for history, spec, beside in zip(histories, specs, together, strict=True):
        (alone,) = run([history], [spec], registry, CLOCK, terms=TERMS)
        total += assert_same_trades(alone, expected[spec.name])
        assert_same_trades(beside, expected[spec.name])
    assert total > 30


def test_a_recorded_market_trades_alike(tmp_path: Path, registry: Registry) -> None:
    """SOL by its own hours and by ETH, five-minute candles of 2024."""
    rows = from_file(recorded("SOLUSDT-5m-2024-07_08"), OWN, "5m").candles.tail(3000)
    other = from_file(recorded("ETHUSDT-5m-2024-07_08"), OTHER, "5m").candles.tail(3000)
    history = replace(from_candles(rows, OWN, grid_of(OWN)), inputs={(OTHER, "5m"): other})
    spec = bot_of(registry, history, larger="1h")
    market = {**files_of(tmp_path, rows, other), "interval": "5m"}
    expected = traded(config_of(tmp_path, market, TERMS), [spec])["tide"]
    (result,) = run([history], [spec], registry, CLOCK, terms=TERMS)
    assert assert_same_trades(result, expected) > 15


def test_restarts_while_orders_work_change_no_trade(tmp_path: Path, registry: Registry) -> None:
    """Hooks see after a restart what they would have seen without one."""
    own, other = two_markets(3, 900)
    history = history_of(own, other, "1m")
    spec = bot_of(registry, history, larger="5m")
    config = config_of(tmp_path, files_of(tmp_path, own, other), TERMS)

    async def play() -> list[dict[str, Any]]:
        world, restarts = _begun(config), 0
        world.orchestrator.create(world.parser.parse(as_mapping(spec)), start=True, replace=False)
        while (moment := world.source.next()) is not None:  # type: ignore[union-attr]
            await world.market.deliver(moment)
            bot = world.orchestrator.bots["tide"]
            if restarts < 10 and bot.orders() and not bot.holds:
                restarts += 1
                await world.settlement.commit()
                await world.ledger.close()
                world = _begun(config)
        await world.settlement.commit()
        rows, _ = await queries.trades(world.ledger, limit=100_000)
        await world.ledger.close()
        assert restarts == 10
        return list(rows)

    (result,) = run([history], [spec], registry, CLOCK, terms=TERMS)
    assert assert_same_trades(result, asyncio.run(play())) > 10


def _begun(config: Config) -> World:
    world = World(config)
    world.build()
    cursor = world.loaded.kv.get("market", {}).get("cursor")
    assert world.source is not None
    world.source.seek(None if cursor is None else int(cursor))
    world.orchestrator.market_ready()
    return world


def test_what_it_reads_and_is_not_given_is_named(registry: Registry) -> None:
    own, other = two_markets(1, 300)
    bare = from_candles(own, OWN, grid_of(OWN))
    with pytest.raises(NotFoundError, match="no candles of BTC/USDT 5m, which the strategy reads") as caught:
        run([bare], [bot_of(registry, bare)], registry, CLOCK, terms=TERMS)
    assert caught.value.hint == "botctl data download --symbol BTC/USDT --interval 5m --from 30d"
    apart = history_of(own, other.part(0, 3), "1m")
    with pytest.raises(InvalidError, match="BTC/USDT 5m: no candle is there when the strategy asks for one"):
        run([apart], [bot_of(registry, apart)], registry, CLOCK, terms=TERMS)
    three = replace(from_candles(complete_buckets(own, "3m"), OWN, grid_of(OWN)), inputs={(OTHER, "5m"): other})
    with pytest.raises(InvalidError, match="it reads 5m candles, which are no multiple of its own 3m candles"):
        run([three], [bot_of(registry, three)], registry, CLOCK, terms=TERMS)


def test_where_an_input_ends_nothing_is_decided_any_more_and_the_result_says_so(registry: Registry) -> None:
    own, other = two_markets(2, 600)
    half = history_of(own, other.part(0, 300), "1m")
    (result,) = run([half], [bot_of(registry, half)], registry, CLOCK, terms=TERMS)
    assert any(note.startswith("no decisions at ") and "BTC/USDT 5m has no candle" in note for note in result.notes)
    last = int(complete_buckets(other.part(0, 300), "5m").time[-1]) + 10 * 60_000
    entries = [trade.entry_time_ms for trade in result.trades()]
    assert entries and sum(time > last for time in entries) <= 1  # the one that was ordered before
