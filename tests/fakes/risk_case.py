"""A portfolio made of plain attributes, and requests with round numbers: price 100, equity 1000, no fees."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from botd.domain.bot_spec import BotSpec
from botd.domain.instrument import Instrument
from botd.domain.order import Intent, Order, OrderStatus, OrderType, Purpose, Side
from botd.risk.gate import RiskGate, RiskRequest
from botd.risk.monitors import Monitors
from botd.risk.settings import RiskSettings
from botd.risk.trading_state import StateChange, TradingStates

DAY = 1_767_225_600_000  # 2026-01-01T00:00:00Z
NOON = DAY + 12 * 3_600_000
BTC = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick=Decimal("0.01"), step=Decimal("0.001"))


@dataclass
class Portfolio:
    """Answers the gate from its attributes and counts the questions."""

    equity: Decimal | None = Decimal(1000)
    cash: Decimal = Decimal(1000)
    gross: Decimal | None = Decimal(0)
    by_symbol: dict[str, Decimal | None] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def account_equity(self) -> Decimal | None:
        self.asked.append("account_equity")
        return self.equity

    def free(self, asset: str) -> Decimal:
        self.asked.append("free")
        return self.cash

    def gross_exposure(self) -> Decimal | None:
        self.asked.append("gross_exposure")
        return self.gross

    def symbol_exposure(self, symbol: str) -> Decimal | None:
        self.asked.append("symbol_exposure")
        return self.by_symbol.get(symbol, Decimal(0))

    def open_orders(self, symbol: str | None = None, bot: int | None = None) -> list[Order]:
        self.asked.append("open_orders")
        return [o for o in self.orders if symbol in (None, o.symbol) and bot in (None, o.bot)]


def spec(**changes: Any) -> BotSpec:
    values: dict[str, Any] = {
        "name": "alpha",
        "strategy": "rsi",
        "symbol": "BTC/USDT",
        "interval": "1m",
        "capital": Decimal(1000),
    }
    return BotSpec(**values | changes)


def intent(**changes: Any) -> Intent:
    values: dict[str, Any] = {
        "bot": 1,
        "symbol": "BTC/USDT",
        "interval": "1m",
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "purpose": Purpose.ENTRY,
        "reason": "signal",
        "reference_price": 100.0,
    }
    return Intent(**values | changes)


def limit(price: str, **changes: Any) -> Intent:
    return intent(type=OrderType.LIMIT, price=Decimal(price), **changes)


def sale(**changes: Any) -> Intent:
    return intent(side=Side.SELL, purpose=Purpose.EXIT, **changes)


def resting(bot: int, side: Side, price: str, *, quantity: str = "1", name: str = "", **changes: Any) -> Order:
    values: dict[str, Any] = {
        "client_order_id": name or f"{bot}-{side}-{price}",
        "bot": bot,
        "symbol": "BTC/USDT",
        "interval": "1m",
        "side": side,
        "type": OrderType.LIMIT,
        "quantity": Decimal(quantity),
        "price": Decimal(price),
        "status": OrderStatus.OPEN,
    }
    return Order(**values | changes)


def request(quantity: str = "1", what: Intent | None = None, **changes: Any) -> RiskRequest:
    values: dict[str, Any] = {
        "intent": what or intent(),
        "spec": spec(),
        "quantity": Decimal(quantity),
        "instrument": BTC,
        "now_ms": NOON,
        "bot_cash": Decimal(1000),
        "bot_equity": Decimal(1000),
        "slippage": 0.0,
        "fee": 0.0,
        "portfolio": Portfolio(),
        "volume": 1e9,
    }
    return RiskRequest(**values | changes)


class Room:
    """Settings, states, monitors and gate, wired as the daemon wires them; ``changes`` is what was told."""

    def __init__(self, mode: str = "paper", **risk: Any) -> None:
        self.changes: list[StateChange] = []
        self.settings = RiskSettings.from_config(risk, mode)
        self.states = TradingStates(self.changes.append)
        self.monitors = Monitors(self.settings, self.states)
        self.gate = RiskGate(self.settings, self.states, self.monitors)

    def decide(self, quantity: str = "1", what: Intent | None = None, **changes: Any) -> Any:
        return self.gate.decide(request(quantity, what, **changes))

    def code(self, quantity: str = "1", what: Intent | None = None, **changes: Any) -> str:
        """Return the code of the denial, empty where allowed."""
        return str(self.decide(quantity, what, **changes).code)

    def reopened(self, mode: str = "paper", **risk: Any) -> Room:
        """Return a room restored from the rows of this one."""
        other = Room(mode, **risk)
        states, rows = self.states.drain_changes(), self.gate.drain_changes()
        other.states.restore({key: text for key, text in states.items() if text is not None})
        other.gate.restore({key: text for key, text in rows.items() if text is not None})
        return other


def only(control: str, value: Any = True, **more: Any) -> Room:
    """Return a room of preset off with one control switched on (filters, funds and budget are always there)."""
    return Room(preset="off", **{control: value}, **more)


def alone(control: str, value: Any = True, mode: str = "live") -> Room:
    """Return a room of preset live where every other control that can be is off."""
    from botd.risk.controls import CONTROLS

    off = {c.name: False for c in CONTROLS if not c.fixed and c.name != control}
    return Room(mode, preset="live", **off, **{control: value})
