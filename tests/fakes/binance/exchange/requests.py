"""Parameters of a request, read as the exchange reads them: what is missing, malformed, too precise or not asked for.

Only the request itself is looked at; what depends on a symbol or on the account is :mod:`.filters` and :mod:`.engine`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal

from tests.fakes.binance.exchange.orders import (
    PRICED,
    SIDES,
    STOPS,
    TIMED,
    TIMES_IN_FORCE,
    TYPES,
    ZERO,
    NewOrder,
    Refused,
)  # fmt: skip

Parameters = Mapping[str, str]
CLIENT_ID = r"^[\.A-Z\:/a-z0-9_-]{1,36}$"
_LEGAL = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_NUMBER = "^([0-9]{1,20})(\\.[0-9]{1,20})?$"
_LONGS = 2**63
RESPONSES = ("ACK", "RESULT", "FULL")


def mandatory(given: Parameters, name: str) -> str:
    if not given.get(name):
        raise Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return given[name]


def amount(given: Parameters, name: str, *, precision: int = 8) -> Decimal | None:
    """Return a decimal parameter; None where it was not sent."""
    if name not in given:
        return None
    if given[name] == "":
        raise Refused(-1105, f"Parameter '{name}' was empty.")
    if not _DECIMAL.fullmatch(given[name]):
        raise Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{_NUMBER}'.")
    value = Decimal(given[name])
    if len(given[name].partition(".")[2]) > precision and value != round(value, precision):
        raise Refused(-1111, f"Parameter '{name}' has too much precision.")
    return value


def long(given: Parameters, name: str) -> int | None:
    """Return a whole number; None where it was not sent."""
    if name not in given:
        return None
    value = given[name]
    if not (value.isascii() and value.isdigit()) or int(value) >= _LONGS:
        raise Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(value)


def limit(given: Parameters, default: int = 500, most: int = 1000) -> int:
    asked = long(given, "limit")
    if asked == 0:
        raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(asked or default, most)


def client_id(given: Parameters, name: str) -> str:
    """Return an id of the client's, empty where it was not sent."""
    if name not in given:
        return ""
    if not _LEGAL.fullmatch(given[name]):
        raise Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{CLIENT_ID}'.")
    return given[name]


def address(given: Parameters, number: str, name: str) -> tuple[int | None, str]:
    """Return the number and the client id that something is asked for by; one of them must be sent."""
    found, called = long(given, number), given.get(name, "")
    if found is None and not called:
        raise Refused(-1102, f"Param '{name}' or '{number}' must be sent, but both were empty/null!")
    return found, called


def choice(given: Parameters, name: str, allowed: frozenset[str] | tuple[str, ...], code: int, message: str) -> str:
    value = mandatory(given, name)
    if value not in allowed:
        raise Refused(code, message)
    return value


def flag(given: Parameters, name: str) -> bool:
    return given.get(name, "false").lower() == "true"


def names(given: Parameters, name: str) -> list[str]:
    """Return a JSON array of names."""
    try:
        found = json.loads(given[name])
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is an array of symbols.")
    return [str(each) for each in found]


def recv_window(given: Parameters) -> Decimal:
    """Return for how long a request is good, in ms."""
    window = amount(given, "recvWindow", precision=3)
    if window is None:
        return Decimal(5000)
    if window > 60_000:
        raise Refused(-1131, "recvWindow must be less than 60000")
    return window


def timestamp_ms(given: Parameters) -> float:
    """Return the moment a request says it was made; micro-seconds are understood."""
    text = mandatory(given, "timestamp")
    stamp = long(given, "timestamp")
    assert stamp is not None
    return stamp / 1000 if len(text) >= 16 else float(stamp)


def check_time(given: Parameters, server_ms: int) -> None:
    """Refuse a request of the future, or one that is too old: -1021."""
    stamp, window = timestamp_ms(given), recv_window(given)
    if stamp >= server_ms + 1000:
        raise Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if server_ms - stamp > window:
        raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")


def new_order(given: Parameters) -> NewOrder:
    """Return what ``POST /api/v3/order`` asks for."""
    return _complete(
        symbol=mandatory(given, "symbol"), side=choice(given, "side", SIDES, -1117, "Invalid side."),
        kind=choice(given, "type", TYPES, -1116, "Invalid orderType."), given=given, prefix="",
    )  # fmt: skip


def oco_legs(given: Parameters) -> tuple[NewOrder, NewOrder]:
    """Return the order above and the order below of ``POST /api/v3/orderList/oco``."""
    symbol = mandatory(given, "symbol")
    side = choice(given, "side", SIDES, -1117, "Invalid side.")
    legs = []
    for place in ("above", "below"):
        allowed = STOPS | {"LIMIT_MAKER"}
        kind = choice(given, f"{place}Type", allowed, -1158, "Order type not supported in OCO.")
        legs.append(_complete(symbol=symbol, side=side, kind=kind, given=given, prefix=place))
    return legs[0], legs[1]


def _complete(symbol: str, side: str, kind: str, given: Parameters, prefix: str) -> NewOrder:
    def name(plain: str) -> str:
        return prefix + plain[0].upper() + plain[1:] if prefix else plain

    if name("icebergQty") in given:
        raise Refused(-2010, "Iceberg orders are not supported for this symbol.")
    quantity = amount(given, "quantity")
    quote_quantity = None if prefix else amount(given, "quoteOrderQty")
    price, stop = amount(given, name("price")), amount(given, name("stopPrice"))
    delta = long(given, name("trailingDelta"))
    if kind == "MARKET":
        if (quantity is None) == (quote_quantity is None):
            if quantity is None:
                raise Refused(-1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!")
            raise Refused(-1106, "Parameter 'quoteOrderQty' sent when not required.")
    elif quantity is None:
        mandatory(given, "quantity")
    _fits(kind in PRICED, price is not None, name("price"), given)
    _fits(kind in TIMED, name("timeInForce") in given, name("timeInForce"), given)
    if kind in STOPS and stop is None and delta is None:
        message = f"Param '{name('stopPrice')}' or '{name('trailingDelta')}' must be sent, but both were empty/null!"
        raise Refused(-1102, message)
    _fits(kind in STOPS, kind in STOPS or stop is not None, name("stopPrice"), given)
    if quote_quantity is not None and kind != "MARKET":
        raise Refused(-1106, "Parameter 'quoteOrderQty' sent when not required.")
    force = given.get(name("timeInForce"), "GTC")
    if force not in TIMES_IN_FORCE:
        raise Refused(-1115, "Invalid timeInForce.")
    response = given.get("newOrderRespType", "FULL" if kind in ("MARKET", "LIMIT") and not prefix else "ACK")
    if response not in RESPONSES:
        legal = "ACK, RESULT, FULL"
        raise Refused(-1100, f"Illegal characters found in parameter 'newOrderRespType'; legal range is '{legal}'.")
    return NewOrder(
        symbol=symbol, side=side, type=kind, time_in_force=force, quantity=quantity or ZERO,
        quote_quantity=quote_quantity or ZERO, price=price or ZERO, stop_price=stop or ZERO, trailing_delta=delta or 0,
        client_id=client_id(given, name("clientOrderId") if prefix else "newClientOrderId"), response=response,
        strategy_id=long(given, name("strategyId")), strategy_type=long(given, name("strategyType")),
        self_trade=given.get("selfTradePreventionMode", "NONE"),
    )  # fmt: skip


def _fits(wanted: bool, sent: bool, name: str, given: Parameters) -> None:
    if wanted and not sent:
        mandatory(given, name)
    if sent and not wanted:
        raise Refused(-1106, f"Parameter '{name}' sent when not required.")
