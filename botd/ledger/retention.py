"""What the ledger forgets, and when, by trading time.

Orders, fills, trades and commands are kept for ever; decisions that changed nothing and fine equity points for
a while; events a month. It works in small steps between commits and may not hold the writer up.
"""

from __future__ import annotations

import sqlite3

from botd.domain.clock import Clock
from botd.domain.failpoints import failpoint
from botd.ledger import schema
from botd.ledger.checksums import sealed
from botd.ledger.tables import TABLES

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
DECISIONS_MS = 7 * DAY_MS
EVENTS_MS = 30 * DAY_MS
EQUITY_MS = 7 * DAY_MS
SIMULATED_EQUITY_MS = 60 * DAY_MS  # a month played at full speed keeps its whole curve

_ROWS = 1000  # rows of one step
_SPAN_MS = DAY_MS  # of one bot's equity in one step

_THIN = """
DELETE FROM equity WHERE bot = :bot AND time_ms >= :low AND time_ms < :high AND time_ms NOT IN (
    SELECT max(time_ms) FROM equity WHERE bot = :bot AND time_ms >= :low AND time_ms < :high GROUP BY time_ms / :hour)
"""


class Retention:
    """Prunes a little at each :meth:`step`."""

    def __init__(self, clock: Clock, *, simulated: bool) -> None:
        self._clock = clock
        self._equity_ms = SIMULATED_EQUITY_MS if simulated else EQUITY_MS
        self._thinned_to: int | None = None
        self._round: list[int] = []
        self._round_end = 0

    def step(self, connection: sqlite3.Connection) -> bool:
        """Do one small piece of work in its own transaction; return whether there is more."""
        now = self._clock.now_ms()
        connection.execute("BEGIN IMMEDIATE")
        more = self._prune_decisions(connection, now - DECISIONS_MS)
        more |= self._prune_events(connection, now - EVENTS_MS)
        more |= self._thin_equity(connection, now - self._equity_ms)
        failpoint("ledger.before_prune")
        connection.execute("COMMIT")
        return more

    def _prune_decisions(self, connection: sqlite3.Connection, before_ms: int) -> bool:
        old = "SELECT id FROM decisions WHERE changed = 0 AND time_ms < ? ORDER BY time_ms LIMIT ?"
        gone = connection.execute(f"DELETE FROM decisions WHERE id IN ({old})", (before_ms, _ROWS))
        return gone.rowcount == _ROWS

    def _prune_events(self, connection: sqlite3.Connection, before_ms: int) -> bool:
        old = "SELECT seq FROM (SELECT seq, time_ms FROM events ORDER BY seq LIMIT ?) WHERE time_ms < ?"
        gone = connection.execute(f"DELETE FROM events WHERE seq IN ({old})", (_ROWS, before_ms))
        return gone.rowcount == _ROWS

    def _thin_equity(self, connection: sqlite3.Connection, before_ms: int) -> bool:
        """Keep the last point of each hour before ``before_ms``: one bot's day at a time, round by round."""
        if not self._round and not self._begin_round(connection, before_ms // HOUR_MS * HOUR_MS):
            return False
        low = self._thinned_to
        connection.execute(_THIN, {"bot": self._round.pop(), "low": low, "high": self._round_end, "hour": HOUR_MS})
        if not self._round:
            self._thinned_to = self._round_end
            done = sealed(TABLES["meta"], [("equity_thinned", str(self._round_end))])
            connection.execute(TABLES["meta"].insert(1), done[0])
        return True

    def _begin_round(self, connection: sqlite3.Connection, limit_ms: int) -> bool:
        if self._thinned_to is None:
            self._thinned_to = self._resume(connection, limit_ms)
        if self._thinned_to >= limit_ms:
            return False
        self._round_end = min(self._thinned_to + _SPAN_MS, limit_ms)
        self._round = _numbers(connection)
        return True

    def _resume(self, connection: sqlite3.Connection, limit_ms: int) -> int:
        """Return up to where a former run thinned, else the hour of the first point there is."""
        stored = schema.meta(connection, "equity_thinned")
        if stored is not None:
            return int(stored)
        first = "SELECT min(time_ms) FROM equity WHERE bot = ?"
        times = [connection.execute(first, (number,)).fetchone()[0] for number in _numbers(connection)]
        known = [time for time in times if time is not None]
        return min(known) // HOUR_MS * HOUR_MS if known else limit_ms


def _numbers(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT number FROM bots ORDER BY number DESC")]
