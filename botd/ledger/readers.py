"""Reading connections, on a small pool of threads, so that no query holds up the event loop or the writer.

It may not write.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from botd.domain.errors import UnavailableError
from botd.ledger import schema

Result = TypeVar("Result")
_THREADS = 2


class Readers:
    """Threads with a read-only connection each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="ledger-reader")
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        # Never the last connection to close: while it is there, the shared index of the log stays, and reading
        # goes on when the writer must reopen on a disk too full to make a new one.
        self._anchor = schema.connect(path, write=False)
        schema.meta(self._anchor, "instance")

    async def query(self, sql: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        """Return the rows of ``sql`` as dicts."""
        return await self.run(lambda: self._query(sql, parameters))

    async def run(self, call: Callable[[], Result]) -> Result:
        """Run ``call`` on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Finish what runs, then close the connections."""
        self._pool.shutdown(wait=True)
        while not self._idle.empty():
            self._idle.get_nowait().close()
        self._anchor.close()

    def _query(self, sql: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect()
        try:
            cursor = connection.execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except sqlite3.DatabaseError as error:
            connection.close()
            raise UnavailableError(f"ledger: {self._path} cannot be read: {error}", "see `botctl health`") from error
        self._idle.put(connection)
        return rows

    def _connect(self) -> sqlite3.Connection:
        try:
            return schema.connect(self._path, write=False)
        except sqlite3.Error as error:
            raise UnavailableError(f"ledger: {self._path} cannot be opened: {error}", "see `botctl health`") from error
