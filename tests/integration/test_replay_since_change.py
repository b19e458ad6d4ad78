"""``botctl replay`` judges a bot by the spec that it has, so it begins where it got that spec."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from botd.config import Config, from_mapping
from botd.domain.clock import parse_time
from botd.lab.given import Place
from botd.lab.replay import World as LabWorld
from botd.lab.replay import run_replay
from botd.strategy.registry import Registry
from botd.world import World
from tests.unit.backtest.conftest import walk
from tests.unit.lab.conftest import csv_of, in_cents

SYMBOL = "BTC/USDT"
BOT = {"name": "alpha", "strategy": "rsi", "symbol": SYMBOL, "interval": "1m", "capital": "10000", "stop_loss": "0.02"}


@dataclass
class Life:
    """A bot on a replayed market, changed twice on its way."""

    config: Config

    async def play(
        self, moments: int, changes: dict[str, Any], born: int = 0, stopped: int = -1, removed: int = -1, **more: Any
    ) -> None:
        """Let the bot live from the moment ``born`` on, change it after ``moments``, stop it, remove it."""
        world = World(self.config)
        world.build()
        world.orchestrator.market_ready()
        spec = {**BOT, "params": {"period": 7}, **more}
        assert world.source is not None
        world.source.seek(None)
        for number in itertools.count():
            if number == born:
                world.orchestrator.create(world.parser.parse(spec), start=True, replace=False)
            if number == moments:
                world.orchestrator.change(world.orchestrator.get("alpha"), world.parser.parse({**spec, **changes}))
            if number == stopped:
                world.orchestrator.stop(world.orchestrator.get("alpha"))
            if number == removed:
                world.orchestrator.remove(world.orchestrator.get("alpha"), force=True)
            if (moment := world.source.next()) is None:
                break
            await world.market.deliver(moment)
        await world.settlement.commit()
        await world.ledger.close()

    def held_to_the_rules(self, since: int = 0) -> dict[str, Any]:
        market, paper = self.config.market, self.config.paper
        costs = {"maker_fee": paper.maker_fee, "taker_fee": paper.taker_fee, "slippage": paper.slippage}
        lived = (market.source, market.files, market.symbols, market.interval, market.seed, market.start)
        home = self.config.state_dir
        place = Place(home / "candles", home, "binance", self.config.grids(), Registry.standard(None))
        return run_replay(place, LabWorld(home / "ledger.db", *lived, costs), "alpha", 1e-6, None, since)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    (tmp_path / "btc.csv").write_text(csv_of(in_cents(walk(5000))))
    market = {"source": "replay", "files": {SYMBOL: str(tmp_path / "btc.csv")}, "speed": 0}
    paper = {"balance": {"USDT": "1000000"}}
    values = {"state_dir": str(tmp_path / "state"), "market": market, "paper": paper, "risk": {"preset": "off"}}
    return Life(from_mapping(values))


def test_what_was_traded_by_other_parameters_is_not_compared_and_that_is_said(life: Life) -> None:
    asyncio.run(life.play(2500, {"params": {"period": 5}}))
    told = life.held_to_the_rules()
    assert told["did"] == told["rules"] > 10 and told["differences"] == 0
    assert told["notes"][0].endswith("what was before is not compared") and "period changed at" in told["notes"][0]


def test_a_label_changes_nothing_that_is_traded_by(life: Life) -> None:
    asyncio.run(life.play(2500, {"labels": {"team": "a"}}))
    told = life.held_to_the_rules()
    assert told["did"] == told["rules"] > 20 and told["differences"] == 0 and told["notes"] == []


def test_another_capital_is_a_change_too(life: Life) -> None:
    asyncio.run(life.play(2500, {"capital": Decimal(20000)}))
    told = life.held_to_the_rules()
    assert told["did"] == told["rules"] > 10 and told["differences"] == 0 and "capital changed" in told["notes"][0]


@pytest.mark.parametrize("born", range(300, 310))
def test_a_bot_decides_at_the_close_of_the_candle_in_which_it_was_created_or_changed(life: Life, born: int) -> None:
    eager = {"period": 7, "oversold": 70, "overbought": 90}
    asyncio.run(life.play(-1, {}, born, interval="5m", params=eager, stop_loss="0.003"))
    told = life.held_to_the_rules()
    assert told["did"] == told["rules"] > 3 and told["differences"] == 0


@pytest.mark.parametrize("moments", range(2000, 2004))
def test_so_does_one_that_is_changed(life: Life, moments: int) -> None:
    eager = {"period": 7, "oversold": 70, "overbought": 90}
    changes = {"params": {**eager, "oversold": 69}}
    asyncio.run(life.play(moments, changes, interval="5m", params=eager, stop_loss="0.003", take_profit="0.01"))
    told = life.held_to_the_rules()
    assert told["did"] == told["rules"] > 10 and told["differences"] == 0


def test_what_it_holds_since_before_the_change_leaves_nothing_to_compare(life: Life) -> None:
    eager = {"period": 7, "oversold": 100, "overbought": 100}  # it buys at once and never sells
    asyncio.run(life.play(2000, {"capital": Decimal(11000)}, params=eager, stop_loss="0.5"))
    told = life.held_to_the_rules()
    assert (told["rows"], told["differences"], told["did"]) == ([], 0, 0)
    assert told["notes"][-1].startswith("nothing to compare yet: it holds what it bought at 2024-01-")


def test_what_was_before_a_time_is_not_compared_where_that_is_asked_for(life: Life) -> None:
    asyncio.run(life.play(-1, {}))
    whole = life.held_to_the_rules()
    middle = parse_time(whole["rows"][len(whole["rows"]) // 2]["entry_time"])
    told = life.held_to_the_rules(since=middle)
    assert told["differences"] == 0 and told["did"] == len(whole["rows"]) - len(whole["rows"]) // 2 - 1
    assert "as --from asks" in told["notes"][0]


@pytest.mark.parametrize("interval", ["1m", "5m"])
@pytest.mark.parametrize(("stopped", "removed"), [(3001, -1), (3001, 3500), (-1, 3001), (3000, -1), (4000, -1)])
def test_one_that_was_stopped_or_removed_is_held_to_the_rules_until_then(
    life: Life, stopped: int, removed: int, interval: str
) -> None:
    asyncio.run(life.play(-1, {}, stopped=stopped, removed=removed, interval=interval))
    told = life.held_to_the_rules()
    assert told["did"] == told["rules"] > 3 and told["differences"] == 0
    assert told["notes"][-1].endswith(": then it was stopped" if stopped >= 0 else ": then it was removed")


def test_one_that_was_removed_before_it_could_decide_is_not_compared(life: Life) -> None:
    asyncio.run(life.play(-1, {}, born=100, removed=100))
    assert not life.held_to_the_rules()["compared"]
