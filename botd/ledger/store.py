"""The ledger: the truth after a restart.

    rooms append to the journal -> commit() hands the batch to the writer's thread -> one transaction
    -> the future resolves, and followers get the batch's events, on the event loop

What was not committed never happened; what was committed is there whole, and nothing later without it. It
knows rows, not what they mean: it may not decide anything about orders, money or bots.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from botd.domain.clock import Clock
from botd.domain.errors import UnavailableError
from botd.domain.events import Event
from botd.ledger import audit, backup, failures, load, schema
from botd.ledger.checksums import damages
from botd.ledger.journal import Batch, Journal
from botd.ledger.readers import Readers
from botd.ledger.records import Loaded
from botd.ledger.retention import DAY_MS, Retention
from botd.ledger.writer import Writer

LOW_BYTES = 1024**3  # of free space: said in health
CRITICAL_BYTES = 200 * 1024**2  # nothing is opened below
INDEXES_TO_BYTES = 128 * 1024**2
"""Up to this size of the file a check reads the indexes too, which takes twice as long as the rows."""
_FREE_FOR_S = 1.0  # how long a look at the free space is good for

EventListener = Callable[[list[Event]], None]
_log = logging.getLogger(__name__)


class Ledger:
    """One ledger file, open. All methods belong to the event loop's thread; open and load need no loop."""

    def __init__(self, path: Path, world: dict[str, Any], instance: str, *, clock: Clock, retry_s: float) -> None:
        """Use :meth:`open`."""
        self.path = path
        self.world = world
        self.instance = instance
        self.error: str | None = None
        """Why commits are refused at present, None while all is well."""
        self.damage: str | None = None
        """What :meth:`check` found damaged."""
        self.checked = self.checking = False
        self._clock = clock
        self._free: Callable[[Path], int] = failures.free_bytes
        self._free_seen = (-_FREE_FOR_S, 0)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[Batch] = deque()
        self._drains: list[asyncio.Future[None]] = []
        self._listeners: list[EventListener] = []
        self._closed = False
        connection = schema.connect(path, write=False)
        try:
            self._sequence = int(schema.meta(connection, "batch") or 0)
            self._event_seq = int(schema.meta(connection, "event_seq") or 0)
            self._outcomes = load.last_outcomes(connection)
            self.older = audit.older_copy(connection, path)
            """What the anchors say is missing of the audit's end, as after an older copy was put back; else empty."""
        finally:
            connection.close()
        self.journal = Journal(self._outcomes)
        self._readers = Readers(path)
        retention = Retention(clock, simulated=schema.is_simulated(world))
        self._writer = Writer(path, settled=self._from_writer, retention=retention, clock=clock, retry_s=retry_s)
        self._born = (clock.monotonic(), self._size())
        self._writer.start()

    @classmethod
    def open(cls, path: Path, world: dict[str, Any], *, clock: Clock, retry_s: float = 1.0) -> Ledger:
        """Open the ledger at ``path``, or make it, bound to ``world``.

        ConfigError: damaged, not a ledger, a newer schema, or another world. ForbiddenError: no permission.
        UnavailableError: disk full or locked.
        """
        instance = schema.prepare(path, world, clock)
        try:
            return cls(path, world, instance, clock=clock, retry_s=retry_s)
        except sqlite3.Error as error:
            raise failures.on_open(path, error) from error
        except ValueError as error:
            raise failures.damaged(path, str(error)) from error

    def load(self) -> Loaded:
        """Return the state as last committed (synchronous, for the start)."""
        try:
            connection = schema.connect(self.path, write=False)
            try:
                return load.load(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise failures.on_open(self.path, error) from error
        except (msgspec.MsgspecError, ArithmeticError, ValueError, TypeError) as error:
            raise failures.damaged(self.path, str(error)) from error

    # -- writing

    def commit(self) -> asyncio.Future[None]:
        """Commit what was journalled since the last commit; the future resolves when it is durable.

        It fails with UnavailableError when the disk refuses; the batch is then kept, in order, and written
        once the disk allows. With nothing journalled it waits for what was committed before.
        """
        return self.commit_batch(self.journal)

    def detached(self) -> Journal:
        """Return a journal apart, for a command that must not wait for the moment under way (halt)."""
        return Journal(self._outcomes)

    def commit_batch(self, journal: Journal) -> asyncio.Future[None]:
        """Commit what was appended to ``journal``, as :meth:`commit` does; it is empty afterwards."""
        loop = self._loop = asyncio.get_running_loop()
        if journal.empty:
            return self._settled_so_far(loop)
        if self._closed:
            raise UnavailableError("ledger: closed", "botd is shutting down")
        self._sequence += 1
        batch = journal.take(self._sequence, self._event_seq)
        self._event_seq = batch.event_seq
        self._waiting.append(batch)
        self._writer.submit(batch)
        return self._settled_so_far(loop)

    @property
    def pending(self) -> int:
        """How many batches were committed and are not durable yet."""
        return len(self._waiting)

    async def drain(self, below: int) -> None:
        """Wait until fewer than ``below`` batches are pending: the brake of a feed that is faster."""
        while len(self._waiting) >= max(1, below) and not self._closed:
            waiter = asyncio.get_running_loop().create_future()
            self._drains.append(waiter)
            await waiter

    async def flush(self) -> None:
        """Wait until all that was committed is durable; UnavailableError when the disk refuses.

        It does not commit what is being journalled: half a moment must not become durable.
        """
        await self._settled_so_far(asyncio.get_running_loop())

    def on_commit(self, callback: EventListener) -> None:
        """Hand the events of each durable batch, in order and with ``seq``, to ``callback``."""
        self._listeners.append(callback)

    async def close(self) -> None:
        """Write what was committed, then close. UnavailableError says how much the disk did not take."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._readers.close)  # first: the last to close empties the log
        await loop.run_in_executor(None, self._writer.stop)
        await asyncio.sleep(0)  # the writer's last words were queued before this
        for waiter in self._drains:
            _resolve(waiter, None)
        if self._waiting:
            count = len(self._waiting)
            raise UnavailableError(f"ledger: {count} batches could not be written: {self.error}", "free the disk")

    # -- reading

    async def query(self, sql: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return rows as dicts, as of all that was committed when called (or could be written of it)."""
        if self.error is None:
            try:
                await self.flush()
            except UnavailableError:
                pass  # what is on disk can still be read; health shows the error
        return await self._readers.query(sql, params)

    async def backup(self, directory: Path, verify: bool) -> dict[str, Any]:
        """Copy the ledger while it is in use; return path, bytes, verified, seconds."""
        await self.flush()
        return await self._readers.run(lambda: backup.backup(self.path, directory, self._clock, verify=verify))

    async def check(self) -> str | None:
        """Read every row and the audit's chain, and return what is damaged (None: nothing); no entries from then on.

        Beside the loop, on a reader's thread: a few seconds for a million rows.
        """

        def first() -> str | None:
            connection = schema.connect(self.path, write=False)
            try:
                small = self._size() <= INDEXES_TO_BYTES
                found = next(damages(connection, indexes=small), None)
                return found or next(audit.damages(connection, self.path), None)
            except (sqlite3.DatabaseError, ValueError) as error:
                return str(error)
            finally:
                connection.close()

        self.checking = True
        try:
            self.damage = await self._readers.run(first)
        finally:
            self.checking = False
        self.checked = True
        if self.damage is not None:
            _log.error("ledger: %s is damaged: %s", self.path, self.damage)
        return self.damage

    # -- health

    @property
    def disk_free(self) -> int:
        """Bytes still free beside the ledger, at most a second old."""
        now = self._clock.monotonic()
        if now - self._free_seen[0] >= _FREE_FOR_S:
            self._free_seen = (now, self._free(self.path.parent))
        return self._free_seen[1]

    @property
    def remedy(self) -> str:
        """What a person can do about damage or an older copy, empty where there is neither."""
        if self.damage is not None:
            return failures.ACCEPT if self.damage.startswith(audit.DAMAGED) else failures.REPLACE
        return failures.ACCEPT if self.older else ""

    def trouble(self) -> str:
        """Return in words why :meth:`opens_allowed` says no, empty where it says yes."""
        if self.damage is not None:
            return f"ledger is damaged: {self.damage}"
        if self.error is not None:
            return self.error
        if self.checking:
            return "ledger: it is being checked"
        return "ledger: the disk is nearly full" if self.disk_free < CRITICAL_BYTES else ""

    def opens_allowed(self) -> bool:
        """False while commits are refused, rows are damaged or the disk is nearly full: no new positions then."""
        return not self.trouble()

    def statistics(self) -> dict[str, Any]:
        """Return size, speed and room to grow, for ``health``."""
        durations = sorted(self._writer.durations)
        free = self.disk_free
        disk = "critical" if free < CRITICAL_BYTES else "low" if free < LOW_BYTES else "ok"
        return {
            "path": str(self.path),
            "instance": self.instance,
            "schema": schema.VERSION,
            "error": self.error,
            "damage": self.damage,
            "older_copy": self.older,
            "pending": self.pending,
            "batches": self._sequence,
            "event_seq": self._event_seq,
            "transactions": self._writer.transactions,
            "rows": self._writer.rows,
            "commit_p50_ms": _quantile_ms(durations, 0.50),
            "commit_p99_ms": _quantile_ms(durations, 0.99),
            "size_bytes": self._size(),
            "disk": disk,
            "disk_free_bytes": free,
            "disk_days_left": self._days_left(free),
        }

    # -- inside

    def _settled_so_far(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        future: asyncio.Future[None] = loop.create_future()
        if self._waiting:
            self._waiting[-1].waiters.append(future)
        else:
            future.set_result(None)
        return future

    def _from_writer(self, batches: list[Batch], error: UnavailableError | None) -> None:
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._on_settled, batches, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                _log.debug("ledger: %d batches settled after the loop's end", len(batches))

    def _on_settled(self, batches: list[Batch], error: UnavailableError | None) -> None:
        self.error = None if error is None else error.message
        for batch in batches:
            waiters, batch.waiters = batch.waiters, []
            for waiter in waiters:
                _resolve(waiter, error)
        if error is not None:
            return
        for _ in batches:
            self._waiting.popleft()
        drains, self._drains = self._drains, []
        for waiter in drains:
            _resolve(waiter, None)
        self._tell([event for batch in batches for event in batch.events])

    def _tell(self, events: Sequence[Event]) -> None:
        if not events:
            return
        for listener in self._listeners:
            try:
                listener(list(events))
            except Exception:  # a follower's failure must not stop the ledger
                _log.exception("ledger: an event listener failed")

    def _size(self) -> int:
        log = self.path.with_name(self.path.name + "-wal")
        return sum(file.stat().st_size for file in (self.path, log) if file.exists())

    def _days_left(self, free: int) -> float | None:
        """Return in how many days the disk is full at the growth since the start, None while it is unknown."""
        seconds = self._clock.monotonic() - self._born[0]
        grown = self._size() - self._born[1]
        if seconds < 60 or grown <= 0:
            return None
        return round(free / (grown / seconds) / (DAY_MS / 1000), 1)


def _resolve(waiter: asyncio.Future[None], error: UnavailableError | None) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
        return
    waiter.set_exception(error)
    waiter.exception()  # who does not wait for the outcome sees it in `error` and health


def _quantile_ms(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 3)
