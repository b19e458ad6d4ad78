"""Orders trade with the market that the front plays: random candles, and a recorded capture."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.fakes.binance import BinanceFront, Exchange, ManualClock, ReplayMarket
from tests.fakes.binance.exchange import Call
from tests.fakes.binance.listings import data_directory
from tests.fakes.exchange_case import order, trading

LIMIT = order("BUY", "LIMIT", "0.01", price="50000")
DATA = data_directory() or Path("/nonexistent")


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 20)

    asyncio.run(bounded())


def test_resting_orders_meet_the_fronts_own_market() -> None:
    async def test() -> None:
        async with trading(prices=False) as (exchange, trader):
            book = await trader.session.get(trader.front.rest_url + "/api/v3/ticker/bookTicker?symbol=BTCUSDT")
            bid = float((await book.json())["bidPrice"])
            near = f"{bid - 20:.2f}"
            placed = await trader.get("POST", "order", **(LIMIT | {"price": near}))
            stop = f"{bid - 30:.2f}"
            await trader.get("POST", "order", **order("SELL", "STOP_LOSS", "0.01", stopPrice=stop))
            assert len(exchange.books.open_orders()) == 2
            for _ in range(60):
                await trader.front.advance(60_000)
                if not exchange.books.open_orders():
                    break
            assert [found.status for found in exchange.books.orders.values()] == ["FILLED", "FILLED"]
            [trade, sale] = exchange.books.trades
            assert (trade.order_id, f"{trade.price:.2f}", trade.maker) == (placed["orderId"], near, True)
            market = trader.front.market
            low = min(bar.low for bar in market.klines("BTCUSDT", "1m", trader.front.clock.now_ms(), limit=61))
            assert low / 100 <= float(stop) and not sale.maker

    run(test)


def test_with_a_share_of_the_volume_an_order_fills_in_the_parts_that_were_traded() -> None:
    async def test() -> None:
        exchange = Exchange({"USDT": "1000000"}, volume="0.5")
        async with trading(exchange, prices=False) as (_, trader):
            market, start = trader.front.market, trader.front.clock.now_ms()
            price = market.last_price("BTCUSDT", start) - 2000  # ticks of a cent
            await trader.get("POST", "order", **(LIMIT | {"quantity": "3", "price": f"{price / 100:.2f}"}))
            for _ in range(120):
                await trader.front.advance(60_000)
            [found] = exchange.books.orders.values()
            reached = [
                print_
                for print_ in market.prints("BTCUSDT", trader.front.clock.now_ms(), start + 1, limit=1_000_000)
                if print_.price <= price
            ]
            assert found.status == "FILLED" and len(found.trades) > 3 and all(trade.maker for trade in found.trades)
            offered = Decimal(sum(print_.quantity for print_ in reached)) / 100_000 / 2
            assert found.executed == 3 <= offered
            assert {trade.time_ms // 100 for trade in found.trades} <= {-(-print_.time_ms // 100) for print_ in reached}

    run(test)


@pytest.mark.skipif(not DATA.is_dir(), reason="recorded data is absent: set BOTD_TEST_DATA to its directory")
def test_orders_trade_with_a_recorded_capture_at_prices_that_were_there() -> None:
    async def test() -> None:
        market = ReplayMarket(DATA / "ws_raw" / "hft_spot_btcusdt_20240808.gz")
        begin = market.start_ms + 30_000
        exchange = Exchange({"USDT": "1000000", "BTC": "10"}, volume="1")
        front = await BinanceFront(market, clock=ManualClock(begin), exchange=exchange).start()
        listing, quote = market.listings["BTCUSDT"], market.quote("BTCUSDT", begin)
        unit = Decimal(10) ** -listing.price_decimals
        resting = order("BUY", "LIMIT", "0.5", price=str(quote.bid * unit))
        for given in (resting, order("BUY", "MARKET", "0.001")):
            call = Call("POST", "/api/v3/order", {**given, "timestamp": str(begin)}, exchange.keys[0].key)
            await exchange.outcome(call)
        await front.advance(120_000)
        await front.stop()
        [limit, taken] = exchange.books.orders.values()
        assert taken.trades[0].price == quote.ask * unit
        assert len(limit.trades) > 1 and {trade.price for trade in limit.trades} == {limit.price}
        traded = sum(each.quantity for each in market.prints_of("BTCUSDT")
                     if begin < each.time_ms <= begin + 120_000 and each.price <= quote.bid)  # fmt: skip
        assert limit.executed <= traded * Decimal(10) ** -listing.quantity_decimals
        exchange.venue.check()

    run(test)
