"""Of balances the latest word counts, by the exchange's time, whichever way and in whatever order words come."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal

import msgspec
import pytest

from botd.exchange.binance import user_events
from botd.exchange.binance.holdings import LAG_MS, Holdings
from botd.exchange.binance.order_wire import WireAccount

NOW = 10 * LAG_MS


def answer(time_ms: int, **free: str) -> WireAccount:
    rows = [{"asset": asset, "free": amount, "locked": "0"} for asset, amount in free.items()]
    said = json.dumps({"balances": rows, "canTrade": True, "updateTime": time_ms, "uid": 1})
    return msgspec.json.decode(said, type=WireAccount)


def event(time_ms: int, **free: str) -> user_events.AccountPosition:
    rows = [{"a": asset, "f": amount, "l": "0"} for asset, amount in free.items()]
    said = json.dumps({"e": "outboundAccountPosition", "E": time_ms, "u": time_ms, "B": rows})
    found = user_events.decode(said.encode())
    assert isinstance(found, user_events.AccountPosition)
    return found


def free(holdings: Holdings) -> dict[str, Decimal]:
    return {asset: held.free for asset, held in holdings.rows.items()}


def take(holdings: Holdings, word: WireAccount | user_events.AccountPosition, now_ms: int = NOW) -> Holdings:
    if isinstance(word, WireAccount):
        holdings.on_answer(word, now_ms)
    else:
        holdings.on_event(word)
    return holdings


WORDS = (
    answer(NOW - 3, BTC="1", USDT="100"),
    event(NOW - 2, BTC="2", USDT="40"),
    answer(NOW - 2, BTC="2", USDT="40"),
    event(NOW - 1, USDT="50", BNB="7"),
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_latest_word_counts_in_whatever_order_words_come(order: tuple[int, ...]) -> None:
    holdings = Holdings()
    for number in order:
        take(holdings, WORDS[number])
    assert free(holdings) == {"BTC": 2, "USDT": 50, "BNB": 7}


def test_what_an_event_did_not_tell_heals_with_the_next_answer() -> None:
    """Also within the same millisecond: a lost event is not told again, an answer is."""
    holdings = take(Holdings(), event(NOW, BTC="2"))
    take(holdings, answer(NOW, BTC="3", USDT="5"))
    assert free(holdings) == {"BTC": 3, "USDT": 5}
    assert free(take(holdings, answer(NOW + 1, USDT="5"))) == {"USDT": 5}


def test_an_answer_is_never_taken_to_be_half_a_minute_old() -> None:
    """An exchange that names an old time, or begins anew, is believed all the same, a little later."""
    holdings = take(Holdings(), event(NOW, BTC="2"))
    assert free(take(holdings, answer(0, BTC="1"), NOW + LAG_MS - 1)) == {"BTC": 2}
    assert free(take(holdings, answer(0, BTC="1"), NOW + LAG_MS)) == {"BTC": 1}
