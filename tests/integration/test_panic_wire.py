"""What botctl panic sells where one order may not have it all: as many orders as it takes, a row each."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from botd.domain.clock import WallClock
from botd.domain.errors import UnavailableError
from botd.domain.order import Order, OrderStatus, OrderType, Side
from botd.domain.position import Position
from botd.exchange.ban_memory import BanMemory
from botd.exchange.binance.order_desk import OrderDesk
from botd.exchange.binance.questions import Questions
from botd.exchange.binance.signing import make_signer
from botd.exchange.binance.site import Site
from botd.exchange.governor import Governor
from botd.execution.client_ids import client_order_id
from botd.panic import Books, Panic
from tests.fakes.binance.exchange import DEFAULT_KEY, ExchangeFault
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_account import BTC, play, venue


@pytest.mark.parametrize(
    ("held", "free", "sold"),
    [
        ("0.9", "0.9", ["0.4", "0.4", "0.1"]),
        ("0.8", "0.8", ["0.4", "0.4"]),
        ("0.80000001", "1", ["0.4", "0.4"]),  # dust is left
        ("0.3", "1", ["0.3"]),
    ],
)
def test_what_one_order_may_not_have_is_sold_by_several(held: str, free: str, sold: list[str]) -> None:
    async def scene() -> None:
        made = Exchange({"USDT": "0", "BTC": free})
        async with venue(made) as front:
            made.inject(ExchangeFault(kind="filters", filters={"MARKET_LOT_SIZE": {"maxQty": "0.4"}}))
            clock = WallClock()
            site = Site(clock, rest=front.rest_url, ws_api=front.ws_url)
            signer = make_signer(DEFAULT_KEY.key, DEFAULT_KEY.secret)
            position = Position(bot=7, symbol=BTC, quantity=Decimal(held))
            books = Books(instance="ABCDE", held=[position])
            try:
                panic = Panic(site, Questions(site, signer), clock, books, 10.0)
                found = await panic.run(True, lambda **hooks: OrderDesk(site, signer, clock=clock, **hooks))
            finally:
                await site.close()
            trades: dict[int, Decimal] = {}
            for trade in made.books.trades:
                trades[trade.order_id] = trades.get(trade.order_id, Decimal(0)) + trade.quantity
            assert sorted(trades.values(), reverse=True) == [Decimal(each) for each in sold]
            results = [row["result"] for row in found["rows"]]
            assert found["done"] and results[: len(sold)] == ["sold"] * len(sold)
            assert set(results[len(sold) :]) <= {"dust"}

    play(scene)


def test_an_exchange_out_of_reach_is_told_with_what_is_left_to_do() -> None:
    async def scene() -> None:
        clock = WallClock()
        site = Site(clock, rest="http://127.0.0.1:9", ws_api="ws://127.0.0.1:9")
        signer = make_signer(DEFAULT_KEY.key, DEFAULT_KEY.secret)
        panic = Panic(site, Questions(site, signer), clock, Books(instance="ABCDE"), 1.0)
        with pytest.raises(UnavailableError, match=r"was not reached for 1 s: .*no connection") as caught:
            await panic.run(False, lambda **hooks: OrderDesk(site, signer, clock=clock, **hooks))
        assert "run it again, or cancel at the exchange's own site" in caught.value.hint
        await site.close()

    asyncio.run(scene())


def test_a_purchase_that_nobody_can_ask_about_has_a_row_and_the_rest_is_sold() -> None:
    async def scene() -> None:
        made = Exchange({"USDT": "0", "BTC": "0.3"})
        async with venue(made) as front:
            made.inject(
                ExchangeFault(kind="error", method="GET", path="/api/v3/order", status=400, code=-1102, times=1)
            )
            clock = WallClock()
            site = Site(clock, rest=front.rest_url, ws_api=front.ws_url)
            signer = make_signer(DEFAULT_KEY.key, DEFAULT_KEY.secret)
            bought = Order(
                client_order_id=client_order_id("live", "ABCDE", 7, 3), bot=7, symbol=BTC, interval="", side=Side.BUY,
                type=OrderType.MARKET, quantity=Decimal("0.1"), status=OrderStatus.UNKNOWN,
            )  # fmt: skip
            books = Books(
                instance="ABCDE", held=[Position(bot=7, symbol=BTC, quantity=Decimal("0.3"))], orders=[bought]
            )
            panic = Panic(site, Questions(site, signer), clock, books, 1.0)
            found = await panic.run(True, lambda **hooks: OrderDesk(site, signer, clock=clock, **hooks))
            await site.close()
            told = {row["result"]: row["detail"] for row in found["rows"]}
            assert "what it moved is not known" in told["unknown"] and "sold" in told and not found["done"]

    play(scene)


def test_a_ban_that_botd_was_told_of_is_kept() -> None:
    async def scene() -> None:
        made = Exchange({"USDT": "0"})
        async with venue(made) as front:
            clock = WallClock()
            site = Site(clock, rest=front.rest_url, ws_api=front.ws_url)
            signer = make_signer(DEFAULT_KEY.key, DEFAULT_KEY.secret)
            banned = Governor(clock)
            banned.hold(90.0, "418: this address is banned")
            books = Books(instance="ABCDE", bans=BanMemory(banned, clock).drain_changes())  # type: ignore[arg-type]
            panic = Panic(site, Questions(site, signer), clock, books, 1.0)
            with pytest.raises(UnavailableError, match=r"418: this address is banned, 8\d s left"):
                await panic.run(False, lambda **hooks: OrderDesk(site, signer, clock=clock, **hooks))
            await site.close()
            assert not front.record.requests

    play(scene)
