"""A strategy that reads a larger interval and another market trades alike in kernel, event engine and botd's replay."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from botd.backtest.engine import run, spec_of
from botd.backtest.history import History, from_candles, from_file, part
from botd.backtest.parity import difference
from botd.backtest.run import Result, backtest
from botd.backtest.terms import Terms
from botd.config import Config, from_mapping
from botd.domain.bot_spec import BotSpec
from botd.domain.candles import Candles, complete_buckets
from botd.domain.clock import VirtualClock
from botd.domain.errors import InvalidError, NotFoundError
from botd.domain.instrument import Instrument
from botd.lab.backtests import notes_of
from botd.lab.given import Job, Place
from botd.lab.replay import World as LabWorld
from botd.lab.replay import run_replay
from botd.ledger import queries
from botd.orchestrator.specs import as_mapping
from botd.strategy.base import SignalStrategy
from botd.strategy.examination import examine
from botd.strategy.registry import Registry
from botd.world import World
from tests.fakes.backtest_cases import random_terms
from tests.fakes.input_strategies import two_markets, write_trend
from tests.fakes.recorded_candles import recorded

CLOCK = VirtualClock()
OWN, OTHER = "ABC/USDT", "BTC/USDT"
BALANCE = "1000000"


def grid_of(symbol: str) -> Instrument:
    base = symbol.split("/")[0]
    return Instrument(
        symbol=symbol, base=base, quote="USDT", tick=Decimal("0.01"), step=Decimal("0.001"), min_notional=Decimal(5)
    )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.standard(write_trend(tmp_path / "strategies"))


def built(registry: Registry, params: dict[str, Any]) -> SignalStrategy:
    strategy = registry.load("trend").build(params)
    assert isinstance(strategy, SignalStrategy)
    return strategy


def history_of(own: Candles, other: Candles, interval: str, begin: int = 0) -> History:
    """The bot's candles, and the other market's minutes made into what it reads of them."""
    history = from_candles(complete_buckets(own, interval), OWN, grid_of(OWN), begin)
    return replace(history, inputs={(OTHER, "5m"): complete_buckets(other, "5m")})


def csv(path: Path, rows: Candles) -> str:
    columns = (column.tolist() for column in (rows.time, rows.open, rows.high, rows.low, rows.close, rows.volume))
    lines = [",".join(map(repr, line)) for line in zip(*columns, strict=True)]
    path.write_text("\n".join(["open_time_ms,open,high,low,close,volume", *lines, ""]))
    return str(path)


def config_of(home: Path, market: dict[str, Any], terms: Terms) -> Config:
    symbols = market.get("files") or market["symbols"]
    costs = {key: str(getattr(terms, key)) for key in ("maker_fee", "taker_fee", "slippage")}
    return from_mapping(
        {
            "state_dir": str(home / "state"),
            "strategies_dir": str(home / "strategies"),
            "market": market,
            "instruments": {key: {"tick": "0.01", "step": "0.001", "min_notional": "5"} for key in symbols},
            "paper": {**costs, "balance": {"USDT": BALANCE}},
            "risk": {"preset": "off"},
        }
    )


def files_of(home: Path, own: Candles, other: Candles) -> dict[str, Any]:
    files = {OWN: csv(home / "own.csv", own), OTHER: csv(home / "other.csv", other)}
    return {"source": "replay", "files": files, "interval": "1m", "speed": 0}


def traded(config: Config, specs: list[BotSpec], moments: int = 1_000_000) -> dict[str, Any]:
    """Trades by bot, from botd itself."""

    async def play() -> dict[str, Any]:
        world = World(config)
        world.build()
        world.orchestrator.market_ready()
        for spec in specs:
            world.orchestrator.create(world.parser.parse(as_mapping(spec)), start=True, replace=False)
        assert world.source is not None
        world.source.seek(None)
        for _ in range(moments):
            if (moment := world.source.next()) is None:
                break
            await world.market.deliver(moment)
        await world.settlement.commit()
        rows, _ = await queries.trades(world.ledger, limit=100_000)
        await world.ledger.close()
        return {spec.name: [row for row in rows if row["bot"] == spec.name] for spec in specs}

    return asyncio.run(play())


def held_to_the_rules(config: Config, registry: Registry, name: str) -> dict[str, Any]:
    """What `botctl replay NAME` tells."""
    market, paper = config.market, config.paper
    costs = {"maker_fee": paper.maker_fee, "taker_fee": paper.taker_fee, "slippage": paper.slippage}
    lived = (market.source, market.files, market.symbols, market.interval, market.seed, market.start)
    world = LabWorld(config.state_dir / "ledger.db", *lived, costs)
    place = Place(config.state_dir / "candles", config.state_dir, "binance", config.grids(), registry)
    return run_replay(place, world, name, 1e-9, None)


def assert_same_trades(result: Result, rows: list[dict[str, Any]]) -> int:
    closed = [trade for trade in result.trade_list() if trade["exit_reason"] != "end_of_data"]
    told = ("entry_time", "exit_time", "exit_reason", "bars")
    assert [[row[key] for key in told] for row in closed] == [[row[key] for key in told] for row in rows]
    for ours, theirs in zip(closed, rows, strict=True):
        for key in ("quantity", "entry_price", "exit_price", "pnl"):
            assert float(ours[key]) == pytest.approx(float(theirs[key]), rel=1e-9, abs=1e-9)
    return len(rows)


def params_of(rng: random.Random, interval: str) -> dict[str, Any]:
    larger = rng.choice([name for name in ("3m", "5m", "15m", "1h") if name != "3m" or interval != "5m"])
    return {"fast": rng.randint(2, 6), "slow": rng.randint(2, 4), "larger": larger, "market": OTHER}


@pytest.mark.parametrize("seed", range(4))
def test_random_cases_trade_alike_by_kernel_engine_and_replay(tmp_path: Path, registry: Registry, seed: int) -> None:
    """Holes in both markets, several bots of several intervals, all with their own inputs."""
    rng = random.Random(seed)
    own, other = two_markets(seed, 1500)
    terms = replace(random_terms(rng), capital=Decimal(100_000))
    histories, specs = [], []
    for k, interval in enumerate(("1m", "1m", "5m")):
        histories.append(history_of(own, other, interval))
        params = registry.load("trend").plain(params_of(rng, interval))
        specs.append(spec_of("trend", histories[-1], terms, params, f"bot-{k}"))
    config = config_of(tmp_path, files_of(tmp_path, own, other), terms)
    expected = traded(config, specs)
    total = 0
    for history, spec in zip(histories, specs, strict=True):
        by_kernel = backtest(history, "trend", built(registry, spec.params), terms, CLOCK)
        (by_engine,) = run([history], [spec], registry, CLOCK, terms=terms)
        assert difference(by_kernel, by_engine) == "", spec.params
        total += assert_same_trades(by_kernel, expected[spec.name])
        told = held_to_the_rules(config, registry, spec.name)
        assert (told["differences"], told["did"]) == (0, len(expected[spec.name]))
    assert total > 0


def test_a_bot_of_the_synthetic_market_is_held_to_the_rules_too(tmp_path: Path, registry: Registry) -> None:
    market = {"source": "synthetic", "symbols": [OWN, OTHER], "interval": "1m", "seed": 5, "start": "2024-01-01"}
    config = config_of(tmp_path, market, Terms())
    params = registry.load("trend").plain({"larger": "5m", "market": OTHER})
    spec = BotSpec(name="alpha", strategy="trend", symbol=OWN, interval="1m", capital=Decimal(1000), params=params)
    trades = traded(config, [spec], 1500)["alpha"]
    told = held_to_the_rules(config, registry, "alpha")
    assert (told["differences"], told["did"]) == (0, len(trades)) and len(trades) > 10


def test_kernel_and_engine_on_many_random_cases(registry: Registry) -> None:
    trades = 0
    for seed in range(100, 130):
        rng = random.Random(seed)
        own, other = two_markets(seed, 700)
        interval = rng.choice(("1m", "1m", "3m", "5m"))
        history = history_of(own, other, interval, begin=rng.choice((0, 40)))
        params, terms = params_of(rng, "5m"), random_terms(rng)
        if interval == "3m":
            history = replace(history, inputs={(OTHER, "15m"): complete_buckets(other, "15m")})
            with pytest.raises(InvalidError, match="it reads 5m candles, which are no multiple of its own 3m candles"):
                backtest(history, "trend", built(registry, params), terms, CLOCK)
            continue
        by_kernel = backtest(history, "trend", built(registry, params), terms, CLOCK)
        (by_engine,) = run(
            [history],
            [spec_of("trend", history, terms, registry.load("trend").plain(params))],
            registry,
            CLOCK,
            terms=terms,
        )
        assert difference(by_kernel, by_engine) == "", (seed, params)
        trades += by_kernel.count
    assert trades > 100


def test_two_recorded_months_trade_alike(tmp_path: Path, registry: Registry) -> None:
    """SOL by its own hours and by ETH's, five-minute candles of July and August 2024."""
    rows = from_file(recorded("SOLUSDT-5m-2024-07_08"), OWN, "5m").candles.tail(6000)
    other = from_file(recorded("ETHUSDT-5m-2024-07_08"), OTHER, "5m").candles
    history = replace(from_candles(rows, OWN, grid_of(OWN)), inputs={(OTHER, "5m"): other})
    terms = Terms(capital=Decimal(1000), stop_loss=Decimal("0.02"))
    params = registry.load("trend").plain({"fast": 8, "slow": 6, "larger": "1h", "market": OTHER})
    strategy = built(registry, params)
    assert examine("trend", strategy, history.seen_by("trend", strategy)) > 100
    by_kernel = backtest(history, "trend", strategy, terms, CLOCK)
    (by_engine,) = run([history], [spec_of("trend", history, terms, params)], registry, CLOCK, terms=terms)
    assert difference(by_kernel, by_engine) == "" and by_kernel.count > 50


def test_what_another_market_does_at_the_same_instant_changes_nothing(registry: Registry) -> None:
    """Its candle that closes with ours is not seen; its candle before is."""
    own, other = two_markets(7, 900)
    history = history_of(own, other, "5m")
    strategy = built(registry, {"larger": "15m"})
    seen = history.seen_by("trend", strategy).at("5m", symbol=OTHER)
    last = seen.latest[seen.fresh]
    assert (seen.time[last] + 300_000 == history.candles.time[seen.fresh]).all() and len(last) > 50


def test_another_market_that_is_not_given_is_named_with_the_command_that_gets_it(registry: Registry) -> None:
    own, _ = two_markets(1, 300)
    history = from_candles(own, OWN, grid_of(OWN))
    with pytest.raises(NotFoundError, match="no candles of BTC/USDT 5m, which the strategy reads") as caught:
        backtest(history, "trend", built(registry, {}), Terms(), CLOCK)
    assert caught.value.hint == "botctl data download --symbol BTC/USDT --interval 5m --from 30d"


def test_candles_of_another_time_are_refused_and_missing_ones_told(registry: Registry) -> None:
    own, other = two_markets(2, 600)
    apart = history_of(own, other.part(0, 3), "1m")
    with pytest.raises(InvalidError, match="BTC/USDT 5m: no candle is there when the strategy asks for one"):
        backtest(apart, "trend", built(registry, {}), Terms(), CLOCK)
    half = history_of(own, other.part(0, 300), "1m")
    result = backtest(half, "trend", built(registry, {}), Terms(), CLOCK)
    notes = result.notes
    assert any("BTC/USDT 5m has no candle for them" in note for note in notes)
    assert any(note.startswith("ABC/USDT 15m: the first signal sees 1 of the ") for note in notes)
    told = notes_of([(Job(registry.load("trend"), {}, half, Terms()), result)])  # the symbol once
    assert any(line.startswith("ABC/USDT 15m: the first signal sees 1 of the ") for line in told)
    assert any(line.startswith("ABC/USDT: no signals at ") for line in told)


def test_where_an_input_is_missing_nothing_is_decided(registry: Registry) -> None:
    own, other = two_markets(3, 900)
    history = history_of(own, other, "1m")
    strategy = built(registry, {})
    candles = history.seen_by("trend", strategy)
    result = backtest(history, "trend", strategy, Terms(), CLOCK)
    ready = np.logical_and.reduce([one.fresh for one in (candles.inputs or {}).values()])
    entries = result.room.entry_row[: result.count]
    assert result.count > 5 and ready[entries - 1].all() and not ready.all()


def test_a_part_in_which_an_input_is_missing_throughout_is_quiet_and_told(registry: Registry) -> None:
    """As a window of walk-forward may be: it trades nothing, and the others go on."""
    own, other = two_markets(4, 900)
    history = part(history_of(own, other.part(0, 300), "1m"), 500, 700)
    result = backtest(history, "trend", built(registry, {}), Terms(), CLOCK)
    assert result.count == 0 and any("no signals at 200 candles: BTC/USDT 5m" in note for note in result.notes)
