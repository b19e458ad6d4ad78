"""Downloads through the real ccxt client against an exchange on loopback; time is virtual, sockets are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from botd.domain.clock import VirtualClock
from botd.domain.errors import BusyError, InvalidError, NotFoundError, UnavailableError
from botd.market.by_ccxt.ccxt_client import make_client
from botd.market.store.candle_store import CandleStore
from botd.market.store.download import Download, Downloaded
from tests.fakes.kline_server import MINUTE, NOW, KlineServer, kline, kline_server

BTC = "BTC/USDT"
CLOSED = NOW // MINUTE * MINUTE
"""Candles that open before this and a minute are closed: NOW is half a minute later."""


@pytest.fixture(scope="module")
def running() -> Iterator[KlineServer]:
    with kline_server() as server:
        yield server


@pytest.fixture
def server(running: KlineServer) -> KlineServer:
    running.now, running.listed, running.weight, running.delay_s = NOW, 0, 10, 0.0
    running.holes, running.answers, running.changed, running.asked = set(), [], {}, []
    return running


@pytest.fixture
def store(tmp_path: Path) -> CandleStore:
    return CandleStore(tmp_path)


Fetch = Callable[..., Downloaded]


@pytest.fixture
def fetch(server: KlineServer, store: CandleStore) -> Fetch:
    """Load the last so many minutes, up to so many ago."""

    def run(minutes: int, until: int = 0, *, replace: bool = False, symbol: str = BTC, tell=None) -> Downloaded:
        async def main() -> Downloaded:
            client = await make_client("binance", testnet=False, rest=server.url, stream="ws://127.0.0.1:1")
            try:
                download = Download(store, client, VirtualClock(), symbol, "1m", tell or (lambda *_: None))
                end = CLOSED - until * MINUTE if until else None
                return await download.run(CLOSED - minutes * MINUTE, end, replace=replace)
            finally:
                await client.close()

        return asyncio.run(main())

    return run


def assert_true(store: CandleStore, minutes: int, holes: set[int] = frozenset(), until: int = 0) -> None:
    """The store holds what the exchange has of the last so many minutes."""
    rows = store.load(BTC, "1m")
    times = [t for t in range(CLOSED - minutes * MINUTE, CLOSED - until * MINUTE, MINUTE) if t not in holes]
    assert rows.time.tolist() == times
    truth = np.array([[float(cell) for cell in kline(t)[1:6]] for t in times])
    assert np.array_equal(np.stack([rows.open, rows.high, rows.low, rows.close, rows.volume], axis=1), truth)
    assert not store.verify()[0].damage


def test_everything_closed_is_loaded_a_thousand_a_request(
    server: KlineServer, store: CandleStore, fetch: Fetch
) -> None:
    done = fetch(3500)
    assert done.written.added == 3500 and len(server.asked) == 4
    assert {query["limit"] for query in server.asked} == {"1000", "501"}
    assert_true(store, 3500)


def test_again_asks_for_nothing_but_what_is_new(server: KlineServer, store: CandleStore, fetch: Fetch) -> None:
    server.holes = {CLOSED - 700 * MINUTE, *range(CLOSED - 1500 * MINUTE, CLOSED - 1400 * MINUTE, MINUTE)}
    fetch(2000, until=500)
    assert_true(store, 2000, server.holes, until=500)
    assert [gap.known for gap in store.gaps(BTC, "1m")] == [True, True]
    server.asked.clear()
    assert fetch(2000, until=500).written.added == 0 and server.asked == []
    # an hour before and what came since: two spans
    assert fetch(2060).written.added == 560
    starts = sorted((int(query["startTime"]) - CLOSED) // MINUTE for query in server.asked)
    assert starts == [-2060, -500]
    assert_true(store, 2060, server.holes)


def test_a_candle_is_taken_two_seconds_after_its_close(server: KlineServer, store: CandleStore, fetch: Fetch) -> None:
    server.now = CLOSED + 1_500
    fetch(10)
    assert store.load(BTC, "1m").time[-1] == CLOSED - 2 * MINUTE
    server.now = CLOSED + 2_500
    fetch(10)
    assert_true(store, 10)


def test_the_time_before_the_listing_is_asked_for_once(server: KlineServer, store: CandleStore, fetch: Fetch) -> None:
    server.listed = CLOSED - 100 * MINUTE
    assert fetch(100_000).written.added == 100
    server.asked.clear()
    assert fetch(100_000).written.added == 0 and server.asked == []


def test_a_hole_at_the_end_that_nothing_follows_yet_is_asked_for_again(server, store, fetch: Fetch) -> None:
    server.holes = set(range(CLOSED - 5 * MINUTE, NOW, MINUTE))
    assert fetch(50).written.added == 45
    server.holes = set()
    assert fetch(50).written.added == 5
    assert_true(store, 50)


@pytest.mark.parametrize(("status", "headers", "seconds"), [(429, {"Retry-After": "7"}, 7.5), (418, {}, 120.5)])
def test_a_ban_is_waited_out_and_what_was_loaded_is_kept(server, store, fetch: Fetch, status, headers, seconds) -> None:
    notes: list[str] = []
    kept: list[int] = []

    def tell(done: int, total: int, note: str) -> None:
        if note:
            notes.append(note)
            kept.append(sum(lane.rows for lane in store.lanes()))

    real = server.klines

    def once_banned(**query: str) -> list[Any]:
        if len(server.asked) == 2:
            server.answers = [(status, dict(headers))]
        return real(**query)

    server.klines = once_banned  # type: ignore[method-assign]
    try:
        done = fetch(3500, tell=tell)
    finally:
        server.klines = real  # type: ignore[method-assign]
    assert done.waited_s == seconds and f"HTTP {status}" in notes[0]
    assert kept == [2000]
    assert len(server.asked) == 5
    assert_true(store, 3500)


def test_a_long_ban_ends_the_download(server: KlineServer, store: CandleStore, fetch: Fetch) -> None:
    server.answers = [(418, {"Retry-After": "86400"})]
    with pytest.raises(BusyError, match=r"refuses this address until 2026-01-02T00:00:00Z \(HTTP 418\)") as caught:
        fetch(100)
    assert "goes on where it stopped" in caught.value.hint and len(server.asked) == 1


def test_half_of_the_weight_is_left_to_others(server: KlineServer, store: CandleStore, fetch: Fetch) -> None:
    server.weight = 3000
    notes: list[str] = []
    done = fetch(1500, until=1, tell=lambda done, total, note: notes.append(note))
    # the clock stands at a full minute: 61 s after each of exchangeInfo, time and two pages
    assert done.waited_s > 200 and any("request weight 3000" in note for note in notes)
    assert_true(store, 1500, until=1)


@pytest.mark.parametrize(
    "answers",
    [
        [(503, {}), (500, {})],
        [(200, {"body": "<html>maintenance</html>"})],
        [(200, {"body": '[[1722470400000,"1"'})],
        [(200, {"body": '[["x",1,2,3,4,5]]'})],
        [(200, {"body": "{}"})],
    ],
    ids=["5xx", "html", "truncated", "nonsense", "object"],
)
def test_a_broken_answer_is_asked_again(server, store, fetch: Fetch, answers) -> None:
    server.answers = answers
    fetch(1500)
    assert_true(store, 1500)


def test_an_exchange_that_stays_away_is_unavailable_and_the_rest_is_kept(server, store, fetch: Fetch) -> None:
    real = server.klines

    def dying(**query: str) -> list[Any]:
        server.answers = [(503, {})] * 99
        return real(**query)

    server.klines = dying  # type: ignore[method-assign]
    try:
        with pytest.raises(UnavailableError, match="does not answer") as caught:
            fetch(1500)
    finally:
        server.klines = real  # type: ignore[method-assign]
    assert "goes on where it stopped" in caught.value.hint
    assert_true(store, 1500, until=500)


def test_a_request_refused_as_wrong_is_not_repeated(server: KlineServer, fetch: Fetch) -> None:
    server.answers = [(400, {})]
    with pytest.raises(UnavailableError):
        fetch(100)
    assert len(server.asked) == 1


def test_an_unknown_symbol_is_answered_with_the_nearest(server: KlineServer, fetch: Fetch) -> None:
    with pytest.raises(NotFoundError, match="BTC/USDC: no such symbol at binance") as caught:
        fetch(100, symbol="BTC/USDC")
    assert caught.value.hint == "did you mean BTC/USDT?" and server.asked == []


def test_what_is_not_closed_yet_is_no_candle(server: KlineServer, fetch: Fetch) -> None:
    with pytest.raises(InvalidError, match="is closed yet"):
        fetch(-10)


def test_rows_that_are_no_candles_are_holes_and_moved_ones_are_set_back(server, store, fetch: Fetch) -> None:
    bad, moved = CLOSED - 20 * MINUTE, CLOSED - 10 * MINUTE
    server.changed = {bad: [bad, "5", "4", "3", "5", "1", bad + 59_999], moved: [moved + 7000, *kline(moved)[1:]]}
    done = fetch(30)
    assert done.odd == 1
    assert_true(store, 30, {bad})


def test_replace_loads_all_again(server: KlineServer, store: CandleStore, fetch: Fetch) -> None:
    fetch(30)
    at = CLOSED - 9 * MINUTE
    server.changed = {at: [at, "5", "6", "4", "5.5", "1", at + 59_999]}
    assert fetch(30).written.replaced == 0
    assert fetch(30, replace=True).written.replaced == 1
    assert store.load(BTC, "1m", at, at + 1).close.tolist() == [5.5]


class OtherExchange:
    """Answers for the time asked only, as many exchanges do, and never fills a hole by what comes later."""

    id = "other"
    has = {"fetchTime": False}
    markets = {BTC: {}}
    timeframes = {"1m": "1m"}

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.asked = 0

    def on_rest_response(self, *_: Any) -> None:
        raise AssertionError

    async def load_markets(self) -> None: ...

    async def fetch_ohlcv(self, symbol: str, interval: str, since: int, limit: int) -> list[list[Any]]:
        self.asked += 1
        times = range(since, since + limit * MINUTE, MINUTE)
        return [[t, 1.0, 2.0, 0.5, 1.5, 3.0] for t in times if t >= self.begin]


def test_an_empty_answer_of_another_exchange_says_nothing_of_later(store: CandleStore) -> None:
    clock = VirtualClock()
    now = clock.now_ms()
    other = OtherExchange(now - 500 * MINUTE)
    download = Download(store, other, clock, BTC, "1m", lambda *_: None)
    done = asyncio.run(download.run(now - 3500 * MINUTE, now - 10 * MINUTE))
    assert done.written.added == 490 and other.asked == 4
