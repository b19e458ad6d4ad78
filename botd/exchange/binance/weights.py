"""What each call of Binance's spot REST API weighs. A table, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WEIGHTS = {
    "ping": 1,
    "time": 1,
    "exchangeInfo": 20,
    "klines": 2,
    "account": 20,
    "account/commission": 20,
    "account/apiRestrictions": 1,
    "order": 4,
    "openOrders": 6,
    "orderList": 4,
    "allOrders": 20,
    "myTrades": 20,
}
ORDER_CALL = 1
"""Placing and cancelling, where that fails; it weighs nothing where it succeeds (since 2026-04)."""


def weight_of(endpoint: str, params: Mapping[str, Any] | None = None) -> int:
    """Return what a question costs. ``endpoint`` is its last part: ``klines``, ``ticker/bookTicker``."""
    params = params or {}
    if endpoint == "ticker/bookTicker":
        return 2 if "symbol" in params else 4
    if endpoint == "openOrders" and "symbol" not in params:
        return 80
    if endpoint == "myTrades" and "orderId" in params:
        return 5
    return _WEIGHTS[endpoint]
