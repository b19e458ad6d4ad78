"""``botctl replay`` judges a bot by the spec that it has, so it begins where it got that spec."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from botd.config import Config, from_mapping
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

    async def play(self, moments: int, changes: dict[str, Any]) -> None:
        world = World(self.config)
        world.build()
        world.orchestrator.market_ready()
        world.orchestrator.create(world.parser.parse({**BOT, "params": {"period": 7}}), start=True, replace=False)
        assert world.source is not None
        world.source.seek(None)
        number = 0
        while (moment := world.source.next()) is not None:
            await world.market.deliver(moment)
            number += 1
            if number == moments:
                bot = world.orchestrator.get("alpha")
                world.orchestrator.change(bot, world.parser.parse({**BOT, "params": {"period": 7}, **changes}))
        await world.settlement.commit()
        await world.ledger.close()

    def held_to_the_rules(self) -> dict[str, Any]:
        market, paper = self.config.market, self.config.paper
        costs = {"maker_fee": paper.maker_fee, "taker_fee": paper.taker_fee, "slippage": paper.slippage}
        lived = (market.source, market.files, market.symbols, market.interval, market.seed, market.start)
        home = self.config.state_dir
        place = Place(home / "candles", home, "binance", self.config.grids(), Registry.standard(None))
        return run_replay(place, LabWorld(home / "ledger.db", *lived, costs), "alpha", 1e-6, None)


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
