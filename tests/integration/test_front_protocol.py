"""The Binance-wire front keeps the exchange's protocol: streams, REST, limits, and a market that agrees with itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.fakes.binance import BinanceFront, CandleMarket, Fault, FaultPlan, FrontThread, ManualClock, Pace, Rules
from tests.fakes.binance.listings import recorded_info

START = 1_767_225_600_000
MINUTE = 60_000
CLOSING = Pace(kline_ms=0, close_ms=(5, 6))


class Client:
    """A bare WebSocket client: what arrives, as it arrives."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def json(self) -> Any:
        message = await self.socket.receive(5)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def ask(self, **request: Any) -> Any:
        await self.socket.send_json(request)
        return await self.json()

    async def arrived(self) -> list[Any]:
        """Return everything that has been sent up to now."""
        found: list[Any] = []
        while True:
            try:
                message = await self.socket.receive(0.05)
            except TimeoutError:
                return found
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                found.append(message.data)
            elif message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING):
                return found

    async def end(self) -> int | None:
        """Wait until the connection has ended; return the close code."""
        while True:
            message = await self.socket.receive(5)
            if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR):
                return self.socket.close_code


class Case:
    """A front on a manual clock, and clients of it."""

    def __init__(self, front: BinanceFront, session: aiohttp.ClientSession) -> None:
        self.front = front
        self.session = session

    async def connect(self, path: str, **options: Any) -> Client:
        return Client(await self.session.ws_connect(self.front.ws_url + path, **options))

    async def get(self, path: str, **parameters: Any) -> Any:
        response = await self.answer(path, **parameters)
        return await response.json()

    async def answer(self, path: str, **parameters: Any) -> aiohttp.ClientResponse:
        return await self.session.get(f"{self.front.rest_url}/api/v3/{path}", params=parameters)


@asynccontextmanager
async def serving(market: Any = None, **options: Any) -> AsyncIterator[Case]:
    options.setdefault("clock", ManualClock(START + 30_000))
    front = BinanceFront(market or CandleMarket(["BTCUSDT", "ETHUSDT"], pace=CLOSING), **options)
    await front.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Case(front, session)
    finally:
        await front.stop()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 20)

    asyncio.run(bounded())


STREAM = "btcusdt@kline_1m"


@pytest.mark.parametrize(
    ("path", "subscribes", "wrapped"),
    [
        (f"/ws/{STREAM}", False, False),
        ("/ws", True, False),
        (f"/stream?streams=ethusdt@trade/{STREAM}", False, True),
        ("/stream", True, True),
    ],
)
def test_all_four_forms_of_a_stream_url_give_the_closed_candle(path: str, subscribes: bool, wrapped: bool) -> None:
    async def test() -> None:
        async with serving() as case:
            client = await case.connect(path)
            if subscribes:
                assert await client.ask(method="SUBSCRIBE", params=[STREAM], id=1) == {"result": None, "id": 1}
            await asyncio.sleep(0.02)
            await case.front.advance(MINUTE)
            events = [json.loads(text) for text in await client.arrived()]
            if wrapped:
                assert all(set(event) == {"stream", "data"} for event in events)
                events = [event["data"] for event in events if event["stream"] == STREAM]
            [event] = events
            assert (event["e"], event["s"], event["k"]["t"], event["k"]["x"]) == ("kline", "BTCUSDT", START, True)

    run(test)


def test_subscriptions_are_acknowledged_listed_and_ended_whatever_the_id() -> None:
    async def test() -> None:
        async with serving() as case:
            client = await case.connect("/ws")
            both = [STREAM, "ethusdt@trade"]
            assert await client.ask(method="SUBSCRIBE", params=both, id="a-b") == {"result": None, "id": "a-b"}
            assert await client.ask(method="UNSUBSCRIBE", params=both[:1], id=None) == {"result": None, "id": None}
            assert await client.ask(method="LIST_SUBSCRIPTIONS", id=7) == {"result": both[1:], "id": 7}
            assert case.front.record.subscribed() == {"ethusdt@trade"}
            wrong = await client.ask(method="SUBSCRIBED", params=both, id=8)
            assert wrong["id"] == 8 and wrong["error"]["code"] == 2

    run(test)


def test_wrong_requests_are_answered_with_the_code_of_what_is_wrong() -> None:
    async def test() -> None:
        async with serving(rules=Rules(messages=100)) as case:
            client = await case.connect("/ws")
            await client.socket.send_str("{nonsense")
            assert (await client.json())["error"]["code"] == 3
            assert (await client.ask(params=[], id=1))["error"]["code"] == 2
            assert (await client.ask(method="SUBSCRIBE", params="x", id=1))["error"]["code"] == 2
            assert (await client.ask(method="SUBSCRIBE", params=[], id=1.5))["error"]["code"] == 2
            assert (await client.ask(method="SET_PROPERTY", params=["combined", 1], id=1))["error"]["code"] == 1
            assert (await client.ask(method="GET_PROPERTY", params=["combined"], id=1))["result"] is False

    run(test)


def test_the_sixth_message_in_a_second_ends_the_connection_and_pings_count() -> None:
    async def test() -> None:
        async with serving() as case:
            client = await case.connect("/ws")
            for number in range(3):
                await client.socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            for _ in range(3):
                await client.socket.ping(b"")
            assert await client.end() == 1008
            assert case.front.record.endings() == {"messages": 1}

    run(test)


def test_a_connection_has_at_most_1024_streams_and_an_address_a_bounded_number_of_connections() -> None:
    async def test() -> None:
        async with serving(rules=Rules(connections=2)) as case:
            client = await case.connect("/ws")
            names = [f"x{number}@trade" for number in range(1024)]
            assert (await client.ask(method="SUBSCRIBE", params=names, id=1))["result"] is None
            await client.socket.send_json({"method": "SUBSCRIBE", "params": ["one@trade"], "id": 2})
            assert await client.end() == 1008
            await case.connect("/ws")
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await case.connect("/ws")
            assert case.front.record.refused_connections == 1

    run(test)


def test_rest_can_be_slow_or_hang_until_it_is_mended() -> None:
    async def test() -> None:
        async with serving() as case:
            slow = case.front.inject(Fault(kind="slow", delay_ms=100, path="ping"))
            began = asyncio.get_running_loop().time()
            assert (await case.answer("ping")).status == 200
            assert asyncio.get_running_loop().time() - began >= 0.1
            case.front.mend(slow)
            hang = case.front.inject(Fault(kind="hang"))
            waiting = asyncio.create_task(case.answer("time"))
            assert await asyncio.wait({waiting}, timeout=0.1) == (set(), {waiting})
            case.front.mend(hang)
            assert (await waiting).status == 200

    run(test)


def test_who_answers_pings_stays_and_who_does_not_is_cut() -> None:
    async def test() -> None:
        async with serving(rules=Rules(ping_s=0.05, pong_s=0.2, messages=100)) as case:
            good = await case.connect("/ws")
            bad = await case.connect("/ws", autoping=False)
            waiting = asyncio.create_task(good.end())
            await bad.end()
            assert not waiting.done()
            waiting.cancel()
            assert case.front.record.endings() == {"pong": 1}
            assert case.front.record.connections[0].pongs >= 2

    run(test)


def test_with_the_markets_timers_a_day_of_pings_passes_in_virtual_time() -> None:
    async def test() -> None:
        async with serving(rules=Rules(timers="market", ping_s=600, pong_s=1800, message_window_s=0.5)) as case:
            good, bad = await case.connect("/ws"), await case.connect("/ws", autoping=False)
            ends = [asyncio.create_task(client.end()) for client in (good, bad)]
            await case.front.advance(3_600_000)
            assert case.front.record.endings() == {"pong": 1} and not ends[0].done()
            await case.front.advance(23 * 3_600_000)
            assert await ends[0] == 1001
            assert case.front.record.endings() == {"pong": 1, "life": 1}
            assert case.front.record.connections[0].pongs > 100
            await ends[1]

    run(test)


def test_a_connection_ends_with_its_day_and_a_shutdown_is_announced_before() -> None:
    async def test() -> None:
        async with serving(rules=Rules(life_s=0.2)) as case:
            client = await case.connect("/ws")
            assert await client.end() == 1001
            assert case.front.record.endings() == {"life": 1}
        plan = [Fault(kind="shutdown", at_ms=1000, delay_ms=5000)]
        async with serving(faults=plan) as case:
            client = await case.connect("/stream")
            await case.front.advance(1000)
            assert await client.json() == {"e": "serverShutdown", "E": START + 31_000}
            fresh = await case.connect("/stream")
            await case.front.advance(5000)
            assert await client.end() == 1001
            assert await fresh.ask(method="LIST_SUBSCRIPTIONS", id=1) == {"result": [], "id": 1}

    run(test)


def test_rest_candles_stream_candles_and_trades_tell_one_truth() -> None:
    async def test() -> None:
        market = CandleMarket(["BTCUSDT"], pace=Pace(kline_ms=1500))
        async with serving(market, clock=ManualClock(START + 500)) as case:
            client = await case.connect("/stream?streams=btcusdt@kline_1m/btcusdt@kline_5m/btcusdt@trade")
            await asyncio.sleep(0.02)
            await case.front.advance(5 * MINUTE + 3000)
            events = [json.loads(text) for text in await client.arrived()]
            by_stream: dict[str, list[Any]] = {}
            for event in events:
                by_stream.setdefault(event["stream"], []).append(event["data"])
            rows = await case.get("klines", symbol="BTCUSDT", interval="1m", startTime=START, limit=5)
            closed = [event["k"] for event in by_stream["btcusdt@kline_1m"] if event["k"]["x"]]
            assert [_row(kline) for kline in closed] == rows
            [five] = await case.get("klines", symbol="BTCUSDT", interval="5m", startTime=START, limit=1)
            assert [_row(event["k"]) for event in by_stream["btcusdt@kline_5m"] if event["k"]["x"]] == [five]
            trades = [event for event in by_stream["btcusdt@trade"] if event["T"] < START + 5 * MINUTE]
            assert [event["t"] for event in trades] == list(range(closed[0]["f"], closed[-1]["L"] + 1))
            for kline in closed:
                inside = [event for event in trades if kline["t"] <= event["T"] <= kline["T"]]
                prices = [Decimal(event["p"]) for event in inside]
                quantities = [Decimal(event["q"]) for event in inside]
                assert (prices[0], max(prices), min(prices), prices[-1]) == tuple(Decimal(kline[f]) for f in "ohlc")
                assert sum(quantities) == Decimal(kline["v"]) and len(inside) == kline["n"]
                assert sum(p * q for p, q in zip(prices, quantities, strict=True)) == Decimal(kline["q"])
            assert {event["T"] // MINUTE for event in trades} == {START // MINUTE + minute for minute in range(5)}
            updates = [event["k"]["n"] for event in by_stream["btcusdt@kline_1m"] if event["k"]["t"] == START]
            assert updates == sorted(updates) and len(updates) > 5

    run(test)


def _row(kline: dict[str, Any]) -> list[Any]:
    return [
        kline["t"],
        *(kline[field] for field in "ohlcv"),
        kline["T"],
        kline["q"],
        kline["n"],
        kline["V"],
        kline["Q"],
        "0",
    ]


def test_klines_come_by_window_and_limit_with_the_forming_one_last() -> None:
    async def test() -> None:
        async with serving() as case:
            default = await case.get("klines", symbol="BTCUSDT", interval="1m")
            assert (len(default), default[-1][0]) == (500, START)
            assert default[-1][8] < (await _later(case, default[-1][0]))[8]
            most = await case.get("klines", symbol="BTCUSDT", interval="1m", limit=5000)
            assert len(most) == 1000
            window = await case.get(
                "klines", symbol="BTCUSDT", interval="5m", startTime=START - 3_600_000, endTime=START - 1
            )
            assert [row[0] for row in window] == list(range(START - 3_600_000, START, 5 * MINUTE))
            first = await case.get("klines", symbol="BTCUSDT", interval="1d", startTime=0, limit=2)
            assert first[1][0] - first[0][0] == 86_400_000
            assert await case.get("klines", symbol="BTCUSDT", interval="1m", startTime=START + 3_600_000) == []

    async def _later(case: Case, open_time: int) -> Any:
        await case.front.advance(MINUTE)
        [row] = await case.get("klines", symbol="BTCUSDT", interval="1m", startTime=open_time, limit=1)
        return row

    run(test)


@pytest.mark.parametrize(
    ("path", "parameters", "code"),
    [
        ("klines", {"symbol": "BTCUSDT"}, -1102),
        ("klines", {"symbol": "NONEUSDT", "interval": "1m"}, -1121),
        ("klines", {"symbol": "btcusdt", "interval": "1m"}, -1100),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "x"}, -1100),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "0"}, -1130),
        ("ticker/price", {"symbols": '["BTCUSDT","NO"]'}, -1121),
    ],
)
def test_wrong_parameters_have_their_code(path: str, parameters: dict[str, str], code: int) -> None:
    async def test() -> None:
        async with serving() as case:
            answer = await case.answer(path, **parameters)
            assert answer.status == 400 and (await answer.json())["code"] == code

    run(test)


def test_tickers_trades_and_info_answer_in_the_exchanges_shape() -> None:
    async def test() -> None:
        async with serving() as case:
            book = await case.get("ticker/bookTicker", symbols='["BTCUSDT"]')
            assert set(book[0]) == {"symbol", "bidPrice", "bidQty", "askPrice", "askQty"}
            assert Decimal(book[0]["bidPrice"]) < Decimal(book[0]["askPrice"])
            price = await case.get("ticker/price", symbol="ETHUSDT")
            assert abs(Decimal(price["price"]) / 3000 - 1) < 1
            trades = await case.get("aggTrades", symbol="BTCUSDT", limit=30)
            assert [row["a"] for row in trades] == list(range(trades[0]["a"], trades[0]["a"] + 30))
            assert trades[-1]["T"] <= START + 30_000
            onward = await case.get("aggTrades", symbol="BTCUSDT", fromId=trades[5]["a"], limit=3)
            assert onward == trades[5:8]
            info = await case.get("exchangeInfo")
            assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
            assert info["serverTime"] == (await case.get("time"))["serverTime"] == START + 30_000
            assert await case.get("ping") == {}
            case.front.quote("BTCUSDT", "100", "101.5")
            assert (await case.get("ticker/bookTicker", symbol="BTCUSDT"))["askPrice"] == "101.50000000"

    run(test)


def test_two_hundred_made_symbols_have_the_shape_of_the_recorded_ones() -> None:
    async def test() -> None:
        async with serving(200) as case:
            rows = (await case.get("exchangeInfo"))["symbols"]
            assert len(rows) == 200
            recorded = recorded_info()
            if recorded:
                row = next(row for row in recorded["symbols"] if row["symbol"] == "BTCUSDT")
                assert set(rows[0]) >= set(row) - {"pegInstructionsAllowed", "opoAllowed"}
                kinds = {entry["filterType"] for entry in row["filters"]}
                assert {entry["filterType"] for entry in rows[0]["filters"]} == kinds

    run(test)


def test_weights_add_up_by_the_minute_then_429_then_418() -> None:
    async def test() -> None:
        async with serving(rules=Rules(weight=50, offences=2, ban_s=120)) as case:
            first = await case.answer("exchangeInfo")
            assert first.headers["X-MBX-USED-WEIGHT-1M"] == "20"
            assert (await case.answer("klines", symbol="BTCUSDT", interval="1m")).headers[
                "x-mbx-used-weight-1m"
            ] == "22"
            await case.answer("exchangeInfo")
            refused = await case.answer("exchangeInfo")
            # 30 s of the minute are left.
            assert (refused.status, refused.headers["Retry-After"]) == (429, "30")
            assert (await refused.json())["code"] == -1003
            assert not case.front.record.while_banned()
            assert (await case.answer("ping")).status == 429
            banned = await case.answer("ping")
            assert (banned.status, banned.headers["Retry-After"]) == (418, "120")
            assert len(case.front.record.while_banned()) == 2
            await case.front.advance(119_000)
            assert (await case.answer("ping")).status == 418
            await case.front.advance(1000)
            served = await case.answer("ping")
            assert (served.status, served.headers["X-MBX-USED-WEIGHT-1M"]) == (200, "2")

    run(test)


def test_a_plan_limits_bans_breaks_slows_and_ages_rest_at_its_times() -> None:
    plan = [
        Fault(kind="limited", at_ms=1000, for_ms=1000, retry_after_s=7),
        Fault(kind="error", at_ms=20_000, for_ms=1000, status=502, how="html", path="klines"),
        Fault(kind="stale", at_ms=60_000, for_ms=1000, delay_ms=MINUTE),
        Fault(kind="rest_truncated", at_ms=70_000, for_ms=1000),
        Fault(kind="rest_missing", at_ms=80_000, for_ms=1000, opens=(START,)),
        Fault(kind="banned", at_ms=90_000, for_ms=1000, retry_after_s=180),
    ]

    async def test() -> None:
        async with serving(faults=plan) as case:
            ask = {"symbol": "BTCUSDT", "interval": "1m", "limit": 2}
            assert (await case.answer("klines", **ask)).status == 200
            await case.front.advance(1000)
            limited = await case.answer("klines", **ask)
            assert (limited.status, limited.headers["Retry-After"]) == (429, "7")
            await case.front.advance(19_000)
            assert (await case.answer("klines", **ask)).status == 502
            assert (await case.answer("time")).status == 200
            await case.front.advance(40_000)
            assert (await case.get("klines", **ask))[-1][0] == START
            assert (await case.get("time"))["serverTime"] == START + 90_000
            await case.front.advance(10_000)
            with pytest.raises(ValueError):
                json.loads(await (await case.answer("klines", **ask)).text())
            await case.front.advance(10_000)
            assert [row[0] for row in await case.get("klines", **ask)] == [START + MINUTE]
            await case.front.advance(10_000)
            banned = await case.answer("klines", **ask)
            assert (banned.status, banned.headers["Retry-After"]) == (418, "180")

    run(test)


async def _closings(
    faults: list[Fault], minutes: int = 4, pace: Pace = CLOSING
) -> tuple[list[str | bytes], BinanceFront]:
    """Return what a raw kline stream sends in some minutes with those faults."""
    async with serving(CandleMarket(["BTCUSDT", "ETHUSDT"], pace=pace), faults=faults) as case:
        client = await case.connect("/ws")
        await client.ask(method="SUBSCRIBE", params=[STREAM, "ethusdt@kline_1m"], id=1)
        await case.front.advance(minutes * MINUTE)
        return await client.arrived(), case.front


def _opens(frames: list[str | bytes], symbol: str = "BTCUSDT") -> list[int]:
    klines = [json.loads(text)["k"] for text in frames]
    return [(kline["t"] - START) // MINUTE for kline in klines if kline["s"] == symbol]


def test_klines_come_late_twice_out_of_order_or_not_at_all_as_planned() -> None:
    async def test() -> None:
        only: dict[str, Any] = {"symbol": "BTCUSDT", "opens": (START + MINUTE,)}
        frames, front = await _closings([Fault(kind="missing", **only)])
        assert _opens(frames) == [0, 2, 3] and _opens(frames, "ETHUSDT") == [0, 1, 2, 3]
        assert [entry[2] for entry in front.record.closings if entry[1] == STREAM] == [
            START + i * MINUTE for i in range(4)
        ]
        assert _opens((await _closings([Fault(kind="duplicated", **only)]))[0]) == [0, 1, 1, 2, 3]
        assert _opens((await _closings([Fault(kind="reordered", **only)]))[0]) == [0, 2, 1, 3]
        assert _opens((await _closings([Fault(kind="delayed", delay_ms=130_000, **only)]))[0]) == [0, 2, 3, 1]
        assert _opens((await _closings([Fault(kind="silent", symbol="BTCUSDT")]))[0]) == []

    run(test)


def test_a_revised_kline_differs_from_rest_and_may_be_put_right() -> None:
    async def test() -> None:
        plan = [Fault(kind="revised", opens=(START,), symbol="BTCUSDT", how="again", delay_ms=500)]
        frames, front = await _closings(plan, minutes=1)
        wrong, right = [json.loads(text)["k"] for text in frames if "BTCUSDT" in str(text)]
        [truth] = front.market.truth("BTCUSDT", "1m", START, START + 1)  # type: ignore[attr-defined]
        assert (wrong["x"], right["x"], right["n"]) == (True, True, truth.trades)
        assert wrong["n"] < truth.trades and Decimal(wrong["v"]) < Decimal(right["v"])

    run(test)


@pytest.mark.parametrize("kind", ["garbage", "truncated", "wrong_types"])
def test_broken_frames_are_broken_and_the_stream_goes_on(kind: str) -> None:
    async def test() -> None:
        window: dict[str, Any] = {"at_ms": 40_000, "for_ms": MINUTE, "symbol": "BTCUSDT"}
        frames, _ = await _closings([Fault(kind=kind, **window)])
        good, broken = 0, 0
        for frame in frames:
            try:
                kline = json.loads(frame)["k"]
                good += isinstance(kline["c"], str) and isinstance(kline["t"], int) and float(kline["c"]) > 0
            except (ValueError, TypeError, KeyError):
                broken += 1
        assert good >= 7 and good + broken >= 8 - (kind == "wrong_types")

    run(test)


def test_minutes_without_trades_are_the_truth_of_rest_and_stream() -> None:
    async def test() -> None:
        plan = [Fault(kind="zero_trades", at_ms=30_000, for_ms=2 * MINUTE, symbol="BTCUSDT")]
        frames, front = await _closings(plan)
        klines = [json.loads(text)["k"] for text in frames if "BTCUSDT" in str(text)]
        assert [kline["n"] > 0 for kline in klines] == [True, False, False, True]
        assert {klines[1][field] for field in "ohlc"} == {klines[0]["c"]} and klines[1]["v"] == "0.00000000"
        # Ids have no hole over the silence: who counts them sees that nothing is missing.
        assert klines[3]["f"] == klines[0]["L"] + 1
        rows = front.market.klines("BTCUSDT", "1m", START + 10 * MINUTE, START, limit=4)
        assert [row.trades for row in rows] == [kline["n"] for kline in klines]

    run(test)


def test_a_seeded_plan_is_the_same_again_and_another_seed_another() -> None:
    async def test() -> None:
        symbols = ["BTCUSDT", "ETHUSDT"]
        kinds = ("delayed", "duplicated", "reordered", "missing", "revised")
        plans = [FaultPlan.seeded(seed, symbols, 3 * MINUTE, kinds=kinds) for seed in (5, 5, 6)]
        frames = [(await _closings(plan.faults, minutes=5))[0] for plan in plans]
        assert frames[0] == frames[1] != frames[2]
        assert FaultPlan.of_json(plans[0].to_json(), 5).faults == plans[0].faults

    run(test)


def test_a_half_open_connection_neither_answers_nor_ends_and_a_new_one_works() -> None:
    async def test() -> None:
        async with serving() as case:
            old = await case.connect(f"/ws/{STREAM}")
            await asyncio.sleep(0.02)
            case.front.inject(Fault(kind="half_open"))
            fresh = await case.connect(f"/ws/{STREAM}")
            await asyncio.sleep(0.02)
            await old.socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            await case.front.advance(MINUTE)
            assert len(await fresh.arrived()) == 1
            assert await old.arrived() == [] and not old.socket.closed
            assert len(case.front.record.open_connections()) == 2

    run(test)


@pytest.mark.parametrize(("how", "code"), [("fin", 1006), ("rst", 1006), ("close", 1001)])
def test_a_cut_ends_the_connections_that_have_the_stream(how: str, code: int) -> None:
    async def test() -> None:
        async with serving() as case:
            cut, kept = await case.connect(f"/ws/{STREAM}"), await case.connect("/ws/ethusdt@trade")
            await asyncio.sleep(0.02)
            case.front.inject(Fault(kind="cut", how=how, symbol="BTCUSDT"))
            assert await cut.end() == code
            assert (await kept.ask(method="LIST_SUBSCRIPTIONS", id=1))["result"] == ["ethusdt@trade"]
            assert case.front.record.endings() == {"cut": 1}

    run(test)


def test_while_nobody_listens_connections_are_refused_and_later_not() -> None:
    async def test() -> None:
        plan = [Fault(kind="refuse", at_ms=1000, for_ms=5000)]
        async with serving(faults=plan) as case:
            await case.front.advance(1000)
            with pytest.raises(aiohttp.ClientConnectorError):
                await case.get("ping")
            await case.front.advance(5000)
            await asyncio.sleep(0.02)
            assert await case.get("ping") == {}

    run(test)


def test_a_front_on_a_thread_serves_and_is_steered_from_another() -> None:
    with FrontThread(["BTCUSDT"], clock=ManualClock(START)) as thread:
        thread.advance(1000)

        async def ask() -> Any:
            async with aiohttp.ClientSession() as session:
                await session.post(f"{thread.rest_url}/_front/fault", json={"kind": "error", "status": 504})
                failed = await session.get(f"{thread.rest_url}/api/v3/time")
                seen = await session.get(f"{thread.rest_url}/_front/record")
                return failed.status, await seen.json()

        status, seen = asyncio.run(ask())
        assert status == 504 and seen["paths"] == {"/api/v3/time": 1}
        assert thread.record.requests[0].time_ms == START + 1000
