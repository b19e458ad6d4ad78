"""The writer: the one connection that writes, on its own thread, with group commit.

Batches are applied strictly in the order they came; all that wait are folded into one transaction. After a
refused commit the connection is thrown away, never synced again; a new one says what was committed, and
the rest is tried again every second, in order, from memory. It may not look into a batch's meaning.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from botd.domain.clock import Clock, rfc3339
from botd.domain.errors import UnavailableError
from botd.domain.failpoints import failpoint
from botd.ledger import audit, failures, schema
from botd.ledger.checksums import sealed
from botd.ledger.journal import Batch
from botd.ledger.retention import Retention
from botd.ledger.tables import ALL, TABLES, Row, Table

Settled = Callable[[list[Batch], UnavailableError | None], None]

FOLD_ROWS = 20_000  # the most rows in one transaction: bounds its time and the log's growth
_WIDEST = 256  # rows in one INSERT
_IDLE_S = 5.0  # without a batch for so long the writer looks after the file
_CHECKPOINT_EACH = 256  # transactions: a commit right after one waits for it
_PRUNE_EACH = 16  # transactions

_log = logging.getLogger(__name__)


class Writer:
    """A thread that makes batches durable. ``settled`` is called on it, in order, with what became of them."""

    def __init__(self, path: Path, *, settled: Settled, retention: Retention, clock: Clock, retry_s: float) -> None:
        self._path = path
        self._settled = settled
        self._retention = retention
        self._clock = clock
        self._retry_s = retry_s
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._connection: sqlite3.Connection | None = None
        self._chain = audit.Chain(audit.key(path), audit.Head())
        self._anchored = (clock.monotonic(), audit.Head())
        self._committed = 0
        self._failed = False
        self._idled = False
        self.durations: deque[float] = deque(maxlen=1000)
        self.transactions = 0
        self.rows = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Hand over the next batch (event loop's thread)."""
        self._queue.put(batch)

    def stop(self) -> None:
        """Write what is queued (one last attempt after a failure), close, and wait for the thread's end."""
        self._queue.put(None)
        self._stop.set()
        self._thread.join()

    # -- the thread

    def _run(self) -> None:
        kept: deque[Batch] = deque()
        stopping = False
        while not stopping:
            stopping = self._take(kept)
            sound = self._write_all(kept)
            if sound and not stopping:
                self._maintain()
        self._anchor()
        self._discard()

    def _take(self, kept: deque[Batch]) -> bool:
        """Move waiting batches to ``kept``; return whether the end is asked for."""
        waiting, self._idled = self._queue, False
        if kept:
            self._stop.wait(self._retry_s)
        else:
            try:
                first = waiting.get(timeout=_IDLE_S)
            except queue.Empty:
                self._idled = True
                return False
            if first is None:
                return True
            kept.append(first)
        while True:
            try:
                batch = waiting.get_nowait()
            except queue.Empty:
                return False
            if batch is None:
                return True
            kept.append(batch)

    def _write_all(self, kept: deque[Batch]) -> bool:
        """Write the kept batches, a fold at a time; those that could not be written stay in ``kept``."""
        while kept:
            fold = _first_rows(kept, FOLD_ROWS)
            started = self._clock.monotonic()
            try:
                self._write(fold)
            except Exception as error:  # the writer's boundary: whatever it is, no batch may be lost
                self._refused(kept, error)
                return False
            self.durations.append(self._clock.monotonic() - started)
            for _ in fold:
                kept.popleft()
            self._settled(fold, None)
        return True

    def _write(self, fold: Sequence[Batch]) -> None:
        if self._connection is None:
            self._connection = self._open()
        todo = [batch for batch in fold if batch.sequence > self._committed]
        if not todo:
            return
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        head = self._chain.head
        touched = {name for batch in todo for name in batch.rows}
        for table in ALL:  # bots come before what refers to them
            if table.name not in touched:
                continue
            rows = folded(table, todo)
            if table.name == "audit" and rows:
                rows, head = self._chain.extend(rows)
            self.rows += len(rows)
            apply_rows(connection, table, rows)
        last = todo[-1]
        progress = [("batch", str(last.sequence)), ("event_seq", str(last.event_seq))]
        apply_rows(connection, TABLES["meta"], progress)
        failpoint("ledger.before_commit")
        connection.execute("COMMIT")
        failpoint("ledger.after_commit")
        self._chain.head = head
        self._committed = last.sequence
        self.transactions += 1

    def _refused(self, kept: Iterable[Batch], error: Exception) -> None:
        if not self._failed:
            _log.error("ledger: commit refused: %s", error, exc_info=not isinstance(error, sqlite3.Error | OSError))
        self._failed = True
        self._discard()
        self._settled(list(kept), failures.on_write(self._path, error))

    def _open(self) -> sqlite3.Connection:
        connection = schema.connect(self._path, write=True)
        try:
            if self._failed:
                # What the log holds may be in the page cache only, after a failed sync: write it anew into the
                # database file, and sync that, before anything is called committed.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._committed = int(schema.meta(connection, "batch") or 0)
            self._chain.head = audit.head(connection)
        except BaseException:
            connection.close()
            raise
        if self._failed:
            _log.warning("ledger: reopened; the last durable batch is %d", self._committed)
        self._failed = False
        return connection

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                _log.warning("ledger: closing the connection failed", exc_info=True)

    def _maintain(self) -> None:
        """Checkpoint and prune between commits; a failure here loses nothing and shows at the next commit."""
        if self._connection is None:
            return
        idle = self._queue.empty()
        if self._clock.monotonic() - self._anchored[0] >= audit.ANCHOR_EVERY_S:
            self._anchor()
        try:
            if idle and self.transactions % _CHECKPOINT_EACH == 0:
                failpoint("ledger.before_checkpoint")
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                failpoint("ledger.after_checkpoint")
            if self._idled or self.transactions % _PRUNE_EACH == 0:
                while self._retention.step(self._connection) and self._queue.empty():
                    pass
        except (sqlite3.Error, OSError) as error:
            _log.warning("ledger: pruning failed: %s", error)
            # A full disk refused the write; after anything else a sync may have been lost, as after a refused commit.
            self._failed = failures.primary_code(error) != sqlite3.SQLITE_FULL
            self._discard()

    def _anchor(self) -> None:
        """Note the head of the audit's chain outside the database, if it moved."""
        head, before = self._chain.head, self._anchored[1]
        self._anchored = (self._clock.monotonic(), head)
        if head == before:
            return
        try:
            audit.anchor(self._path, head, rfc3339(self._clock.wall_ms()))
            _log.info("audit: head %d %s", head.id, head.mac)
        except OSError as error:
            _log.warning("audit: the head could not be noted: %s", error)


def _first_rows(batches: Iterable[Batch], limit: int) -> list[Batch]:
    """Return the first batches, as many as hold ``limit`` rows, at least one."""
    taken: list[Batch] = []
    for batch in batches:
        limit -= batch.size
        if taken and limit < 0:
            break
        taken.append(batch)
    return taken


def folded(table: Table, batches: Iterable[Batch]) -> Collection[Row]:
    """Return the rows of ``table`` in all batches; of rows with the same key the last, at the first's place."""
    groups = [rows for batch in batches if (rows := batch.rows.get(table.name))]
    if table.policy != "replace":
        return [row for rows in groups for row in rows]
    width = len(table.key)
    return {row[:width]: row for rows in groups for row in rows}.values()


def apply_rows(connection: sqlite3.Connection, table: Table, rows: Collection[Row]) -> None:
    """Write rows, many in one statement."""
    if table.name == "keyed":
        gone = [row[:2] for row in rows if row[2] is None]
        connection.executemany("DELETE FROM keyed WHERE space = ? AND key = ?", gone)
        rows = [row for row in rows if row[2] is not None]
    pending = list(rows)
    done = 0
    while done < len(pending):
        width = min(_WIDEST, 1 << ((len(pending) - done).bit_length() - 1))
        chunk = pending[done : done + width]
        written = sealed(table, chunk) if table.checked else chunk
        connection.execute(table.insert(width), [value for row in written for value in row])
        done += width
