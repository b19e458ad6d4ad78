"""The REST client: answers become values, bad ones errors that say what, and the exchange's time is counted on."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from market_world import MINUTE, T0, real_file

from botd.domain.clock import VirtualClock
from botd.domain.errors import NotFoundError
from botd.exchange.binance.client import RestError
from botd.exchange.binance.site import Site
from botd.market.binance.rest import BinanceRest

KLINE = [T0, "1.5", "2.5", "0.5", "2.0", "10.25", T0 + MINUTE - 1, "20.1", 7, "1", "2", "0"]


def with_server(answer: Callable[[web.Request], web.Response], scene: Callable[[BinanceRest], Any]) -> Any:
    async def body() -> Any:
        async def answering(request: web.Request) -> web.Response:
            return answer(request)

        app = web.Application()
        app.router.add_get("/{path:.*}", answering)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        clock = VirtualClock(T0)
        rest = BinanceRest(Site(clock, rest=f"http://127.0.0.1:{port}", timeout_s=2.0))
        rest.test_clock = clock  # type: ignore[attr-defined]
        try:
            return await scene(rest)
        finally:
            await rest.site.close()
            await runner.cleanup()

    return asyncio.run(asyncio.wait_for(body(), 10))


def reply(data: Any, status: int = 200, **headers: str) -> web.Response:
    text = data if isinstance(data, str) else json.dumps(data)
    return web.Response(text=text, status=status, headers=headers)


def test_klines_are_rows_in_order_with_their_trades() -> None:
    later = [T0 + MINUTE, *KLINE[1:]]
    found = with_server(lambda _: reply([later, KLINE]), lambda rest: rest.klines("BTCUSDT", "1m", T0, 10))
    assert [row.candle.open_time for row in found.rows] == [T0, T0 + MINUTE]
    assert (found.rows[0].candle.volume, found.rows[0].trades) == (10.25, 7)
    assert found.asked_ms == T0


@pytest.mark.parametrize(
    "body",
    ["<html>maintenance</html>", "[[1,2", "{}", '[["x"]]', '[[1,"a","2","3","4","5",6,"7",8]]', "", "null", "[[]]"],
)
def test_an_answer_that_is_none_is_an_error_that_says_so(body: str) -> None:
    async def scene(rest: BinanceRest) -> None:
        with pytest.raises(RestError, match="klines"):
            await rest.klines("BTCUSDT", "1m", T0, 10)
        assert rest.counts["failures"] == 1

    with_server(lambda _: reply(body), scene)


@pytest.mark.parametrize("status", [400, 403, 418, 429, 500, 503])
def test_a_refusal_names_status_and_code(status: int) -> None:
    async def scene(rest: BinanceRest) -> None:
        with pytest.raises(RestError) as caught:
            await rest.klines("BTCUSDT", "1m", T0, 10)
        assert (caught.value.status, caught.value.exchange_code) == (status, -1003)
        assert (rest.governor.blocked_s > 0) == (status in (403, 418, 429))

    with_server(lambda _: reply({"code": -1003, "msg": "too much"}, status), scene)


def test_a_symbol_that_the_exchange_has_not_is_not_found() -> None:
    async def scene(rest: BinanceRest) -> None:
        with pytest.raises(NotFoundError, match="XXX"):
            await rest.klines("XXX", "1m", T0, 10)

    with_server(lambda _: reply({"code": -1121, "msg": "Invalid symbol."}, 400), scene)


def test_history_is_paged_until_the_present() -> None:
    def answer(request: web.Request) -> web.Response:
        start, limit = int(request.query["startTime"]), int(request.query["limit"])
        times = [start + i * MINUTE for i in range(limit) if start + i * MINUTE <= T0]
        return reply([[time, *KLINE[1:]] for time in times])

    found = with_server(answer, lambda rest: rest.history("BTCUSDT", "1m", 2500))
    assert [row.candle.open_time for row in found.rows] == [T0 - i * MINUTE for i in range(2500, -1, -1)]


def test_many_quotes_are_one_request() -> None:
    def answer(request: web.Request) -> web.Response:
        names = json.loads(request.query["symbols"])
        return reply([{"symbol": name, "bidPrice": "1.0", "askPrice": "1.1", "bidQty": "3"} for name in names])

    found = with_server(answer, lambda rest: rest.book_tickers(["AUSDT", "BUSDT"]))
    assert [(row.symbol, row.bid_price, row.ask_price) for row in found] == [("AUSDT", 1.0, 1.1), ("BUSDT", 1.0, 1.1)]


def test_the_exchanges_time_goes_on_with_monotonic_seconds() -> None:
    times = iter([T0 + 7_000, T0 + 7_500, T0 + 99_000])

    async def scene(rest: BinanceRest) -> None:
        clock = rest.test_clock  # type: ignore[attr-defined]
        assert rest.server_ms() == T0
        assert await rest.site.measure_time() == 7_500  # the median: one odd answer moves nothing
        clock.advance(T0 + 1_000)
        assert rest.server_ms() == T0 + 8_500
        assert rest.site.time.notice_step() == 0

        class Stepped(VirtualClock):
            def now_ms(self) -> int:
                return clock.now_ms() + 60_000

            def monotonic(self) -> float:
                return clock.monotonic()

        rest.site.time._clock = Stepped()
        assert rest.server_ms() == T0 + 8_500
        assert rest.site.time.notice_step() == 60_000
        assert (rest.site.time.notice_step(), rest.site.time.offset_ms) == (0, -52_500)

    with_server(lambda _: reply({"serverTime": next(times)}), scene)


def test_waiting_for_a_permit_does_not_move_the_exchanges_time() -> None:
    seen: list[VirtualClock] = []

    async def scene(rest: BinanceRest) -> None:
        clock = rest.test_clock  # type: ignore[attr-defined]
        seen.append(clock)
        rest.site.governor.hold(10.0, "429")
        measuring = asyncio.create_task(rest.site.measure_time())
        await asyncio.sleep(0)
        clock.advance(T0 + 10_500)
        assert await measuring == 7_000 and abs(rest.server_ms() - (T0 + 17_500)) <= 1

    with_server(lambda _: reply({"serverTime": seen[0].now_ms() + 7_000}), scene)


def test_recorded_instruments_have_their_grids() -> None:
    recorded = real_file("exchangeinfo/spot-2025-08-07-25symbols.json").read_text()
    found = with_server(lambda _: reply(recorded), lambda rest: rest.instruments())
    name, btc = found["BTC/USDT"]
    assert name == "BTCUSDT"
    assert (btc.tick, btc.step, btc.min_notional) == (Decimal("0.01"), Decimal("0.00001"), Decimal(5))
    assert (str(btc.tick), btc.max_orders, btc.max_algo_orders, btc.status) == ("0.01", 200, 5, "TRADING")


def test_a_whole_exchange_of_recorded_instruments_is_read() -> None:
    recorded = gzip.decompress(real_file("exchangeinfo/spot-2021-10-12-full.json.gz").read_bytes()).decode()
    found = with_server(lambda _: reply(recorded), lambda rest: rest.instruments())
    assert len(found) > 1000
    assert all(instrument.tick >= 0 and instrument.step >= 0 for _, instrument in found.values())
