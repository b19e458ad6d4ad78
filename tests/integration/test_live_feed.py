"""The live feed against the Binance front, over real sockets: complete, or it says that it is not; and by itself again.

The clock is the test's; at the end of every scene no request was made while the exchange had said to wait.
"""

from __future__ import annotations

import asyncio
import ssl

import pytest

from botd.domain.clock import WallClock
from botd.domain.errors import NotFoundError, UnavailableError
from botd.exchange.binance.stream_rules import StreamRules
from botd.market.binance.binance_feed import BinanceFeed
from botd.market.cache.cache import MemoryCache
from botd.market.manager import MarketManager
from tests.fakes.binance import BinanceFront, Fault, Pace
from tests.fakes.binance.tls import LoopbackResolver, ThrowAwayCA
from tests.fakes.live_bench import MINUTE, START, LiveBench, Reader, with_bench

BTC, ETH = "BTC/USDT", "ETH/USDT"
NEXT = START // MINUTE * MINUTE + MINUTE
"""Open time of the first candle that opens after the start."""
QUIET = Pace(kline_ms=0, book_ms=5_000.0)


def lost(*opens: int, symbol: str = "*") -> Fault:
    return Fault(kind="missing", stream="*@kline_1m", symbol=symbol, opens=opens)


# -- the plain life


def test_a_lane_gets_its_history_and_then_each_candle_once() -> None:
    async def scene(bench: LiveBench) -> None:
        reader = bench.read()
        bench.read(BTC, "5m")
        bench.read(ETH)
        await bench.ready()
        assert len(bench.manager.window(BTC, "1m", 1000)) == 100
        await bench.play(330)
        assert len(reader.candles) == 5
        for lane in ((BTC, "1m"), (BTC, "5m"), (ETH, "1m")):
            bench.assert_complete(*lane)
        assert bench.front.record.paths()["/api/v3/exchangeInfo"] == 2  # all of it, and after five minutes BTC and ETH
        assert not any(reader.denied) and not bench.opens_denied()
        assert bench.feed.status == "ok", bench.feed.detail
        row = bench.feed.statistics()["symbols"][BTC]
        assert (row["state"], row["gaps"], row["revised"]) == ("LIVE", 0, 0)

    with_bench(LiveBench("BTCUSDT", "ETHUSDT"), scene)


def test_lanes_come_and_go_while_it_runs() -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        await bench.ready()
        bench.read(ETH)
        other = bench.manager.subscribe(ETH, "5m", Reader(bool), 30)
        await bench.ready()
        await bench.play(130)
        bench.assert_complete(ETH)
        other.close()
        await bench.play(2)
        assert set(bench.feed.states()) == {(BTC, "1m"), (ETH, "1m")}
        assert len(bench.front.record.connections) == 1
        with pytest.raises(NotFoundError):
            await bench.feed.history("DOGE/BTC", "1m", 5)

    with_bench(LiveBench("BTCUSDT", "ETHUSDT", pace=QUIET), scene)


def test_many_bots_that_start_together_are_no_burst() -> None:
    """180 lanes of 60 symbols, three bots on each: one request a lane for history, spread over seconds."""
    symbols = [f"C{number:02d}USDT" for number in range(60)]

    async def scene(bench: LiveBench) -> None:
        for symbol in symbols:
            for interval in ("1m", "5m", "15m"):
                for _ in range(3):
                    bench.read(symbol.replace("USDT", "/USDT"), interval)
        begin = bench.clock.now_ms()
        await bench.ready()
        asked = bench.front.record.of("/klines")
        assert 180 <= len(asked) <= 260  # and first comparisons, where the stream was slower than the history
        assert bench.clock.now_ms() - begin < 30_000
        times = [seen.time_ms for seen in asked]
        assert max(sum(at <= other < at + 1000 for other in times) for at in times) <= 40
        assert max(seen.used for seen in bench.front.record.requests) < 1000
        assert len(bench.front.record.connections) == 1

    with_bench(LiveBench(*symbols, pace=QUIET), scene)


def test_a_start_that_fails_can_be_tried_again() -> None:
    async def scene() -> None:
        bench = LiveBench()
        await bench.start(begin=False)
        assert (bench.feed.status, bench.feed.detail) == ("degraded", "not started")
        await bench.front.stop()
        with pytest.raises(UnavailableError, match="exchangeInfo"):
            await bench.feed.start()
        assert "exchangeInfo" in bench.feed.detail
        await bench.front.start()
        await bench.feed.start()
        assert bench.feed.status == "ok"
        assert bench.feed.instruments()[BTC].min_notional == 5
        await bench.close()

    asyncio.run(scene())


def test_production_urls_are_left_as_they_are() -> None:
    async def scene() -> None:
        authority = ThrowAwayCA()
        front = await BinanceFront(["BTCUSDT"], tls=authority.server_context()).start()
        resolver = LoopbackResolver(front.port)
        clock = WallClock()
        market = MarketManager(
            clock=clock, cache=MemoryCache(), base_interval=None, on_event=lambda event: None, candle_feed=False
        )

        def feed(context: ssl.SSLContext) -> BinanceFeed:
            return BinanceFeed(market=market, clock=clock, ssl_context=context, resolver=resolver)

        wary = feed(ssl.create_default_context())
        with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            await wary.start()
        trusting = feed(authority.client_context())
        await trusting.start()
        assert BTC in trusting.instruments()
        assert set(resolver.asked) == {"api.binance.com"}
        await wary.close()
        await trusting.close()
        await front.stop()

    asyncio.run(scene())


# -- candles


def test_a_hole_is_filled_by_rest_before_bots_go_on() -> None:
    async def scene(bench: LiveBench) -> None:
        reader = bench.read()
        await bench.ready()
        await bench.play(210)
        bench.assert_complete()
        assert bench.feed.statistics()["symbols"][BTC]["by_rest"] >= 2
        assert not any(reader.denied)
        assert bench.topics("market.gap") == []

    with_bench(LiveBench(faults=(lost(NEXT, NEXT + MINUTE),), pace=QUIET), scene)


def test_a_hole_that_rest_cannot_fill_is_a_gap_until_it_can() -> None:
    async def scene(bench: LiveBench) -> None:
        reader = bench.read()
        await bench.ready()
        broken = bench.front.inject(Fault(kind="error", path="/klines"))
        await bench.until(lambda: bench.state() == "GAP", 190)
        assert bench.clock.now_ms() - (NEXT + 2 * MINUTE) < 7_000  # the next candle closed then
        assert bench.opens_denied()
        assert [event.data["missing"] for event in bench.topics("market.gap")] == [1]
        assert "BTC/USDT 1m GAP" in bench.manager.doubts(BTC)
        await bench.play(60)
        assert reader.candles[-1].open_time == NEXT + 2 * MINUTE  # bots hear of what comes, for their exits
        assert reader.denied[-2:] == [True, True]
        bench.front.mend(broken)
        await bench.until(lambda: bench.state() == "LIVE", 60)
        assert not bench.opens_denied()
        bench.assert_array()
        assert NEXT not in [candle.open_time for candle in reader.candles]  # it came too late to be delivered
        assert [event.data["candles"] for event in bench.topics("market.restored")] == [1]

    with_bench(LiveBench(faults=(lost(NEXT),), pace=QUIET), scene)


def test_a_revised_candle_is_an_event_and_the_array_is_right() -> None:
    async def scene(bench: LiveBench) -> None:
        reader = bench.read()
        await bench.ready()
        await bench.until(lambda: bench.topics("market.revised"), 150)
        assert [candle.open_time for candle in reader.candles].count(NEXT) == 1
        await bench.play(5)
        bench.assert_array()
        (event,) = bench.topics("market.revised")
        assert event.data["before"]["open_time"] == event.data["after"]["open_time"] == NEXT
        assert event.data["before"]["volume"] != event.data["after"]["volume"]

    wrong = Fault(kind="revised", opens=(NEXT,), how="again", delay_ms=9_000)
    with_bench(LiveBench(faults=(wrong,), pace=QUIET), scene)


def test_a_wrong_candle_that_nobody_corrects_is_found_by_the_audit() -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        await bench.ready()
        await bench.until(lambda: bench.topics("market.revised"), 660)
        bench.assert_array()

    with_bench(LiveBench(faults=(Fault(kind="revised", opens=(NEXT,)),), pace=QUIET), scene)


def test_minutes_without_trades_come_by_proof_of_rest_and_are_marked() -> None:
    async def scene(bench: LiveBench) -> None:
        reader = bench.read()
        await bench.ready()
        await bench.until(lambda: len(reader.candles) >= 4, 290)
        bench.assert_complete()
        still = [candle for candle in reader.candles if candle.volume == 0.0]
        assert [candle.open_time for candle in still] == [NEXT + MINUTE, NEXT + 2 * MINUTE]
        assert bench.feed.statistics()["symbols"][BTC]["synthetic"] == 2
        assert not bench.opens_denied()  # a quiet market is not a stale one

    still = Fault(kind="zero_trades", at_ms=NEXT + MINUTE - START, for_ms=2 * MINUTE)
    pace = Pace(kline_ms=0, book_ms=5_000.0, empty_closes=False)
    with_bench(LiveBench(faults=(still,), pace=pace), scene)


@pytest.mark.parametrize("kind", ["garbage", "truncated", "wrong_types", "reordered", "duplicated", "delayed"])
def test_bad_frames_cost_no_candle(kind: str) -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        await bench.ready()
        await bench.play(200)
        bench.assert_complete()
        assert bench.state() == "LIVE"

    bad = Fault(kind=kind, chance=0.6, every=kind in ("garbage", "truncated", "wrong_types"), delay_ms=20_000)
    with_bench(LiveBench(faults=(bad,), pace=QUIET), scene)


def test_answers_of_rest_that_lag_or_lack_rows_make_no_wrong_candle() -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        await bench.ready()
        bench.front.inject(Fault(kind="stale", path="/klines", delay_ms=20_000, for_ms=150_000))
        bench.front.inject(Fault(kind="rest_missing", chance=0.3, for_ms=150_000))
        bench.front.inject(Fault(kind="missing", stream="*@kline_1m", for_ms=150_000))
        await bench.play(150)
        await bench.until(lambda: bench.state() == "LIVE", 60)
        await bench.play(10)
        bench.assert_array()
        assert bench.topics("market.revised") == []

    with_bench(LiveBench(pace=QUIET), scene)


# -- streams that are silent, and connections that end


def test_one_silent_symbol_is_stale_and_the_others_are_not() -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        reader = bench.read(ETH)
        await bench.ready()
        silent = bench.front.inject(Fault(kind="silent", symbol="ETHUSDT"))
        took = await bench.until(lambda: bench.opens_denied(ETH), 30)
        assert took <= 12.0  # 10 s of silence, and REST has another price
        assert not bench.opens_denied(BTC)
        price = bench.manager.quote(ETH)
        await bench.play(90)
        assert bench.manager.quote(ETH) != price  # exits see what REST says
        assert reader.candles and bench.state(ETH) == "LIVE"  # candles by REST
        bench.assert_complete(ETH, behind=1)
        bench.assert_complete(BTC)
        bench.front.mend(silent)
        await bench.until(lambda: not bench.opens_denied(ETH), 10)
        assert bench.feed.statistics()["streams"]["overlaps"] >= 1  # its connection was distrusted

    with_bench(LiveBench("BTCUSDT", "ETHUSDT", pace=Pace(kline_ms=0, book_ms=900.0)), scene)


def test_a_quiet_market_is_not_stale_and_rest_may_fail_for_a_while() -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        bench.read(ETH)
        await bench.ready()
        await bench.play(30)
        assert not bench.opens_denied(ETH), bench.feed.statistics()["symbols"][ETH]
        bench.front.inject(Fault(kind="error", path="/ticker/bookTicker"))
        await bench.play(45)
        assert not bench.opens_denied(ETH), bench.feed.statistics()["symbols"][
            ETH
        ]  # BTC's ticks show that the connection lives
        await bench.play(40)
        assert bench.opens_denied(ETH), bench.feed.statistics()["symbols"][ETH]  # but not for ever

    silent = Fault(kind="silent", symbol="ETHUSDT", stream="*@bookTicker")
    bench = LiveBench("BTCUSDT", "ETHUSDT", faults=(silent,), pace=Pace(kline_ms=0, book_ms=1000.0))
    bench.front.quote("ETHUSDT", "3000.00", "3000.10")
    with_bench(bench, scene)


def test_a_half_open_connection_is_found_out_and_made_anew() -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        await bench.ready()
        bench.front.inject(Fault(kind="half_open"))
        assert await bench.until(bench.opens_denied, 30) <= 12.0
        await bench.until(lambda: not bench.opens_denied(), 100)
        await bench.play(70)
        bench.assert_complete()
        assert bench.state() == "LIVE"

    with_bench(LiveBench(), scene)


@pytest.mark.parametrize("how", ["fin", "rst", "close"])
def test_a_cut_costs_no_candle(how: str) -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        await bench.ready()
        for second in (35, 20, 39):
            bench.front.inject(Fault(kind="cut", how=how))
            await bench.play(second)
        await bench.play(30)
        bench.assert_complete()
        assert not bench.opens_denied() and bench.state() == "LIVE"
        assert bench.feed.statistics()["lost"] == 3

    with_bench(LiveBench(pace=QUIET), scene)


def test_an_announced_shutdown_costs_nothing() -> None:
    async def scene(bench: LiveBench) -> None:
        reader = bench.read()
        await bench.ready()
        await bench.play(33)
        bench.front.inject(Fault(kind="shutdown", delay_ms=8_000))  # it ends about when a candle closes
        await bench.play(140)
        bench.assert_complete()
        assert not any(reader.denied) and not bench.opens_denied()
        statistics = bench.feed.statistics()
        assert (statistics["lost"], statistics["streams"]["overlaps"]) == (0, 1)
        assert statistics["symbols"][BTC]["by_rest"] == 0

    with_bench(LiveBench(pace=Pace(kline_ms=0, book_ms=1000.0)), scene)


def test_the_end_of_a_connections_life_costs_nothing() -> None:
    """Binance ends every connection after 24 hours; here it is ten minutes, which botd knows."""

    async def scene(bench: LiveBench) -> None:
        reader = bench.read()
        await bench.ready()
        await bench.play(1260, step_ms=2_000)
        bench.assert_complete()
        assert not any(reader.denied) and not bench.opens_denied()
        statistics = bench.feed.statistics()
        assert (statistics["lost"], statistics["streams"]["reconnects"]) == (0, 0)
        assert statistics["streams"]["overlaps"] >= 2
        assert statistics["symbols"][BTC]["by_rest"] == 0

    life = StreamRules(open_s=2.0, lifetime_s=600.0, overlap_s=30.0)
    with_bench(LiveBench(pace=Pace(kline_ms=0, book_ms=1000.0), stream=life, life_s=600.0), scene)


def test_connections_that_end_without_a_word_after_their_life_cost_no_candle() -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        await bench.ready()
        await bench.play(620, step_ms=1_000)
        bench.assert_complete()
        assert bench.state() == "LIVE"
        assert bench.feed.statistics()["lost"] >= 2

    with_bench(LiveBench(pace=QUIET, life_s=200.0), scene)


def test_an_outage_of_ten_seconds() -> None:
    async def scene(bench: LiveBench) -> None:
        reader = bench.read()
        await bench.ready()
        await bench.play(33)  # the outage contains the close of a candle
        for kind in ("refuse", "error"):
            bench.front.inject(Fault(kind=kind, for_ms=10_000))
        bench.front.inject(Fault(kind="cut"))
        await bench.play(10)
        await bench.until(lambda: bench.feed.statistics()["streams"]["live"] == 2, 20)
        await bench.until(lambda: len(reader.candles) >= 2, 60)
        bench.assert_complete()
        assert bench.state() == "LIVE"
        await bench.until(lambda: not bench.opens_denied(), 10)

    with_bench(LiveBench(pace=QUIET), scene)


def test_an_outage_of_six_hours() -> None:
    async def scene(bench: LiveBench) -> None:
        reader = bench.read()
        await bench.ready()
        dead = [bench.front.inject(Fault(kind=kind, how="html")) for kind in ("refuse", "error")]
        bench.front.inject(Fault(kind="cut"))
        assert await bench.until(bench.opens_denied, 15) <= 11.0
        await bench.play(300, step_ms=2_000)
        await bench.leap(6 * 3600 - 600)
        await bench.play(300, step_ms=2_000)
        assert (reader.candles, bench.state()) == ([], "STALE")
        assert "STALE" in bench.feed.detail
        for fault in dead:
            bench.front.mend(fault)
        took = await bench.until(lambda: bench.state() == "LIVE", 60)
        assert took < 60
        assert len(reader.candles) >= 360
        bench.assert_complete()
        # What closed hours ago is delivered while nothing may be opened.
        assert all(reader.denied[:-2])
        await bench.until(lambda: not bench.opens_denied(), 40)
        await bench.until(lambda: bench.feed.status == "ok", 40)

    with_bench(LiveBench(pace=Pace(kline_ms=0, book_ms=1000.0)), scene)


# -- a REST that does not want to hear from us


@pytest.mark.parametrize("kind, seconds", [("limited", 40), ("banned", 150)])
def test_nothing_is_asked_while_the_exchange_says_so(kind: str, seconds: int) -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        await bench.ready()
        bench.front.inject(Fault(kind=kind, for_ms=10_000, retry_after_s=seconds, path="/ticker/bookTicker"))
        bench.front.inject(Fault(kind="silent", stream="*@bookTicker", for_ms=20_000))
        await bench.until(lambda: bench.feed.governor.blocked_s > 0, 15)
        asked = len(bench.front.record.requests)
        assert ("418" if kind == "banned" else "429") in bench.feed.detail
        await bench.play(seconds - 2)
        assert len(bench.front.record.requests) == asked
        await bench.play(20)
        assert bench.feed.governor.blocked_s == 0
        bench.front.inject(Fault(kind="missing", stream="*@kline_1m", for_ms=60_000))
        await bench.play(75)  # REST serves again
        bench.assert_complete(behind=0 if kind == "limited" else 1)

    with_bench(LiveBench(pace=Pace(kline_ms=0, book_ms=1000.0)), scene)


def test_a_hole_while_banned_is_a_gap_and_closes_when_the_ban_is_over() -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        await bench.ready()
        bench.front.inject(Fault(kind="banned", for_ms=100_000, retry_after_s=170, path="/klines"))
        bench.front.inject(lost(NEXT))
        await bench.until(lambda: bench.state() == "GAP", 190)
        assert bench.opens_denied()
        await bench.until(lambda: bench.state() == "LIVE", 240)
        assert not bench.opens_denied()
        bench.assert_array()

    with_bench(LiveBench(pace=Pace(kline_ms=0, book_ms=1000.0)), scene)


def test_a_step_of_our_clock_is_noticed_and_closes_no_candle_early() -> None:
    async def scene(bench: LiveBench) -> None:
        bench.read()
        await bench.ready()
        bench.time.step_ms = 45_000
        await bench.play(3)
        assert bench.feed.statistics()["rest"]["clock_steps"] == 1
        await bench.play(130)
        bench.assert_complete()
        assert bench.state() == "LIVE"

    with_bench(LiveBench(pace=QUIET), scene)
