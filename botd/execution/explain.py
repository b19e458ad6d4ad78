"""Whose is what: the owner of every unit of every asset in the account, and whether the books match.

Pure: it is given what the exchange holds, what the fills say it should, what bots claim, and what orders bind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.instrument import ZERO, split_symbol
from botd.domain.order import Order, Purpose, Side, offered
from botd.exchange.remote import RemoteBalance, RemoteOrder


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a bot says is its own: a holding and cash; ``dust`` is what it wrote off as too small to sell."""

    bot: int
    name: str
    symbol: str
    quantity: Decimal = ZERO
    cash: Decimal = ZERO
    dust: Decimal = ZERO


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an asset and its owner. ``kind``: position, cash, reserved (bound by a working order of the owner),
    dust, external (bound by an order of somebody else), unassigned, or difference (what nothing explains)."""

    asset: str
    kind: str
    quantity: Decimal
    owner: str = ""
    detail: str = ""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that add up to the exchange's totals, and by asset what does not match."""

    rows: list[Row]
    differences: dict[str, str]

    @property
    def match(self) -> bool:
        """True where every asset is as the books say."""
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain values."""
        return {"match": self.match, "rows": msgspec.to_builtins(self.rows), "differences": dict(self.differences)}


def explain(
    balances: Mapping[str, RemoteBalance],
    expected: Mapping[str, Decimal],
    claims: Iterable[Claim],
    orders: Iterable[Order],
    externals: Iterable[RemoteOrder],
) -> Explained:
    """Return the owners of everything; in each asset the rows add up to what the exchange holds."""
    bots = list(claims)
    rows = [*_claimed(bots, list(orders)), *_external(externals)]
    differences: dict[str, str] = {}
    for asset in sorted({*balances, *(row.asset for row in rows), *(a for a, total in expected.items() if total)}):
        held = balances[asset].total if asset in balances else ZERO
        should = expected.get(asset, ZERO)
        if held != should:
            rows.append(Row(asset=asset, kind="difference", quantity=held - should))
            differences[asset] = f"the exchange holds {held:f}, the books say {should:f}"
        owned = sum((row.quantity for row in rows if row.asset == asset), ZERO)
        rest = held - owned
        is_base = any(split_symbol(claim.symbol)[0] == asset for claim in bots)
        if rest:
            detail = "" if rest > 0 else "bots claim more than there is" if is_base else "budgets exceed the account"
            rows.append(Row(asset=asset, kind="unassigned", quantity=rest, detail=detail))
        if rest < 0 and is_base and asset not in differences:
            differences[asset] = f"bots claim {-rest:f} more than the exchange holds"
    return Explained(rows=sorted(rows, key=lambda row: (row.asset, row.kind, row.owner)), differences=differences)


def _claimed(claims: list[Claim], orders: list[Order]) -> Iterable[Row]:
    """Return what bots own; the part of it that their working orders bind is a row of its own."""
    for claim in claims:
        base, quote = split_symbol(claim.symbol)
        mine = [order for order in orders if order.bot == claim.bot and order.symbol == claim.symbol]
        selling = min(claim.quantity, _bound(mine, Side.SELL))
        buying = min(max(ZERO, claim.cash), _bound(mine, Side.BUY))
        parts = [
            (base, "position", claim.quantity - selling, ""),
            (base, "reserved", selling, _resting(mine)),
            (base, "dust", claim.dust, ""),
            (quote, "cash", claim.cash - buying, ""),
            (quote, "reserved", buying, ""),
        ]
        for asset, kind, quantity, detail in parts:
            if quantity:
                yield Row(asset=asset, kind=kind, quantity=quantity, owner=claim.name, detail=detail)


def _resting(orders: list[Order]) -> str:
    """Return which levels of a position rest, empty where none does."""
    legs = [order for order in orders if order.purpose is Purpose.PROTECTION]
    levels = ["stop"] * any(not leg.is_target for leg in legs) + ["target"] * any(leg.is_target for leg in legs)
    return " and ".join(levels)


def _bound(orders: list[Order], side: Side) -> Decimal:
    if side is Side.SELL:
        return offered(orders)
    return sum((o.remaining * (o.price or o.stop_price or ZERO) for o in orders if o.side is side), ZERO)


def _external(orders: Iterable[RemoteOrder]) -> Iterable[Row]:
    for order in orders:
        base, quote = split_symbol(order.symbol)
        left, price = order.quantity - order.filled, order.price or order.stop_price or ZERO
        asset, quantity = (base, left) if order.side is Side.SELL else (quote, left * price)
        if quantity:
            detail = f"{order.side.value} {left:f} {order.symbol}"
            yield Row(asset=asset, kind="external", quantity=quantity, owner=order.client_order_id, detail=detail)
