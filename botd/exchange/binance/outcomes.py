"""What an answer of Binance proves about an order: a table, read from the top, and everything else is UNKNOWN.

A row says: this operation, this HTTP status, this code and a message that begins so mean that. Only what is listed
counts as a refusal. A refusal is listed where the exchange documents that the request did not reach the matching
engine, or that the engine itself refused it. Never listed, because they say nothing: 5xx whatever their body holds,
-1000, -1001, -1006, -1007, -1008, "Duplicate order sent." (somebody's order has that id: perhaps this one),
redirects, 404, 409, and a status 200 that cannot be read.

It decides nothing: what follows from an outcome is the business of whoever asked.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Operation(StrEnum):
    CREATE = "create"
    CANCEL = "cancel"
    QUERY = "query"


class Outcome(StrEnum):
    PLACED = "placed"
    CANCELED = "canceled"
    FOUND = "found"
    REJECTED = "rejected"
    """Refused: it did not happen, and the same request would be refused again."""
    RETRY_LATER = "retry_later"
    """Turned away before the engine: it did not happen; later it may."""
    NO_SUCH_ORDER = "no_such_order"
    """The exchange knows no such (open) order: of a cancel, that it may have filled."""
    ARCHIVED = "archived"
    """It ended without a fill, more than 90 days ago."""
    UNKNOWN = "unknown"

    @property
    def did_not_happen(self) -> bool:
        """True where the answer proves that the request had no effect."""
        return self in (Outcome.REJECTED, Outcome.RETRY_LATER)


class Row(NamedTuple):
    """``codes`` is one code or an inclusive range; ``statuses`` likewise. An empty ``message`` begins every text."""

    operations: frozenset[Operation]
    statuses: tuple[int, int]
    codes: tuple[int, int]
    message: str
    outcome: Outcome

    def fits(self, operation: Operation, status: int, code: int, message: str) -> bool:
        return (
            operation in self.operations
            and self.statuses[0] <= status <= self.statuses[1]
            and self.codes[0] <= code <= self.codes[1]
            and message.startswith(self.message)
        )


_ALL = frozenset(Operation)
_CREATE, _CANCEL, _QUERY = (frozenset({operation}) for operation in Operation)
_BAD_REQUEST = (400, 401)
"""Where the exchange puts its refusals; 409 is a half-done replacement, 404 not even the API."""
_NO_CODE = (0, 0)


def _rows(
    operations: frozenset[Operation], codes: tuple[int, int] | int, outcome: Outcome, *messages: str
) -> list[Row]:
    span = (codes, codes) if isinstance(codes, int) else codes
    return [Row(operations, _BAD_REQUEST, span, message, outcome) for message in messages or ("",)]


ENGINE_REFUSALS = (
    "Account has insufficient balance for requested action.",
    "Filter failure: ",
    "Market is closed.",
    "Order would trigger immediately.",
    "Order would immediately match and take.",
    "The relationship of the prices for the orders is not correct.",
    "Market orders are not supported for this symbol.",
    "Stop loss orders are not supported for this symbol.",
    "Stop loss limit orders are not supported for this symbol.",
    "Take profit orders are not supported for this symbol.",
    "Take profit limit orders are not supported for this symbol.",
    "OCO orders are not supported for this symbol",
    "Trailing stop orders are not supported for this symbol.",
    "Iceberg orders are not supported for this symbol.",
    "Quote order qty market orders are not support",
    "Price * QTY is zero or less.",
    "IcebergQty exceeds QTY.",
    "Unsupported order combination",
    "This action is disabled on this account.",
    "This account may not place or cancel orders.",
    "This symbol is not permitted for this account.",
    "This symbol is restricted for this account.",
    "Rest API trading is not enabled.",
    "Order book liquidity is less than ",
)
"""What the matching engine says with -2010 when it has refused an order; a message that is not here proves nothing."""

CANCEL_REFUSALS = (
    "Market is closed.",
    "Order was not canceled due to cancel restrictions.",
    "Cancel order is invalid. Check origClOrdId and orderId.",
    "This action is disabled on this account.",
    "This account may not place or cancel orders.",
    "Rest API trading is not enabled.",
)

TABLE: tuple[Row, ...] = (
    # Turned away at the door: limits, the firewall, the region. No engine has seen it, whatever the body says.
    Row(_ALL, (429, 429), (-1003, -1003), "", Outcome.RETRY_LATER),
    Row(_ALL, (429, 429), (-1015, -1015), "", Outcome.RETRY_LATER),
    Row(_ALL, (429, 429), _NO_CODE, "", Outcome.RETRY_LATER),
    Row(_ALL, (418, 418), (-1003, -1003), "", Outcome.RETRY_LATER),
    Row(_ALL, (418, 418), _NO_CODE, "", Outcome.RETRY_LATER),
    Row(_ALL, (403, 403), _NO_CODE, "", Outcome.RETRY_LATER),
    Row(_ALL, (451, 451), _NO_CODE, "", Outcome.RETRY_LATER),
    *_rows(_ALL, -1003, Outcome.RETRY_LATER),
    *_rows(_ALL, -1015, Outcome.RETRY_LATER),
    # The time stamp is compared before the engine, and once more just before it.
    *_rows(_ALL, -1021, Outcome.RETRY_LATER),
    # Who asks, and with what key.
    *(row for code in (-1002, -1022, -2008, -2014, -2015) for row in _rows(_ALL, code, Outcome.REJECTED)),
    # What was asked: read, and refused, before the engine.
    *(row for code in (-1014, -1020) for row in _rows(_ALL, code, Outcome.REJECTED)),
    *_rows(_ALL, (-1131, -1100), Outcome.REJECTED),
    *(row for code in (-1134, -1135, -1145, -1158, -1160) for row in _rows(_ALL, code, Outcome.REJECTED)),
    *_rows(_ALL, (-1168, -1165), Outcome.REJECTED),
    *_rows(_ALL, (-1199, -1196), Outcome.REJECTED),
    *_rows(_CREATE, -1013, Outcome.REJECTED),  # "the request didn't reach the Matching Engine": filters
    # What the engine answered.
    *_rows(_CREATE, -2010, Outcome.REJECTED, *ENGINE_REFUSALS),
    *_rows(_CANCEL, -2011, Outcome.NO_SUCH_ORDER, "Unknown order sent."),
    *_rows(_CANCEL, -2011, Outcome.REJECTED, *CANCEL_REFUSALS),
    *_rows(_CANCEL, -2026, Outcome.ARCHIVED),
    *_rows(_QUERY, -2013, Outcome.NO_SUCH_ORDER, "Order does not exist."),
    *_rows(_QUERY, -2026, Outcome.ARCHIVED),
)

_DONE = {
    Operation.CREATE: Outcome.PLACED,
    Operation.CANCEL: Outcome.CANCELED,
    Operation.QUERY: Outcome.FOUND,
}


def classify(operation: Operation, status: int, code: int = 0, message: str = "", *, readable: bool = False) -> Outcome:
    """Return what an answer proves. ``readable``: its body is the order that was asked about.

    No answer at all has no status: that is UNKNOWN too, and needs no question.
    """
    if status == 200:
        return _DONE[operation] if readable else Outcome.UNKNOWN
    for row in TABLE:
        if row.fits(operation, status, code, message):
            return row.outcome
    return Outcome.UNKNOWN
