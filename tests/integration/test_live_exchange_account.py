"""Signing in, and what the account tells by itself: events, losses of the stream and its return, time, filters."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from botd.domain.errors import ConfigError, UnavailableError
from botd.domain.order import OrderStatus, OrderType
from botd.exchange.remote import QueryFailedError
from botd.market.binance.binance_feed import BinanceFeed
from botd.market.cache.cache import MemoryCache
from botd.market.manager import MarketManager
from tests.fakes.binance import Fault
from tests.fakes.binance.exchange import DEFAULT_KEY, ApiKey, ExchangeFault, made_key, named
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.binance.tls import LoopbackResolver, ThrowAwayCA
from tests.fakes.live_account import BTC, FAST, LiveAccount, account, play, venue

OPEN, FILLED, CANCELED = OrderStatus.OPEN, OrderStatus.FILLED, OrderStatus.CANCELED


# -- signing in


@pytest.mark.parametrize(
    "key, words",
    [
        (dataclasses.replace(DEFAULT_KEY, withdraws=True), "withdrawals"),
        (dataclasses.replace(DEFAULT_KEY, transfers=True), "internal transfers"),
        (dataclasses.replace(DEFAULT_KEY, trades=False), "may not trade"),
        (dataclasses.replace(DEFAULT_KEY, secret="another"), "refuses the API key: .*-1022"),
        (ApiKey(made_key("somebody"), secret="else"), "refuses the API key: .*(-2008|-2015)"),
    ],
)
def test_a_key_that_may_do_more_than_trade_or_less_is_refused(key: ApiKey, words: str) -> None:
    async def scene() -> None:
        async with venue(Exchange(keys=[key])) as front, account(front, start=False) as live:
            with pytest.raises(ConfigError, match=words) as caught:
                await live.exchange.start()
            assert caught.value.hint
            assert not live.exchange.is_ready() and live.exchange.status == "degraded"
            assert front.exchange.venue.stream.subscribers == 0

    play(scene)


def test_a_key_without_an_address_is_used_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        made = Exchange(keys=[dataclasses.replace(DEFAULT_KEY, ip_bound=False)])
        with caplog.at_level(logging.WARNING):
            async with venue(made) as front, account(front) as live:
                assert "not bound to an IP address" in live.exchange.warnings[0]
                assert live.exchange.is_ready()
        assert "not bound to an IP address" in caplog.text

    play(scene)


def test_the_test_network_has_no_question_about_keys() -> None:
    async def scene() -> None:
        async with venue(Exchange(testnet=True)) as front, account(front, testnet=True) as live:
            assert live.exchange.is_ready()
            assert not front.record.of("apiRestrictions")

    play(scene)


def test_a_start_that_fails_can_be_tried_again() -> None:
    async def scene() -> None:
        async with venue() as front, account(front, start=False) as live:
            assert live.exchange.detail == "not started"
            fault = front.exchange.inject(named("503_unknown_without_effect", path="apiRestrictions"))
            with pytest.raises(UnavailableError):
                await live.exchange.start()
            assert "apiRestrictions" in live.exchange.detail
            front.exchange.mend(fault)
            await live.exchange.start()
            await live.until(lambda: live.streams)
            assert (live.exchange.status, live.exchange.detail) == ("ok", "")

    play(scene)


def test_an_ed25519_key_signs_for_rest_and_stream() -> None:
    async def scene() -> None:
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        key = ApiKey(made_key("ed"), public=public)
        made = Exchange({"USDT": "10000"}, keys=[key])
        async with venue(made) as front, account(front, key=(key.key, pem)) as live:
            order = live.submit()
            await live.until(lambda: FILLED in live.statuses(order))
            assert live.streams == [True]

    play(scene)


def test_feed_and_account_share_one_listing_and_one_budget() -> None:
    async def scene() -> None:
        async with venue() as front, account(front, start=False) as live:
            market = MarketManager(
                clock=live.clock, cache=MemoryCache(), base_interval=None, on_event=lambda event: None,
                candle_feed=False, lookback=10,
            )  # fmt: skip
            feed = BinanceFeed(market=market, clock=live.clock, site=live.site)
            await asyncio.gather(feed.start(), live.exchange.start())
            assert front.record.paths()["/api/v3/exchangeInfo"] == 1
            assert feed.instruments() == live.exchange.instruments()
            assert feed.governor is live.site.governor
            await feed.close()
            assert await live.exchange.find_open_orders(BTC) == []  # the site is not the feed's to close
            await market.close()

    play(scene)


def test_production_urls_are_left_as_they_are() -> None:
    async def scene() -> None:
        authority = ThrowAwayCA()
        async with venue(tls=authority.server_context()) as front:
            resolver = LoopbackResolver(front.port)
            context = authority.client_context()
            async with account(front, resolver=resolver, ssl_context=context) as live:
                order = live.submit()
                await live.until(lambda: FILLED in live.statuses(order))
            assert set(resolver.asked) == {"api.binance.com", "ws-api.binance.com"}

    play(scene)


# -- what comes by itself


def test_what_others_do_on_the_account_is_told_apart() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live, account(front) as other:
            theirs = other.submit(kind="limit", price="50000", client_order_id="web_1")
            await live.until(lambda: live.foreign)
            row = live.foreign[0]
            assert (row.client_order_id, row.status, row.price) == (theirs, OPEN, Decimal(50_000))
            ours = live.submit(kind="limit", price="50001")
            await live.settled(ours)
            live.exchange.know({theirs: BTC})
            other.exchange.know({ours: BTC})
            other.exchange.cancel(ours)  # by hand, in the exchange's own window
            await live.until(lambda: CANCELED in live.statuses(ours))
            assert {row.client_order_id for row in live.foreign} == {theirs}
            front.exchange.venue.deposit("USDT", "500")
            front.exchange.venue.deposit("USDT", "-200")
            await live.until(lambda: len(live.transfers) == 2)
            assert live.transfers == [("USDT", Decimal(500)), ("USDT", Decimal(-200))]

    play(scene)


def test_balances_follow_the_stream_and_the_questions() -> None:
    async def scene() -> None:
        async with venue(Exchange({"USDT": "1000", "BTC": "1"})) as front, account(front) as live:
            assert live.exchange.balances()["USDT"].total == 1000
            order = live.submit(kind="limit", price="50000")
            await live.settled(order)
            await live.until(lambda: live.exchange.balances()["USDT"].free == 500)
            assert live.exchange.balances()["USDT"].total == 1000
            found = await live.exchange.find_balances()
            assert (found["USDT"].free, found["USDT"].locked) == (500, 500)
            assert set(found) == {"USDT", "BTC"}

    play(scene)


def test_an_answer_older_than_an_event_does_not_take_its_balances_back() -> None:
    async def scene() -> None:
        async with venue(Exchange({"USDT": "1000", "BTC": "1"})) as front, account(front) as live:
            await live.settled(live.submit(kind="limit", price="50000"))
            await live.until(lambda: live.exchange.balances()["USDT"].free == 500)
            front.exchange.inject(named("balance_lag"))
            found = await live.exchange.find_balances()
            assert found["USDT"].free == 1000  # of before the order: evidence as it is
            assert live.exchange.balances()["USDT"].free == 500
            front.exchange.venue.mend_all()
            found = await live.exchange.find_balances()
            assert found["USDT"].free == live.exchange.balances()["USDT"].free == 500

    play(scene)


@pytest.mark.parametrize("how", ["fin", "rst", "close"])
def test_a_cut_stream_is_told_and_comes_back(how: str) -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            front.exchange.inject(named("stream_cut", how=how, times=1))
            await live.until(lambda: live.streams[:3] == [True, False, True])
            front.exchange.venue.mend_all()
            await live.until(lambda: live.exchange.stream_is_up)
            order = live.submit(kind="limit", price="50000")
            await live.settled(order)
            front.exchange.venue.fill(order)
            await live.until(lambda: FILLED in live.statuses(order))

    play(scene)


def test_a_stream_that_the_exchange_terminates_is_subscribed_to_again() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            front.exchange.inject(named("stream_end", times=1))
            await live.until(lambda: live.streams[:3] == [True, False, True])
            front.exchange.venue.mend_all()

    play(scene)


def test_a_listener_that_fails_does_not_end_the_stream() -> None:
    async def scene() -> None:
        async with venue() as front, account(front, start=False) as live:
            told: list[bool] = []

            def fails_once(up: bool) -> None:
                told.append(up)
                if len(told) == 1:
                    raise LookupError("a mistake of ours")

            live.on_stream = fails_once  # type: ignore[method-assign]
            await live.exchange.start()
            await live.until(lambda: told)
            await live.until(lambda: "a mistake of ours" in live.exchange.detail)
            await live.until(lambda: told == [True, True])
            assert (live.exchange.stream_is_up, live.exchange.detail) == (True, "")
            order = live.submit(kind="limit", price="50000")
            await live.settled(order)
            front.exchange.venue.fill(order)
            await live.until(lambda: FILLED in live.statuses(order))

    play(scene)


def test_a_half_open_stream_is_found_out_by_asking() -> None:
    async def scene() -> None:
        rules = dataclasses.replace(FAST, reply_s=0.2)
        async with venue() as front, account(front, rules=rules) as live:
            live.exchange._stream._probe_s = 0.05
            front.exchange.inject(named("stream_half_open", times=1))
            await live.until(lambda: False in live.streams)
            assert live.streams[:2] == [True, False]
            front.exchange.venue.mend_all()
            await live.until(lambda: live.exchange.stream_is_up)

    play(scene)


def test_a_stream_is_replaced_before_its_life_ends_and_misses_nothing() -> None:
    async def scene() -> None:
        rules = dataclasses.replace(FAST, lifetime_s=0.5, overlap_s=0.3)
        async with venue() as front, account(front, rules=rules) as live:
            orders = []
            while len(live.streams) < 3:
                orders.append(live.submit(kind="limit", price="50000", quantity="0.001"))
                await live.settled(orders[-1])
                front.exchange.venue.fill(orders[-1])
                await asyncio.sleep(0.02)
            await live.until(lambda: all(FILLED in live.statuses(order) for order in orders))
            assert set(live.streams) == {True}  # never down
            assert front.exchange.venue.stream.subscribers == 1

    play(scene)


def test_a_server_that_goes_is_left_before_it_is_gone() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            front.inject(Fault(kind="shutdown", delay_ms=400))
            await live.until(lambda: len(live.streams) == 2)
            assert live.streams == [True, True]

    play(scene)


def test_a_subscription_that_is_refused_is_tried_again_with_pauses() -> None:
    async def scene() -> None:
        async with venue() as front, account(front, start=False) as live:
            fault = front.exchange.inject(ExchangeFault(kind="stream_refuse"))
            await live.exchange.start()
            await live.until(lambda: live.exchange.statistics()["stream"]["failures"] >= 2)
            assert live.exchange.is_ready()  # orders go without the stream; reconciliation is told that it is down
            assert "user stream: " in live.exchange.detail and live.streams == []
            front.exchange.mend(fault)
            await live.until(lambda: live.streams == [True])

    play(scene)


@pytest.mark.parametrize("name", ["events_twice", "events_reordered"])
def test_events_that_come_twice_or_in_another_order_are_told_as_they_come(name: str) -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            changes = {"delay_ms": 10} if name == "events_twice" else {"times": 1, "count": 1}
            front.exchange.inject(named(name, event="executionReport", **changes))
            order = live.submit()  # the answer, NEW, TRADE; and the latter two again
            await live.until(lambda: len(live.told(order)) == (5 if name == "events_twice" else 3))
            assert len(live.trades(order)) == 1

    play(scene)


def test_garbage_on_the_stream_is_counted_and_ends_nothing() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            publish = front.exchange.venue.stream.publish
            bad: list[dict[str, Any]] = [{"e": "executionReport", "s": "BTCUSDT"}, {"e": "balanceUpdate", "a": "X"}]
            for event in bad:
                publish(event)
            publish({"e": "somethingNew", "x": 1})
            order = live.submit()
            await live.until(lambda: len(live.told(order)) >= 3)
            assert live.exchange.statistics()["stream"]["garbage"] == 2
            assert live.streams == [True]

    play(scene)


# -- kept fresh


def test_a_wrong_clock_is_measured_again() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            front.exchange.inject(named("-1021", times=1, method="POST"))
            refused = await live.settled(live.submit())
            assert refused.reason.startswith("turned away: -1021")
            asked = len(front.record.of("/api/v3/time"))
            await live.until(lambda: len(front.record.of("/api/v3/time")) == asked + 3)
            assert (await live.settled(live.submit())).status is not OrderStatus.REJECTED

    play(scene)


def test_a_step_of_our_clock_is_told_and_changes_no_time_stamp() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            straight = live.clock.now_ms
            live.clock.now_ms = lambda: straight() + 60_000  # type: ignore[method-assign]
            await live.until(lambda: live.steps)
            assert (await live.settled(live.submit())).status is not OrderStatus.REJECTED

    play(scene)


def test_a_pair_that_is_gone_is_known_as_delisted() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            live.site.attended.update({BTC, "BNB/USDT"})
            del front.market.listings["BNBUSDT"], front.exchange.venue.rows["BNBUSDT"]
            for _ in range(2):
                await live.site.refresh_listing()
                statuses = {symbol: row.status for symbol, row in live.exchange.instruments().items()}
                assert statuses == {BTC: "TRADING", "BNB/USDT": "DELISTED"}
            assert front.record.of("/api/v3/exchangeInfo")[-1].parameters == {"symbols": '["BTCUSDT"]'}

    play(scene)


def test_orders_carry_the_exchanges_time() -> None:
    async def scene() -> None:
        made = Exchange({"USDT": "10000"}, faults=[named("clock_ahead", delay_ms=30_000)])
        async with venue(made) as front, account(front) as live:
            order = live.submit()
            await live.until(lambda: FILLED in live.statuses(order))
            assert live.site.time.offset_ms is not None
            assert abs(live.site.time.offset_ms - 30_000) < 1_000

    play(scene)


def test_statuses_and_filters_are_loaded_again_for_what_is_traded() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            before = live.exchange.instruments()[BTC]
            await live.settled(live.submit(kind="limit", price="50000"))
            front.exchange.inject(named("halt", symbol="BTCUSDT"))
            front.exchange.inject(ExchangeFault(kind="filters", symbol="BTCUSDT", filters={
                "LOT_SIZE": {"stepSize": "0.01000000"}}))  # fmt: skip
            await live.site.refresh_listing()
            after = live.exchange.instruments()[BTC]
            assert (before.status, after.status) == ("TRADING", "HALT")
            assert after.step == Decimal("0.01") != before.step
            assert front.record.of("/api/v3/exchangeInfo")[-1].parameters == {"symbols": '["BTCUSDT"]'}
            assert live.exchange.instruments()["BNB/USDT"].status == "TRADING"

    play(scene)


def test_an_order_refused_by_a_rule_makes_the_listing_doubted_and_a_look_settles_it() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            assert (await live.settled(live.submit(kind="limit", price="50000"))).status is OrderStatus.OPEN
            live.site.attended.add("BNB/USDT")
            assert live.site.unsettled() == set()
            filters = {"PRICE_FILTER": {"tickSize": "100.00000000"}}
            fault = front.exchange.inject(ExchangeFault(kind="filters", symbol="BTCUSDT", filters=filters))
            assert (await live.settled(live.submit(kind="limit", price="50010"))).status is OrderStatus.REJECTED
            assert live.site.unsettled() == {BTC}
            await live.site.refresh_listing(live.site.unsettled())
            assert live.exchange.instruments()[BTC].tick == Decimal(100)
            assert front.record.of("/api/v3/exchangeInfo")[-1].parameters == {"symbols": '["BTCUSDT"]'}
            assert live.site.unsettled() == set()
            front.exchange.mend(fault)
            halt = front.exchange.inject(named("halt", symbol="BTCUSDT"))
            assert (await live.settled(live.submit(kind="limit", price="50000"))).reason.endswith("Market is closed.")
            for _ in range(2):
                await live.site.refresh_listing(live.site.unsettled())
                assert live.site.unsettled() == {BTC}, "as long as it does not trade"
            front.exchange.mend(halt)
            await live.site.refresh_listing(live.site.unsettled())
            assert live.site.unsettled() == set()

    play(scene)


def test_what_a_pair_can_do_is_known() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            able = live.exchange.capabilities(BTC)
            assert {OrderType.STOP_LOSS_LIMIT, OrderType.LIMIT_MAKER, OrderType.MARKET} <= able.order_types
            assert able.pairs and able.stops == 5
            assert live.exchange.capabilities("DOGE/USDT").order_types == frozenset()
            with pytest.raises(QueryFailedError, match="DOGE/USDT"):
                await live.exchange.find_order("DOGE/USDT", "L-7-1")

    play(scene)


def test_nothing_is_left_behind() -> None:
    async def scene() -> None:
        async with venue() as front:
            live = LiveAccount(front)
            await live.exchange.start()
            await live.until(lambda: live.streams)
            await live.settled(live.submit())
            await live.close()
            await live.close()
            names = {task.get_name() for task in asyncio.all_tasks()} & {"user stream", "exchange upkeep"}
            assert names == set()

    play(scene)


def test_a_transfer_that_is_told_twice_counts_once() -> None:
    async def script() -> None:
        async with venue() as front, account(front) as live:
            front.exchange.inject(named("events_twice", event="balanceUpdate"))
            front.exchange.venue.deposit("USDT", "500")
            await live.until(lambda: front.exchange.venue.stream.delivered >= 3)  # with the balances
            front.exchange.mend_all()
            front.exchange.venue.deposit("USDT", "7")
            await live.until(lambda: len(live.transfers) == 2)
            assert live.transfers == [("USDT", Decimal(500)), ("USDT", Decimal(7))]

    play(script)
