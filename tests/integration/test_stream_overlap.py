"""Successors of a connection, connections that do not come up, and the end; over real sockets."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import time
from collections.abc import Callable
from typing import Any

from tests.fakes.stream_server import SHUTDOWN, StreamServer
from tests.fakes.stream_world import FAST, Client, client, run, server, until

BOOK = "btcusdt@bookTicker"


def names(count: int, kind: str = "bookTicker") -> set[str]:
    return {f"coin{number:04d}usdt@{kind}" for number in range(count)}


# -- overlapping


async def _stream_on(exchange: StreamServer, numbers: list[int]) -> None:
    """Publish rising numbers until cancelled: each goes to every connection that carries the stream."""
    while True:
        if await exchange.publish(BOOK, len(numbers)):
            numbers.append(len(numbers))
        await asyncio.sleep(0.002)


async def _loses_nothing(exchange: StreamServer, bot: Client, happen: Callable[[], Any]) -> None:
    await until(lambda: bot.connected)
    numbers: list[int] = []
    publisher = asyncio.create_task(_stream_on(exchange, numbers))
    await until(lambda: len(numbers) > 20)
    await happen()
    await until(lambda: len(bot.connected) >= 2 and exchange.peers[0].ended.is_set())
    reached = len(numbers) + 20
    await until(lambda: len(numbers) > reached)
    publisher.cancel()
    await until(lambda: numbers[-1] in bot.updates())
    assert set(bot.updates()) >= set(numbers) and bot.lost == []
    assert exchange.peers[0].methods()[-1] == "close"
    assert bot.shards.statistics()["overlaps"] == len(bot.connected) - 1


def test_overlap_before_the_end_of_life_loses_nothing() -> None:
    rules = dataclasses.replace(FAST, lifetime_s=1.0, overlap_s=0.25)

    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}, rules) as bot:
            began = time.monotonic()
            await _loses_nothing(exchange, bot, lambda: asyncio.sleep(0))
            # The successor comes between one and two overlaps before the end.
            assert 0.4 < bot.connected[1][0].opened_s - began < 1.0

    run(scene())


def test_server_shutdown_is_followed_by_an_overlap_at_once() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}) as bot:
            await _loses_nothing(exchange, bot, lambda: exchange.peers[0].send(SHUTDOWN))

    run(scene())


def test_server_shutdown_is_heard_in_the_combined_form_too() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}) as bot:
            words = {"stream": "!serverShutdown", "data": SHUTDOWN}
            await _loses_nothing(exchange, bot, lambda: exchange.peers[0].send(words))

    run(scene())


def test_a_distrusted_connection_is_overlapped_once_however_many_complain() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK, "a@trade"}) as bot:

            async def complain() -> None:
                said = [bot.shards.reconnect(stream) for stream in (BOOK, "a@trade", BOOK, "unknown@trade")]
                assert said == [True, False, False, False]

            await _loses_nothing(exchange, bot, complain)
            assert len(exchange.peers) == 2

    run(scene())


def test_a_new_connection_is_not_distrusted() -> None:
    rules = dataclasses.replace(FAST, cooldown_s=30.0)

    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}, rules) as bot:
            await until(lambda: bot.connected)
            assert bot.shards.reconnect(BOOK) is False

    run(scene())


def test_a_connection_goes_on_while_its_successor_cannot_come_up() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}) as bot:
            await until(lambda: bot.connected)
            exchange.refuse = 500
            await exchange.peers[0].send(SHUTDOWN)
            await until(lambda: exchange.tried >= 4)
            await exchange.publish(BOOK, 1)
            await until(lambda: bot.updates() == [1])
            assert bot.live(BOOK) and bot.lost == []
            exchange.refuse = None
            await until(lambda: len(bot.connected) == 2)
            assert bot.lost == []

    run(scene())


def test_streams_wanted_during_an_overlap_are_carried_after_it() -> None:
    async def scene() -> None:
        async with server() as exchange, client(exchange.url, {BOOK}) as bot:
            await until(lambda: bot.connected)
            await exchange.peers[0].send(SHUTDOWN)
            bot.shards.set_streams({BOOK, "a@trade"})
            await until(lambda: len(exchange.open) == 1 and len(exchange.peers) == 2)
            await until(lambda: exchange.open[0].streams == {BOOK, "a@trade"} and bot.live("a@trade"))

    run(scene())


# -- not coming up


def test_a_refused_connection_is_tried_again_with_growing_pauses() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def scene() -> None:
        async with client(f"ws://127.0.0.1:{port}", {BOOK}) as bot:
            await until(lambda: bot.shards.statistics()["failures"] >= 5)
            assert "ConnectionRefusedError" in bot.first()["trouble"]
            exchange = StreamServer()
            exchange.port = port
            await exchange.start()
            await until(lambda: bot.live(BOOK))
            assert bot.first()["trouble"] == ""
            await exchange.stop()

    run(scene())


def test_a_server_that_wants_to_be_left_alone_is_left_alone() -> None:
    async def scene() -> None:
        async with server() as exchange:
            exchange.refuse, exchange.headers = 418, {"Retry-After": "1"}
            async with client(exchange.url, {BOOK}) as bot:
                await until(lambda: exchange.tried == 1)
                began = time.monotonic()
                exchange.refuse = None
                await until(lambda: bot.live(BOOK))
                assert time.monotonic() - began > 0.9 and exchange.tried == 2

    run(scene())


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    rules = dataclasses.replace(FAST, open_s=0.2)

    async def scene() -> None:
        dumb = await asyncio.start_server(_say_nothing, "127.0.0.1", 0)
        port = dumb.sockets[0].getsockname()[1]
        async with client(f"ws://127.0.0.1:{port}", {BOOK}, rules) as bot:
            await until(lambda: bot.shards.statistics()["failures"] >= 2)
            assert "no answer within 0.2 s" in bot.first()["trouble"]
        dumb.close()

    run(scene())


class Table:
    """A resolver that knows one host, in aiohttp's shape."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        if host != self.host:
            raise OSError(f"no address for {host}")
        return [{"hostname": host, "host": "127.0.0.1", "port": self.port, "family": socket.AF_INET}]


def test_a_name_without_an_address_is_a_trouble_that_is_tried_again() -> None:
    async def scene() -> None:
        async with client("ws://nowhere.example", {BOOK}, resolver=Table("other.example", 1)) as bot:
            await until(lambda: bot.shards.statistics()["failures"] >= 3)
            assert "no address for nowhere.example" in bot.first()["trouble"]

    run(scene())


def test_no_more_connections_are_tried_than_the_exchange_allows() -> None:
    rules = dataclasses.replace(FAST, streams=1, attempts=4, attempts_s=3.0)

    async def scene() -> None:
        async with server() as exchange, client(exchange.url, names(6), rules) as bot:
            began = time.monotonic()
            await until(lambda: len(exchange.peers) == 4)
            assert time.monotonic() - began < 2.9
            await until(lambda: bot.live(*names(6)))
            assert time.monotonic() - began > 2.95 and exchange.tried == 6

    run(scene())


def test_closing_ends_everything_in_order() -> None:
    async def scene() -> None:
        before = asyncio.all_tasks()
        async with server() as exchange:
            async with client(exchange.url, names(1025)) as bot:
                await until(lambda: bot.live(*names(1025)))
            await until(lambda: not exchange.open)
            assert [peer.methods()[-1] for peer in exchange.peers] == ["close", "close"]
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before

    run(scene())


def test_closing_while_nothing_answers_does_not_wait() -> None:
    async def scene() -> None:
        dumb = await asyncio.start_server(_say_nothing, "127.0.0.1", 0)
        port = dumb.sockets[0].getsockname()[1]
        began = time.monotonic()
        async with client(f"ws://127.0.0.1:{port}", {BOOK}):
            await asyncio.sleep(0.1)
        assert time.monotonic() - began < 1.0
        dumb.close()

    run(scene())
