"""What ``replay`` plays (a synthetic market from its first candle, where indicators begin), and what it calls same."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from botd.domain.bot_spec import BotSpec
from botd.lab.given import Place
from botd.lab.replay import _TRADES, World, _compared, _history
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


TRADE = {
    "entry_time": "2026-01-01T10:00:00Z", "exit_time": "2026-01-01T12:00:10Z", "quantity": "2", "entry_price": "100",
    "exit_price": "110", "exit_reason": "signal", "pnl": "20",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "same"),
        ({"exit_time": "2026-01-01T12:00:59Z", "pnl": "19"}, "same"),  # the same minute; fees are told only
        ({"exit_time": "2026-01-01T12:01:00Z"}, "differs"),
        ({"exit_time": "2026-01-01T14:00:10Z"}, "differs"),
        ({"exit_price": "110.1"}, "same"),
        ({"exit_price": "110.2"}, "differs"),
        ({"entry_price": "99.8"}, "differs"),
        ({"quantity": "2.01"}, "differs"),
        ({"exit_reason": "stop_loss"}, "differs"),
    ],
)
def test_a_trade_is_the_same_in_price_size_reason_and_the_candle_of_its_exit(
    changed: dict[str, str], verdict: str
) -> None:
    (row,) = _compared([{**TRADE, **changed}], [TRADE], MINUTE, 0.001, _TRADES)
    assert row["verdict"] == verdict


def test_a_trade_that_begins_in_another_candle_is_missing_and_extra() -> None:
    later = {**TRADE, "entry_time": "2026-01-01T10:01:00Z"}
    assert [row["verdict"] for row in _compared([later], [TRADE], MINUTE, 0.001, _TRADES)] == ["missing", "extra"]
