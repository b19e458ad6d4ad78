"""The candles that ``replay`` plays: of a synthetic market all of them, for indicators begin where the market does."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from botd.domain.bot_spec import BotSpec
from botd.lab.given import Place
from botd.lab.replay import World, _history
from botd.market.simulated.synthetic import SyntheticSource
from botd.strategy.registry import Registry

START = 1_767_225_600_000
MINUTE = 60_000


@pytest.mark.parametrize("minutes", [30, 31, 600])
def test_a_synthetic_market_is_played_from_its_first_candle_to_the_last_that_was_seen(
    tmp_path: Path, minutes: int
) -> None:
    world = World(tmp_path / "ledger.db", "synthetic", {}, ["BTC/USDT"], "1m", 1, START, {})
    spec = BotSpec(name="alpha", strategy="rsi", symbol="BTC/USDT", interval="1m", capital=Decimal(1000))
    place = Place(tmp_path, tmp_path, "binance", {}, Registry(tmp_path))
    seen = START + minutes * MINUTE
    found = _history(place, world, spec, 10, START + 5 * MINUTE, seen, None).candles
    assert (int(found.time[0]), int(found.time[-1])) == (START, seen)
    whole = SyntheticSource(["BTC/USDT"], "1m", START, 1).history("BTC/USDT", "1m", seen + MINUTE, 10_000)
    assert found.close.tolist() == whole.close.tolist()
