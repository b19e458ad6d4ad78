"""The user's events as Binance spells them, letter by letter. Values in, dictionaries out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.fakes.binance.exchange.books import Books
from tests.fakes.binance.exchange.orders import ZERO, Order, OrderList, Trade, Transfer, money, plain


def execution_report(order: Order, kind: str, trade: Trade | None, now_ms: int, execution: int) -> dict[str, Any]:
    """Return an ``executionReport``; ``kind`` is NEW, TRADE, CANCELED, EXPIRED or REJECTED."""
    asked = order.asked
    cancelled = kind == "CANCELED"
    report: dict[str, Any] = {
        "e": "executionReport",
        "E": now_ms,
        "s": order.symbol,
        "c": order.cancel_id if cancelled else order.client_id,
        "S": order.side,
        "o": order.type,
        "f": asked.time_in_force,
        "q": money(order.quantity),
        "p": money(order.price),
        "P": money(asked.stop_price),
        "F": money(ZERO),
        "g": order.list_id,
        "C": order.client_id if cancelled else "",
        "x": kind,
        "X": order.status,
        "r": "NONE",
        "i": order.id,
        "l": money(trade.quantity if trade else ZERO),
        "z": money(order.executed),
        "L": money(trade.price if trade else ZERO),
        "n": plain(trade.commission) if trade else "0",
        "N": trade.commission_asset if trade else None,
        "T": order.updated_ms,
        "t": trade.id if trade else -1,
        "I": execution,
        "w": order.working and order.open,
        "m": bool(trade and trade.maker),
        "M": trade is not None,
        "O": order.created_ms,
        "Z": money(order.quote),
        "Y": money(trade.quote if trade else ZERO),
        "Q": money(asked.quote_quantity),
    }
    if order.working:
        report["W"] = order.working_ms
    report["V"] = asked.self_trade
    if asked.trailing_delta:
        report["d"], report["D"] = asked.trailing_delta, order.created_ms if order.extreme is not None else -1
    if asked.strategy_id is not None:
        report["j"] = asked.strategy_id
    if asked.strategy_type is not None:
        report["J"] = asked.strategy_type
    if order.expiry:
        report["eR"] = order.expiry
    return report


def account_position(books: Books, assets: Iterable[str], now_ms: int) -> dict[str, Any]:
    """Return an ``outboundAccountPosition`` of those assets."""
    rows = [{"a": asset, "f": money(books.free(asset)), "l": money(books.locked(asset))} for asset in assets]
    return {"e": "outboundAccountPosition", "E": now_ms, "u": books.updated_ms, "B": rows}


def balance_update(moved: Transfer, now_ms: int) -> dict[str, Any]:
    return {"e": "balanceUpdate", "E": now_ms, "a": moved.asset, "d": money(moved.amount), "T": moved.time_ms}


def list_status(pair: OrderList, legs: Iterable[Order], now_ms: int) -> dict[str, Any]:
    return {
        "e": "listStatus",
        "E": now_ms,
        "s": pair.symbol,
        "g": pair.id,
        "c": "OCO",
        "l": "ALL_DONE" if pair.state == "ALL_DONE" else "EXEC_STARTED",
        "L": pair.state,
        "r": "NONE",
        "C": pair.client_id,
        "T": now_ms,
        "O": [{"s": leg.symbol, "i": leg.id, "c": leg.client_id} for leg in legs],
    }


def terminated(now_ms: int) -> dict[str, Any]:
    return {"e": "eventStreamTerminated", "E": now_ms}
