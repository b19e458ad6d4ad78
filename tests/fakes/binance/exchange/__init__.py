"""The exchange behind the front: an account, its orders, the matching engine, the books that are the oracle, faults.

Pure, timed by an injected clock and seed, from inside out: ``orders requests filters`` (values), ``books`` (the
oracle), ``prices matching engine order_counts`` (trading), ``events shapes`` (how it is told), ``calls api`` (the
endpoints), ``fault_plan user_stream venue`` (what goes wrong, and the whole without a wire), ``signatures door`` (raw
requests). The wire: ``rest_desk ws_api wire``.
"""

from tests.fakes.binance.exchange.books import Books
from tests.fakes.binance.exchange.calls import Answer, Call, Lost, Outcome
from tests.fakes.binance.exchange.door import Door
from tests.fakes.binance.exchange.fault_plan import NAMED, ExchangeFault, ExchangeFaults, named, seeded
from tests.fakes.binance.exchange.keys import DEFAULT_KEY, ApiKey, made_key
from tests.fakes.binance.exchange.matching import Fees
from tests.fakes.binance.exchange.venue import Venue

__all__ = [
    "DEFAULT_KEY",
    "NAMED",
    "Answer",
    "ApiKey",
    "Books",
    "Call",
    "Door",
    "ExchangeFault",
    "ExchangeFaults",
    "Fees",
    "Lost",
    "Outcome",
    "Venue",
    "made_key",
    "named",
    "seeded",
]
