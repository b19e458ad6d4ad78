"""Streams spread over connections, each kept alive: the stream client as the feed sees it.

Say which streams are wanted, any time, and let it run. Streams are laid on *shards* of at most 1,024; a
stream stays where it is until nobody wants it. A shard has one connection, or two for a while:

- an ended connection is followed by another after a jittered, growing pause;
- a connection near the end of its life, one whose server announces its shutdown and one that somebody
  distrusts (:meth:`Shards.reconnect`) is *overlapped*: its successor is connected and carries all streams
  before it is closed. So nothing is lost, and messages come twice: telling them apart is the consumer's
  business, as is decoding.

It never tries more connections than the exchange allows, over all shards.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Set
from typing import Any

from botd.domain.clock import Clock
from botd.exchange.binance.dial import ConnectionFailed, Resolver
from botd.exchange.binance.stream_rules import AttemptBudget, Backoff, Chance, StreamRules
from botd.market.binance.connection import Connection

OnStreams = Callable[[Connection, frozenset[str]], None]

logger = logging.getLogger("botd.market")


def _nothing(connection: Connection, streams: frozenset[str]) -> None:
    """The callback of those who do not ask for one."""


class Shards:
    """See the module. :meth:`set_streams` any time, :meth:`run` until :meth:`close`.

    ``url`` is the host without a path (``wss://stream.binance.com:9443``). ``on_message`` gets every frame of
    market data and whatever is no answer to a request, as ``bytes``. ``on_connected`` is
    called when streams are carried (again): each time a connection has all of its streams, and for streams that
    join one later. ``on_lost`` is called when a connection has ended and these streams have no other.
    None of the three may raise. The first argument of the latter two is the :class:`Connection`, with its ``name``
    and, once it has ended, its ``reason``.
    """

    def __init__(
        self,
        url: str,
        *,
        on_message: Callable[[bytes], None],
        clock: Clock,
        rng: Chance,
        rules: StreamRules | None = None,
        ssl_context: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
        on_connected: OnStreams = _nothing,
        on_lost: OnStreams = _nothing,
    ) -> None:
        self.url = url
        self.clock = clock
        self.rng = rng
        self.rules = rules or StreamRules()
        self.attempts = AttemptBudget(self.rules, clock)
        self.on_message = on_message
        self.on_connected = on_connected
        self.on_lost = on_lost
        self.ssl_context = ssl_context
        self.resolver = resolver
        self._shards: list[_Shard] = []
        self._next_number = 1
        self._where: dict[str, _Shard] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def set_streams(self, streams: Set[str]) -> None:
        """Carry exactly these streams (``btcusdt@kline_1m``): a few more or less change no connection."""
        new = streams - self._where.keys()
        for stream in self._where.keys() - streams:
            self._where.pop(stream).streams.discard(stream)
        room = iter(self._shards)
        shard = next(room, None)
        for stream in sorted(new):
            while shard is None or len(shard.streams) >= self.rules.streams:
                shard = next(room, None) or self._another()
            shard.streams.add(stream)
            self._where[stream] = shard
        for shard in self._shards:
            shard.streams_changed()
        self._changed.set()

    async def run(self) -> None:
        """Keep the streams up until :meth:`close`. Troubles of the network never end it."""
        try:
            async with asyncio.TaskGroup() as group:
                while not self._closed:
                    self._changed.clear()
                    self._let_go([shard for shard in self._shards if not shard.streams])
                    for shard in self._shards:
                        if shard.task is None:
                            shard.task = group.create_task(shard.run(), name=f"stream shard {shard.number}")
                    await self._changed.wait()
                self._let_go(list(self._shards))
        finally:
            self._let_go(list(self._shards))

    async def close(self) -> None:
        """End all connections in order; :meth:`run` returns."""
        self._closed = True
        self._changed.set()
        tasks = [shard.task for shard in self._shards if shard.task is not None]
        self._let_go(list(self._shards))
        if tasks:
            await asyncio.wait(tasks)

    def reconnect(self, stream: str, reason: str = "distrusted") -> bool:
        """Overlap the connection of a stream with a new one.

        False where that is under way already, the connection is very new, or nobody wants the stream: so
        many symbols may complain about one connection.
        """
        shard = self._where.get(stream)
        return shard is not None and shard.distrust(reason)

    def is_live(self, stream: str) -> bool:
        """Tell whether the server has acknowledged the stream on a connection that stands."""
        shard = self._where.get(stream)
        return shard is not None and shard.carries(stream)

    def silent_s(self, stream: str) -> float | None:
        """Return for how long the stream's connection has said nothing at all, None where it has none."""
        shard = self._where.get(stream)
        return None if shard is None else shard.silent_s()

    def statistics(self) -> dict[str, Any]:
        """Return the state of every shard, and what there was of it."""
        rows = [shard.statistics() for shard in self._shards]
        return {
            "shards": rows,
            "streams": len(self._where),
            "live": sum(row["live"] for row in rows),
            "attempts": self.attempts.count,
            **{name: sum(row[name] for row in rows) for name in ("reconnects", "overlaps", "failures")},
        }

    def _another(self) -> _Shard:
        shard = _Shard(self._next_number, self)
        self._next_number += 1
        self._shards.append(shard)
        return shard

    def _let_go(self, shards: list[_Shard]) -> None:
        for shard in shards:
            self._shards.remove(shard)
            shard.stop()


class _Shard:
    """Some streams, and the connections that carry them: the owner of both."""

    def __init__(self, number: int, shards: Shards) -> None:
        self.number = number
        self.streams: set[str] = set()
        self.task: asyncio.Task[None] | None = None
        self._all = shards
        self._rules = shards.rules
        self._connections: list[Connection] = []
        self._main: Connection | None = None
        self._reasons: dict[Connection, str] = {}
        self._announced: set[str] = set()
        self._backoff = Backoff(shards.rules, shards.rng)
        self._news = asyncio.Event()
        self._made = 0
        self._replacing = True
        self._counts = {"reconnects": 0, "overlaps": 0, "failures": 0}
        self._trouble = ""

    # -- its life

    async def run(self) -> None:
        """Keep one connection up that carries the streams; for ever."""
        try:
            while True:
                connection = await self._connected()
                await self._retire_others(connection)
                await self._until_over(connection)
                stable = connection.age_s >= self._rules.stable_s
                if stable:
                    self._backoff.succeeded()
                self._count(connection)
                if connection.reason or not stable:
                    await self._all.clock.sleep(self._backoff.pause_s())
        finally:
            self.stop()

    def stop(self) -> None:
        """End the connections in order, now."""
        for connection in list(self._connections):
            connection.close()
        if self.task is not None:
            self.task.cancel()

    async def _connected(self) -> Connection:
        """Return a connection that carries all streams; tries until there is one."""
        while True:
            while (wait := self._all.attempts.wait_s()) > 0:
                await self._all.clock.sleep(wait)
            connection = self._make()
            try:
                await connection.open()
                connection.want(self.streams)
                await connection.settled()
            except ConnectionFailed as error:
                self._failed(connection, error)
                await self._all.clock.sleep(self._backoff.pause_s(error.at_least_s))
            else:
                self._main = connection
                self._trouble = ""
                self._announce(connection, connection.live)
                return connection

    def _make(self) -> Connection:
        self._made += 1
        self._all.attempts.tried()
        connection = Connection(
            self._all.url,
            name=f"stream {self.number}.{self._made}",
            owner=self,
            on_message=self._all.on_message,
            clock=self._all.clock,
            rules=self._rules,
            ssl_context=self._all.ssl_context,
            resolver=self._all.resolver,
        )
        self._connections.append(connection)
        return connection

    def _failed(self, connection: Connection, error: ConnectionFailed) -> None:
        self._counts["failures"] += 1
        if self._trouble != str(error):
            self._trouble = str(error)
            logger.warning("%s: %s; it is tried again and again", connection.name, error)
        connection.end(str(error))
        if connection in self._connections:
            self._connections.remove(connection)

    async def _retire_others(self, successor: Connection) -> None:
        """Close the older ones, once what was under way on them has come; not if the new one has gone too."""
        if len(self._connections) > 1:
            await self._all.clock.sleep(self._rules.linger_s)
        if not successor.reason:
            for connection in [other for other in self._connections if other is not successor]:
                connection.close(f"overlapped by {successor.name}")

    async def _until_over(self, connection: Connection) -> None:
        """Wait until the connection has ended or needs a successor."""
        spare = self._rules.overlap_s * self._all.rng.uniform(1.0, 2.0)  # not all shards at the same moment
        left = self._rules.lifetime_s - spare - connection.age_s
        self._replacing = connection in self._reasons
        ageing = asyncio.create_task(self._age(connection, max(0.0, left)), name=f"{connection.name} age")
        try:
            while not connection.reason and connection not in self._reasons:
                self._news.clear()
                await self._news.wait()
        finally:
            ageing.cancel()
        self._replacing = True

    async def _age(self, connection: Connection, left_s: float) -> None:
        await self._all.clock.sleep(left_s)
        self._reasons.setdefault(connection, "near the end of its life")
        self._news.set()

    def _count(self, connection: Connection) -> None:
        reason = self._reasons.pop(connection, "")
        self._counts["reconnects" if connection.reason else "overlaps"] += 1
        if connection.reason:
            self._trouble = connection.reason
            logger.warning("%s: %s", connection.name, connection.reason)
        else:
            logger.info("%s is %s: overlapped by a new one", connection.name, reason)

    # -- what its connections tell

    def on_live(self, connection: Connection, streams: frozenset[str]) -> None:
        """Streams that join later are announced at once; those of a new connection all together."""
        if connection is self._main:
            self._announce(connection, streams)

    def on_shutdown(self, connection: Connection) -> None:
        """Have it overlapped at once. A connection that is not in use yet comes up, and then is."""
        self._replacing |= connection is self._main
        self._reasons[connection] = "about to be shut down"
        self._news.set()

    def on_end(self, connection: Connection) -> None:
        """Say which streams nothing carries now."""
        if connection in self._connections:
            self._connections.remove(connection)
        carried = set().union(*(other.live for other in self._connections))
        lost = frozenset(self._announced & connection.live - carried)
        self._announced -= lost
        self._reasons.pop(connection, None)
        self._news.set()
        if lost:
            self._all.on_lost(connection, lost)

    def _announce(self, connection: Connection, streams: Set[str]) -> None:
        carried = frozenset(streams & self.streams)
        self._announced |= carried
        if carried:
            self._all.on_connected(connection, carried)

    # -- what the feed wants

    def streams_changed(self) -> None:
        """Tell the connections; those that are up do the rest."""
        self._announced &= self.streams
        for connection in self._connections:
            connection.want(self.streams)

    def distrust(self, reason: str) -> bool:
        """Have the connection overlapped, unless it is new or has a successor on its way."""
        main = self._main
        if main is None or self._replacing or main.age_s < self._rules.cooldown_s:
            return False
        self._replacing = True
        self._reasons[main] = reason
        self._news.set()
        return True

    def carries(self, stream: str) -> bool:
        return any(stream in connection.live for connection in self._connections)

    def silent_s(self) -> float | None:
        """Return the silence of the connection that was heard last."""
        return min((c.silent_s for c in self._connections if c.live), default=None)

    def statistics(self) -> dict[str, Any]:
        return {
            "shard": self.number,
            "live": sum(1 for stream in self.streams if self.carries(stream)),
            "trouble": self._trouble,
            **self._counts,
            "connections": [connection.statistics() for connection in self._connections],
        }
