"""What Binance may answer to placing, cancelling and querying an order, and what each answer proves.

Written from the exchange's documents, not from the table it checks. ``R`` refused, ``L`` later (turned away before the
engine), ``U`` unknown, ``N`` no such order, ``A`` archived; in the order create, cancel, query.
"""

from __future__ import annotations

from typing import NamedTuple

from botd.exchange.binance.outcomes import Operation, Outcome

_LETTERS = {
    "R": Outcome.REJECTED,
    "L": Outcome.RETRY_LATER,
    "U": Outcome.UNKNOWN,
    "N": Outcome.NO_SUCH_ORDER,
    "A": Outcome.ARCHIVED,
}


class GivenAnswer(NamedTuple):
    """One answer. ``how``: html or empty in place of JSON."""

    name: str
    status: int
    code: int
    message: str
    proves: str
    how: str = ""

    def outcome(self, operation: Operation) -> Outcome:
        return _LETTERS[self.proves[list(Operation).index(operation)]]


_LIMIT = "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."
_FUNDS = "Account has insufficient balance for requested action."
_TIME = "Timestamp for this request is outside of the recvWindow."
_EARLY = "Timestamp for this request was 1000ms ahead of the server's time."
_ORDERS = "Too many new orders; current limit is 100 orders per 10 SECOND."
_BUSY = "Server is currently overloaded with other requests. Please try again in a few minutes."
_TIMEOUT = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
_BUS = "An unexpected response was received from the message bus. Execution status unknown."
_ARCHIVED = "Order was canceled or expired with no executed qty over 90 days ago and has been archived."
_RESTRICTED = "Order was not canceled due to cancel restrictions."
_ENGINE = (
    *(f"{kind} orders are not supported for this symbol." for kind in ("Market", "Stop loss", "Stop loss limit")),
    *(f"{kind} orders are not supported for this symbol." for kind in ("Take profit", "Take profit limit", "OCO")),
    *(f"{kind} orders are not supported for this symbol." for kind in ("Trailing stop", "Iceberg")),
    "Quote order qty market orders are not support for this symbol.",
    "Price * QTY is zero or less.",
    "IcebergQty exceeds QTY.",
    "Unsupported order combination",
    "This account may not place or cancel orders.",
    "This symbol is not permitted for this account.",
    "This symbol is restricted for this account.",
    "Rest API trading is not enabled.",
)
_CANCEL = (
    "Market is closed.",
    "Cancel order is invalid. Check origClOrdId and orderId.",
    "This action is disabled on this account.",
    "This account may not place or cancel orders.",
    "Rest API trading is not enabled.",
)

DOOR = [
    GivenAnswer("weight", 429, -1003, _LIMIT, "LLL"),
    GivenAnswer("too many orders", 429, -1015, _ORDERS, "LLL"),
    GivenAnswer("too many orders, 400", 400, -1015, "Too many new orders.", "LLL"),
    GivenAnswer("429 of a proxy", 429, 0, "", "LLL", "html"),
    GivenAnswer("banned", 418, -1003, "Way too much request weight used; IP banned until 1.", "LLL"),
    GivenAnswer("banned, empty", 418, 0, "", "LLL", "empty"),
    GivenAnswer("queued", 400, -1003, "Too many requests queued.", "LLL"),
    GivenAnswer("firewall", 403, 0, "", "LLL", "html"),
    GivenAnswer("firewall, empty", 403, 0, "", "LLL", "empty"),
    GivenAnswer("region", 451, 0, "Service unavailable from a restricted location.", "LLL"),
    GivenAnswer("late time stamp", 400, -1021, _TIME, "LLL"),
    GivenAnswer("early time stamp", 400, -1021, _EARLY, "LLL"),
]
KEYS = [
    GivenAnswer("unauthorized", 401, -1002, "You are not authorized to execute this request.", "RRR"),
    GivenAnswer("signature", 400, -1022, "Signature for this request is not valid.", "RRR"),
    GivenAnswer("key id", 400, -2008, "Invalid Api-Key ID.", "RRR"),
    GivenAnswer("key form", 401, -2014, "API-key format invalid.", "RRR"),
    GivenAnswer("key, IP or rights", 401, -2015, "Invalid API-key, IP, or permissions for action.", "RRR"),
]
REQUEST = [
    GivenAnswer("filter", 400, -1013, "Filter failure: NOTIONAL", "RUU"),
    GivenAnswer("quantity", 400, -1013, "Invalid quantity.", "RUU"),
    GivenAnswer("combination", 400, -1014, "Unsupported order combination.", "RRR"),
    GivenAnswer("unsupported", 400, -1020, "This operation is not supported.", "RRR"),
    GivenAnswer("characters", 400, -1100, "Illegal characters found in parameter 'price'.", "RRR"),
    GivenAnswer("mandatory", 400, -1102, "Mandatory parameter 'side' was not sent.", "RRR"),
    GivenAnswer("precision", 400, -1111, "Parameter 'price' has too much precision.", "RRR"),
    GivenAnswer("empty book", 400, -1112, "No orders on book for symbol.", "RRR"),
    GivenAnswer("type", 400, -1116, "Invalid orderType.", "RRR"),
    GivenAnswer("symbol", 400, -1121, "Invalid symbol.", "RRR"),
    GivenAnswer("parameter", 400, -1130, "Data sent for parameter 'quantity' is not valid.", "RRR"),
    GivenAnswer("recvWindow", 400, -1131, "recvWindow must be less than 60000", "RRR"),
    GivenAnswer("strategy type", 400, -1134, "strategyType was less than 1000000.", "RRR"),
    GivenAnswer("not JSON", 400, -1135, "Invalid JSON Request.", "RRR"),
    GivenAnswer("restrictions", 400, -1145, "Invalid cancelRestrictions.", "RRR"),
    GivenAnswer("icebergs in a pair", 400, -1158, "This order list does not take that.", "RRR"),
    GivenAnswer("icebergs at all", 400, -1160, "icebergQty and timeInForce do not go together.", "RRR"),
    GivenAnswer("pair of limits", 400, -1168, "At least one OCO order must be contingent.", "RRR"),
    GivenAnswer("pair upside down", 400, -1197, "A stop loss order in a sell OCO must be below.", "RRR"),
    GivenAnswer("code of tomorrow", 400, -1233, "Something new.", "UUU"),
]
ENGINE = [
    GivenAnswer("funds", 400, -2010, _FUNDS, "RUU"),
    GivenAnswer("triggers at once", 400, -2010, "Order would trigger immediately.", "RUU"),
    GivenAnswer("takes", 400, -2010, "Order would immediately match and take.", "RUU"),
    GivenAnswer("closed", 400, -2010, "Market is closed.", "RUU"),
    GivenAnswer("prices of a pair", 400, -2010, "The relationship of the prices for the orders is not correct.", "RUU"),
    GivenAnswer("filter in the engine", 400, -2010, "Filter failure: MAX_POSITION", "RUU"),
    GivenAnswer("account", 400, -2010, "This action is disabled on this account.", "RUU"),
    *(GivenAnswer(text, 400, -2010, text, "RUU") for text in _ENGINE),
    GivenAnswer("thin book", 400, -2010, "Order book liquidity is less than LOT_SIZE filter minimum quantity.", "RUU"),
    GivenAnswer("duplicate", 400, -2010, "Duplicate order sent.", "UUU"),
    GivenAnswer("words of tomorrow", 400, -2010, "Order was refused by the moon.", "UUU"),
    GivenAnswer("engine, no words", 400, -2010, "", "UUU"),
    GivenAnswer("unknown order", 400, -2011, "Unknown order sent.", "UNU"),
    GivenAnswer("cancel restricted", 400, -2011, _RESTRICTED, "URU"),
    *(GivenAnswer(f"cancel: {text}", 400, -2011, text, "URU") for text in _CANCEL),
    GivenAnswer("cancel, new words", 400, -2011, "Not today.", "UUU"),
    GivenAnswer("no such order", 400, -2013, "Order does not exist.", "UUN"),
    GivenAnswer("no such order, other words", 400, -2013, "Try again.", "UUU"),
    GivenAnswer("archived", 400, -2026, _ARCHIVED, "UAA"),
    GivenAnswer("half replaced", 409, -2021, "Order cancel-replace partially failed.", "UUU"),
]
NOTHING = [
    GivenAnswer("no such order from a gateway", 404, -2013, "Order does not exist.", "UUU"),
    GivenAnswer("unknown error", 500, -1000, "An unknown error occurred while processing the request.", "UUU"),
    GivenAnswer("unknown error, 400", 400, -1000, "An unknown error occurred while processing the request.", "UUU"),
    GivenAnswer("disconnected", 400, -1001, "Internal error; unable to process your request. Please try again.", "UUU"),
    GivenAnswer("bus", 500, -1006, _BUS, "UUU"),
    GivenAnswer("bus, 400", 400, -1006, _BUS, "UUU"),
    GivenAnswer("engine timeout", 504, -1007, _TIMEOUT, "UUU"),
    GivenAnswer("engine timeout, 408", 408, -1007, _TIMEOUT, "UUU"),
    GivenAnswer("overloaded", 503, -1008, _BUSY, "UUU"),
    GivenAnswer("overloaded, 400", 400, -1008, _BUSY, "UUU"),
    GivenAnswer("overloaded, 429", 429, -1008, _BUSY, "UUU"),
    GivenAnswer("funds with a 5xx", 503, -2010, _FUNDS, "UUU"),
    GivenAnswer("limit with a 5xx", 503, -1003, _LIMIT, "UUU"),
    GivenAnswer("shut down", 410, -1016, "This service is no longer available.", "UUU"),
    GivenAnswer("503 without a code", 503, 0, "Unknown error, please check your request or try again later.", "UUU"),
    GivenAnswer("bad gateway", 502, 0, "", "UUU", "html"),
    GivenAnswer("gateway timeout", 504, 0, "", "UUU", "empty"),
    GivenAnswer("not found", 404, 0, "", "UUU", "html"),
    GivenAnswer("400 without a body", 400, 0, "", "UUU", "empty"),
    GivenAnswer("400 of a proxy", 400, 0, "", "UUU", "html"),
    GivenAnswer("moved", 302, 0, "", "UUU", "html"),
    GivenAnswer("no content", 204, 0, "", "UUU", "empty"),
    GivenAnswer("accepted", 202, 0, "", "UUU", "html"),
    GivenAnswer("200 in HTML", 200, 0, "", "UUU", "html"),
    GivenAnswer("200, empty", 200, 0, "", "UUU", "empty"),
    GivenAnswer("200 with a code", 200, -1013, "Filter failure: NOTIONAL", "UUU"),
]
ANSWERS = DOOR + KEYS + REQUEST + ENGINE + NOTHING
