"""The stream client against the Binance front: the exchange's rules enforced, production urls, faults."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from botd.domain.clock import seeded_random
from botd.market.binance import wire
from tests.fakes.binance import BinanceFront, Fault, Rules
from tests.fakes.binance.tls import LoopbackResolver, ThrowAwayCA
from tests.fakes.stream_world import FAST, Client, client, run, until

PRODUCTION = "wss://stream.binance.com:9443"
BOOK, LIVE = "btcusdt@bookTicker", {"btcusdt@bookTicker", "btcusdt@kline_1m", "ethusdt@trade"}


@contextlib.asynccontextmanager
async def front(rules: Rules | None = None, **more: Any) -> AsyncIterator[BinanceFront]:
    found = await BinanceFront(["BTCUSDT", "ETHUSDT"], rules=rules, **more).start()
    try:
        yield found
    finally:
        await found.stop()


def test_production_urls_reach_the_front_through_a_resolver_and_a_throwaway_ca() -> None:
    authority = ThrowAwayCA()

    async def scene() -> None:
        async with front(tls=authority.server_context()) as exchange:
            resolver = LoopbackResolver(exchange.port)
            trusting = authority.client_context()
            async with client(PRODUCTION, LIVE, ssl_context=trusting, resolver=resolver) as bot:
                await until(lambda: {wire.Kline, wire.BookTicker} <= {type(said) for said in bot.seen})
                assert set(resolver.asked) == {"stream.binance.com"}
                assert all(wire.decode(frame) is not None for frame in bot.raw)
            strict = ssl.create_default_context()
            async with client(PRODUCTION, LIVE, ssl_context=strict, resolver=resolver) as bot:
                await until(lambda: bot.shards.statistics()["failures"] >= 2)
                assert "CERTIFICATE_VERIFY_FAILED" in bot.first()["trouble"] and not bot.connected

    run(scene())


def test_a_name_that_is_not_found_is_a_trouble_that_is_tried_again() -> None:
    async def scene() -> None:
        resolver = LoopbackResolver(1)
        async with client("ws://nowhere.example", LIVE, resolver=resolver) as bot:
            await until(lambda: bot.shards.statistics()["failures"] >= 3)
            assert "nowhere.example" in bot.first()["trouble"]

    run(scene())


def test_eleven_hundred_streams_come_up_and_change_within_the_exchanges_rules() -> None:
    """At the true five messages a second; the front hangs up at the sixth, and at the 1,025th stream."""
    rules = dataclasses.replace(FAST, messages_s=1.0)
    many = {f"coin{number:04d}usdt@bookTicker" for number in range(1100)} | LIVE

    async def scene() -> None:
        async with front(Rules(ping_s=1.0)) as exchange, client(exchange.ws_url, many, rules) as bot:
            await until(lambda: bot.live(*many), 20)
            changed = {stream.replace("coin00", "gold00") for stream in many}
            bot.shards.set_streams(changed)
            await until(lambda: bot.live(*changed) and exchange.record.subscribed() == changed, 30)
            assert not exchange.record.endings() and len(exchange.record.connections) == 2
            assert all(seen.pongs >= 2 for seen in exchange.record.connections)

    run(scene())


def test_a_life_never_reaches_its_end() -> None:
    rules = dataclasses.replace(FAST, lifetime_s=1.2, overlap_s=0.4)

    async def scene() -> None:
        async with front(Rules(life_s=1.2)) as exchange, client(exchange.ws_url, LIVE, rules) as bot:
            await until(lambda: len(exchange.record.connections) >= 3, 20)
            assert bot.lost == [] and set(exchange.record.endings()) == {"client"}

    run(scene())


async def _numbered(exchange: BinanceFront, bot: Client, numbers: list[int]) -> None:
    """Publish rising numbers on a stream while it is carried."""
    while True:
        if "gold@bookTicker" in exchange.record.subscribed():
            book = {"u": len(numbers), "s": "GOLD", "b": "1", "B": "1", "a": "2", "A": "1"}
            exchange.publish("gold@bookTicker", book)
            numbers.append(len(numbers))
        await asyncio.sleep(0.002)


def test_an_announced_shutdown_loses_nothing() -> None:
    async def scene() -> None:
        async with front() as exchange, client(exchange.ws_url, {"gold@bookTicker"}) as bot:
            await until(lambda: bot.connected)
            numbers: list[int] = []
            publisher = asyncio.create_task(_numbered(exchange, bot, numbers))
            await until(lambda: len(numbers) > 20)
            exchange.inject(Fault(kind="shutdown", delay_ms=2_000))
            await until(lambda: len(bot.connected) == 2 and exchange.record.endings())
            await until(lambda: len(numbers) > 200)
            publisher.cancel()
            await until(lambda: numbers[-1] in bot.updates())
            assert set(bot.updates()) == set(numbers) and bot.lost == []

    run(scene())


@pytest.mark.parametrize("seed", [1, 2])
def test_after_any_trouble_of_connections_the_streams_come_back(seed: int) -> None:
    rules = dataclasses.replace(FAST, silence_s=0.5, reply_s=0.5, open_s=0.5)
    chance = seeded_random(seed)
    troubles = [
        Fault(kind="cut", how="fin"), Fault(kind="cut", how="rst"), Fault(kind="cut", how="close"),
        Fault(kind="half_open"), Fault(kind="half_open", for_ms=500), Fault(kind="refuse", for_ms=300),
        Fault(kind="shutdown", delay_ms=100), Fault(kind="garbage", for_ms=300), Fault(kind="truncated", for_ms=300),
    ]  # fmt: skip
    chance.shuffle(troubles)

    async def scene() -> None:
        async with front(Rules(ping_s=0.2)) as exchange, client(exchange.ws_url, LIVE, rules) as bot:
            for trouble in troubles:
                await until(lambda: bot.live(*LIVE))
                exchange.inject(trouble)
                if trouble.kind == "refuse":
                    exchange.inject(Fault(kind="cut"))
                await asyncio.sleep(chance.uniform(0.0, 0.3))
            await until(lambda: not exchange.plan.active)
            seen = len(bot.updates())
            await until(lambda: bot.live(*LIVE) and len(bot.updates()) > seen + 2)
            assert not {"messages", "streams", "pong"} & set(exchange.record.endings())

    run(scene())
