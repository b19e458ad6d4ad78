"""Plain values for tests of the ledger: every field has a default that a test may replace."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from botd.domain.bot_spec import BotSpec
from botd.domain.clock import VirtualClock
from botd.domain.order import Fill, Order, OrderType, Side
from botd.domain.position import Position, Trade
from botd.ledger.records import BotRecord
from botd.ledger.store import Ledger

START = 1_767_225_600_000
WORLD = {"mode": "paper", "market": {"source": "synthetic", "seed": 1}}


def open_ledger(directory: Path, clock: VirtualClock | None = None, **settings: Any) -> Ledger:
    """Open the ledger of a test's directory."""
    world = settings.pop("world", WORLD)
    return Ledger.open(directory / "ledger.db", world, clock=clock or VirtualClock(START), **settings)


def record(number: int, name: str = "", **changes: Any) -> BotRecord:
    """Return a bot."""
    spec = BotSpec(
        name=name or f"bot{number}",
        strategy="rsi",
        symbol="BTC/USDT",
        interval="1m",
        capital=Decimal("1000"),
        params={"period": 14},
        stop_loss=Decimal("0.02"),
        labels={"team": "a"},
    )
    return BotRecord(number=number, spec=spec, created_ms=START, since_ms=START, **changes)


def order(bot: int, sequence: int, **changes: Any) -> Order:
    """Return an order with a client id of ours."""
    fields: dict[str, Any] = {
        "client_order_id": f"PABCDE-{bot}-{sequence}-07",
        "bot": bot,
        "symbol": "BTC/USDT",
        "interval": "1m",
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "quantity": Decimal("0.0100"),
        "created_ms": START + sequence,
        "updated_ms": START + sequence,
    }
    return Order(**{**fields, **changes})


def fill(trade_id: int | str, bot: int = 1, **changes: Any) -> Fill:
    """Return a fill of 0.01 at 60000."""
    fields: dict[str, Any] = {
        "trade_id": str(trade_id),
        "client_order_id": f"PABCDE-{bot}-1-07",
        "bot": bot,
        "symbol": "BTC/USDT",
        "side": Side.BUY,
        "quantity": Decimal("0.01"),
        "price": Decimal("60000"),
        "fee": Decimal("0.6"),
        "fee_asset": "USDT",
        "time_ms": START,
    }
    return Fill(**{**fields, **changes})


def trade(bot: int = 1, **changes: Any) -> Trade:
    """Return a round trip."""
    fields: dict[str, Any] = {
        "bot": bot,
        "symbol": "BTC/USDT",
        "quantity": Decimal("0.01"),
        "entry_time_ms": START,
        "exit_time_ms": START + 60_000,
        "entry_price": Decimal("60000"),
        "exit_price": Decimal("60100.5"),
        "pnl": Decimal("-0.19500"),
        "return_pct": -0.0325,
        "fees": Decimal("1.2"),
        "exit_reason": "signal",
        "bars": 1,
    }
    return Trade(**{**fields, **changes})


def position(bot: int = 1, **changes: Any) -> Position:
    """Return a holding of 0.01 with all its levels."""
    fields: dict[str, Any] = {
        "bot": bot,
        "symbol": "BTC/USDT",
        "quantity": Decimal("0.01"),
        "cost": Decimal("600"),
        "stop": 58800.000000000007,
        "target": 62400.1,
        "trailing": 0.015,
        "highest": 60123.45,
        "entry_time_ms": START,
        "entry_bar": 7,
        "bought_quantity": Decimal("0.01"),
        "bought_notional": Decimal("600"),
        "fees": Decimal("0.6"),
        "realized_pnl": Decimal("-0.6"),
    }
    return Position(**{**fields, **changes})
