"""The stream client over real sockets, each rule by its effect; time is scaled by the rules, not slept."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections import Counter

import pytest

from botd.domain.clock import WallClock, seeded_random
from botd.market.binance.shards import Shards
from tests.fakes.stream_server import GOING_AWAY, message
from tests.fakes.stream_world import FAST, client, run, server, until

BOOK = "btcusdt@bookTicker"


def names(count: int, kind: str = "bookTicker") -> set[str]:
    return {f"coin{number:04d}usdt@{kind}" for number in range(count)}


# -- subscribing


def test_streams_arrive_decoded_and_in_order() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}) as bot:
            await until(lambda: bot.live(BOOK))
            for number in range(100):
                await exchange.publish(BOOK, number)
            await until(lambda: len(bot.seen) == 100)
            assert bot.updates() == list(range(100))
            assert [streams for _, streams in bot.connected] == [{BOOK}]

    run(scene())


def test_requests_are_batched_and_never_more_than_five_a_second() -> None:
    """1,000 streams at 50 a request are 20 requests; 3 pings come among them."""
    rules = dataclasses.replace(FAST, batch=50)

    async def scene() -> None:
        async with server() as exchange, client(exchange.url, names(1000), rules) as bot:
            for _ in range(3):
                await until(lambda: exchange.open)
                await asyncio.sleep(rules.messages_s)
                await exchange.open[0].socket.ping(b"beat")
            await until(lambda: bot.live(*names(1000)))
            await until(lambda: exchange.peers[0].methods().count("pong") == 3)
            heard = exchange.peers[0].heard
            assert Counter(what for _, what, _ in heard) == {"SUBSCRIBE": 20, "pong": 3}
            assert all(body == b"beat" for _, what, body in heard if what == "pong")
            # Any six in a row take longer than the window; a fifth of it is left to the machine's delays.
            times = [at for at, _, _ in heard]
            spans = [last - first for first, last in zip(times, times[5:], strict=False)]
            assert min(spans) > rules.messages_s * 0.8

    run(scene())


def test_1025_streams_are_two_connections() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, names(1025)) as bot:
            await until(lambda: bot.live(*names(1025)))
            assert sorted(len(peer.streams) for peer in exchange.peers) == [1, 1024]

    run(scene())


def test_streams_come_and_go_without_a_new_connection() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK, "a@trade"}) as bot:
            await until(lambda: bot.live(BOOK, "a@trade"))
            bot.shards.set_streams({BOOK, "b@trade"})
            await until(lambda: bot.live("b@trade"))
            await until(lambda: exchange.peers[0].streams == {BOOK, "b@trade"})
            assert len(exchange.peers) == 1 and not bot.live("a@trade")
            assert [set(streams) for _, streams in bot.connected] == [{BOOK, "a@trade"}, {"b@trade"}]
            assert bot.lost == []

    run(scene())


def test_a_full_connection_is_never_asked_for_more_than_it_may_carry() -> None:
    rules = dataclasses.replace(FAST, streams=20, batch=7)

    async def scene() -> None:
        async with server() as exchange, client(exchange.url, names(20), rules) as bot:
            await until(lambda: bot.live(*names(20)))
            others = names(30) - names(10)
            bot.shards.set_streams(others)
            await until(lambda: bot.live(*others))
            assert len(exchange.peers) == 1 and exchange.peers[0].most == 20

    run(scene())


def test_a_stream_dropped_and_wanted_again_at_once_is_carried_at_the_end() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK, "a@trade"}) as bot:
            await until(lambda: bot.live("a@trade"))
            for _ in range(5):
                bot.shards.set_streams({BOOK})
                await asyncio.sleep(0.01)
                bot.shards.set_streams({BOOK, "a@trade"})
                await asyncio.sleep(0.03)
            await until(lambda: bot.live("a@trade") and "a@trade" in exchange.peers[0].streams)
            assert len(exchange.peers) == 1

    run(scene())


def test_a_shard_nobody_wants_is_closed_in_order() -> None:
    rules = dataclasses.replace(FAST, streams=10)

    async def scene() -> None:
        async with server() as exchange, client(exchange.url, names(15), rules) as bot:
            await until(lambda: bot.live(*names(15)))
            bot.shards.set_streams(names(10))
            await until(lambda: len(exchange.open) == 1)
            gone = next(peer for peer in exchange.peers if peer.ended.is_set())
            assert gone.methods()[-1] == "close" and gone.heard[-1][2] == 1000
            assert bot.lost == []

    run(scene())


def test_one_refused_stream_does_not_cost_the_others() -> None:
    async def scene() -> None:
        async with server() as exchange:
            exchange.bad = {"coin0007usdt@bookTicker"}
            async with client(exchange.url, names(30)) as bot:
                good = names(30) - exchange.bad
                await until(lambda: bot.live(*good) and bot.connected)
                refused = bot.first()["connections"][0]["refused"]
                assert refused == {"coin0007usdt@bookTicker": "Invalid request: no such stream"}
                assert bot.connected[0][1] == good

    run(scene())


# -- endings


def test_a_cut_connection_is_followed_by_another() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}) as bot:
            await until(lambda: bot.connected)
            exchange.peers[0].cut()
            await until(lambda: len(bot.connected) == 2)
            assert [set(streams) for _, streams in bot.lost] == [{BOOK}]
            assert bot.lost[0][0] is bot.connected[0][0]
            await exchange.publish(BOOK, 5)
            await until(lambda: bot.updates() == [5])
            assert bot.shards.statistics()["reconnects"] == 1

    run(scene())


def test_a_close_by_the_server_is_told_with_its_code() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}) as bot:
            await until(lambda: bot.connected)
            await exchange.peers[0].socket.close(code=GOING_AWAY, message=b"bye")
            await until(lambda: len(bot.connected) == 2)
            assert "1001" in bot.lost[0][0].reason and "bye" in bot.lost[0][0].reason

    run(scene())


def test_a_half_open_connection_is_noticed_by_its_silence() -> None:
    rules = dataclasses.replace(FAST, silence_s=0.5)

    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}, rules) as bot:
            await until(lambda: bot.connected)
            exchange.peers[0].frozen = True
            began = time.monotonic()
            await until(lambda: len(bot.connected) == 2)
            assert time.monotonic() - began >= 0.4
            assert "silent" in bot.lost[0][0].reason

    run(scene())


def test_pings_alone_keep_a_quiet_connection() -> None:
    rules = dataclasses.replace(FAST, silence_s=0.4)

    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}, rules) as bot:
            await until(lambda: bot.connected)
            for _ in range(10):
                await exchange.peers[0].socket.ping()
                await asyncio.sleep(0.1)
            assert bot.lost == [] and exchange.peers[0].methods().count("pong") == 10

    run(scene())


def test_the_client_sends_no_pings_and_does_not_answer_a_storm_of_them_beyond_its_budget() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}) as bot:
            await until(lambda: bot.connected)
            for number in range(200):
                await exchange.peers[0].socket.ping(str(number).encode())
            await until(lambda: exchange.peers[0].heard[-1][2] == b"199")
            times = [at for at, _, _ in exchange.peers[0].heard]
            assert len(times) < 30 and "ping" not in exchange.peers[0].methods()

    run(scene())


def test_a_request_that_is_not_answered_ends_the_connection() -> None:
    rules = dataclasses.replace(FAST, reply_s=0.3)

    async def scene() -> None:
        async with server() as exchange:
            exchange.mute = True
            async with client(exchange.url, {BOOK}, rules) as bot:
                await until(lambda: len(exchange.peers) >= 2)
                assert "not answered" in bot.first()["trouble"] and bot.connected == []
                exchange.mute = False
                await until(lambda: bot.live(BOOK))

    run(scene())


def test_garbage_reaches_the_consumer_and_ends_nothing() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}) as bot:
            await until(lambda: bot.connected)
            for frame in ("", "{", "null", '{"stream":7}', "\x00" * 300, '{"result":', "[]" * 100):
                await exchange.peers[0].send(frame)
            await exchange.peers[0].send({"error": {"code": 3, "msg": "what?"}, "id": None})
            await exchange.publish(BOOK, 1)
            await until(lambda: bot.updates() == [1])
            assert len(bot.raw) == 8 and len(exchange.peers) == 1

    run(scene())


def test_a_consumer_that_raises_does_not_end_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        seen: list[bytes] = []

        def take(frame: bytes) -> None:
            seen.append(frame)
            raise RuntimeError("consumer's mistake")

        async with server() as exchange:
            shards = Shards(exchange.url, on_message=take, clock=WallClock(), rng=seeded_random(1), rules=FAST)
            shards.set_streams({BOOK})
            task = asyncio.create_task(shards.run())
            await until(lambda: shards.is_live(BOOK))
            for number in range(3):
                await exchange.publish(BOOK, number)
            await until(lambda: len(seen) == 3)
            assert len(exchange.peers) == 1
            await shards.close()
            await task

    run(scene())
    assert "consumer's mistake" in caplog.text


def test_a_fragmented_message_is_put_together() -> None:
    async def scene() -> None:
        text = json.dumps(message(BOOK, 9)).encode()
        async with server() as exchange, client(exchange.url, {BOOK}) as bot:
            await until(lambda: bot.connected)
            writer = exchange.peers[0].socket._writer
            assert writer is not None
            transport = writer.transport
            for first, part in ((0x01, text[:50]), (0x00, text[50:100]), (0x80, text[100:])):
                transport.write(bytes((first, len(part))) + part)
            await until(lambda: bot.updates() == [9])

    run(scene())
