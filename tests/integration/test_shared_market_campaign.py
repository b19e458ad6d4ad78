"""A seeded campaign: publishers, followers and their Redis are disturbed in any order, and nobody misses a candle.

A seed plays the same disturbances again: ``python -m tests.integration.test_shared_market_campaign 17`` (or ``1 50``).
"""

from __future__ import annotations

import asyncio
import random
import sys

import pytest

from tests.fakes.delay_proxy import DelayProxy
from tests.fakes.shared_world import BTC, ETH, KEYS, SharedWorld, until, with_world

ROUNDS = 6


class Campaign:
    """Disturbs a world; every disturbance says in a word what it did."""

    def __init__(self, world: SharedWorld, proxy: DelayProxy, rng: random.Random) -> None:
        self.world = world
        self.proxy = proxy
        self.rng = rng
        self.done: list[str] = []

    async def disturb(self) -> None:
        deeds = (
            self.killed,
            self.frozen,
            self.flushed,
            self.garbage,
            self.slow,
            self.hanging,
            self.cut,
            self.leaderless,
        )
        for deed in self.rng.sample(deeds, self.rng.choice((1, 1, 2, 3))):
            self.done.append(deed.__name__)
            await deed()

    async def pass_time(self) -> None:
        await asyncio.sleep(self.rng.choice((0.0, 0.1, 0.4)))
        await self.world.play(self.rng.randrange(4), wait=False)

    async def killed(self) -> None:
        self.world.server.kill()
        await self.pass_time()
        await asyncio.to_thread(self.world.server.start)

    async def frozen(self) -> None:
        self.world.server.freeze()
        await self.pass_time()
        self.world.server.thaw()

    async def flushed(self) -> None:
        with self.world.raw() as client:
            client.flushall()
        await self.pass_time()

    async def garbage(self) -> None:
        keys = [
            KEYS.lanes,
            KEYS.prices,
            KEYS.instruments,
            KEYS.wanted,
            KEYS.leader,
            KEYS.epoch,
            KEYS.candles((BTC, "1m")),
        ]
        with self.world.raw() as client:
            for key in self.rng.sample(keys, 3):
                client.delete(key)
                self.rng.choice((client.set, client.rpush, client.publish))(key, b"\xff garbage")
            client.publish(KEYS.news, b"garbage")
        await self.pass_time()

    async def slow(self) -> None:
        self.proxy.delay_s = 1.0
        await self.pass_time()
        self.proxy.delay_s = 0.0

    async def hanging(self) -> None:
        self.proxy.held = True
        await self.pass_time()
        self.proxy.held = False

    async def cut(self) -> None:
        await self.proxy.cut()
        await self.pass_time()

    async def leaderless(self) -> None:
        """The leader ends, in good order or without a word; another publisher comes."""
        leader = self.world.leader
        if leader is not None:
            await leader.kill()
            if self.rng.random() < 0.5:
                await leader.publisher.close()
        self.world.publisher(port=self.rng.choice((self.proxy.port, None)))
        await self.pass_time()


def campaign(seed: int) -> None:
    async def scene(world: SharedWorld) -> None:
        proxy = await DelayProxy("127.0.0.1", world.server.port).start()
        played = Campaign(world, proxy, random.Random(seed))
        try:
            world.publisher().read()
            await until(lambda: world.leader)
            world.publisher(port=proxy.port)
            world.follower((BTC, "1m"), (BTC, "5m"), port=proxy.port)
            world.follower((BTC, "1m"), (ETH, "1m"))
            await world.ready()
            await world.play(5)
            for _ in range(ROUNDS):
                await played.disturb()
                await world.recovered(15.0)
                world.assert_complete()
        except BaseException:
            print(f"seed {seed}: {played.done}", file=sys.stderr)
            raise
        finally:
            await world.close()
            await proxy.stop()

    with_world(scene)


@pytest.mark.parametrize("seed", [3])
def test_nobody_misses_a_candle_whatever_happens(seed: int) -> None:
    campaign(seed)


if __name__ == "__main__":
    first, last = int(sys.argv[1]), int(sys.argv[-1])
    for number in range(first, last + 1):
        campaign(number)
        print(f"seed {number}: every candle once, in order and true", flush=True)
