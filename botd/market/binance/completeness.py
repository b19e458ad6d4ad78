"""The gate of one lane: which of the exchange's candles reach the bots, and when the lane is not complete.

A pure state machine. It is told what the stream sent, what REST answered and what time it is, and returns
what is to be done, in order: candles to deliver, rows to ask for, changes of state, corrections. It asks
nothing itself, has no clock and no random number: the same inputs give the same outputs.

A candle is closed by the exchange's flag or by REST, never because the next one appeared on the stream.
What an answer of REST proves says :mod:`botd.market.binance.proof`. Of two different values of a candle the one known
to be the more recent counts.

States: LIVE; HOLD (candles wait behind a hole for at most 5 s, or for the history); GAP (candles were passed
over: until they are found, or enough contiguous ones followed); STALE (the next candle is 90 s overdue, or
what is delivered is that old). In GAP and STALE nothing may be opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from botd.domain.candle import Candle, bucket_start, interval_ms
from botd.market.binance.gate_pauses import pause_ms
from botd.market.binance.gate_values import (
    GAP,
    HOLD,
    LIVE,
    STALE,
    Changed,
    Deliver,
    Known,
    Output,
    Reconnect,
    Restored,
    Revised,
    Row,
    Want,
)
from botd.market.binance.price_watch import MAX_JUMP
from botd.market.binance.proof import PROOF_MS, called_closed, has_passed, proven

HOLD_MS = 5_000
STALE_MS = 90_000
PROBE_MS = 5_000
"""So long after the expected close REST is asked for a candle that the stream did not close."""
AUDIT_MS = 600_000
"""REST is asked that often for the candles since: each one is compared with what was delivered."""
OVERLAP = 3
"""Delivered candles that every question to REST covers again, to be compared field by field."""
PAGE = 1000
_TRIES = 3  # answers that show that a hole is one
_REMEMBERED = 64  # delivered candles that may still be revised
_MISSING_MAX = 5_000  # candles of one hole that are looked for
_SILENT_CLOSES = 2  # candles in a row that REST had and the stream had not
_RENEW_MS = 300_000  # between connections made anew for a lane that stays STALE; it doubles
_COUNTED = (
    *("delivered", "by_rest", "synthetic", "duplicates", "late", "revised", "quarantined"),
    *("holds", "gaps", "restored", "stale", "asked", "answers", "failed", "reconnects"),
)


class LaneGate:
    """See the module. Times are the exchange's, in milliseconds.

    ``warmup`` contiguous candles end a GAP whose candles are never found. ``spread_ms`` sets this lane's
    questions to REST apart from those of other lanes.
    """

    def __init__(self, interval: str, *, warmup: int, spread_ms: int = 0) -> None:
        self.length = interval_ms(interval)
        self.warmup = warmup
        self.state = HOLD
        self.since_ms = 0
        self.reason = "warm-up"
        self.next_open: int | None = None
        """Open time of the candle to deliver next; None before :meth:`begin`."""
        self.due_ms = inf
        """When :meth:`on_time` has something to do."""
        self.hold_ms: float = HOLD_MS
        self.counts = dict.fromkeys(_COUNTED, 0)
        self._spread_ms = spread_ms
        self._held: dict[int, Known] = {}
        """Closed candles that are not delivered yet."""
        self._recent: dict[int, Known] = {}
        self._missing: set[int] = set()
        """Open times of the candles that were passed over."""
        self._run = 0
        """Contiguous candles since the last one that was passed over."""
        self._barren = 0
        """Answers in a row that have none of the missing candles, and what came after them."""
        self._hole_ms: int | None = None
        self._absent = 0
        """Answers that show that the candles of the hole do not exist."""
        self._suspect = False
        """The stream closed the next candle with absurd values."""
        self._doubted: Known | None = None
        """That candle, when only its price is absurd."""
        self._probe_ms = inf
        self._audit_ms = inf
        self._audit_to = 0
        """What an answer must be as recent as, to serve as the audit."""
        self._audited = 0
        """All that opened before was compared."""
        self._at_head = False
        """Whether the next candle, or one before those that wait, is asked for."""
        self._attempt, self._ask_ms = 0, inf
        self._silent = 0
        self._patience = _SILENT_CLOSES
        self._renew_ms = inf
        self._renewals = 0

    # -- what is said ---------------------------------------------------------------------------------

    def begin(self, rows: Sequence[Row], asked_ms: int, now_ms: int) -> tuple[list[Candle], list[Output]]:
        """Start after the history ``rows``, oldest first, asked for at ``asked_ms``.

        Returns the candles that are proven closed, for the array, and what is to be done.
        """
        as_of, closed = proven(rows, self.length, asked_ms, now_ms)
        for row in closed[-_REMEMBERED:]:
            self._recent[row.candle.open_time] = Known(row.candle, row.trades, as_of)
        first = rows[0].candle.open_time if rows else bucket_start(now_ms, self.length)
        last = closed[-1].candle.open_time if closed else first - self.length
        self.next_open, self.since_ms = last + self.length, now_ms
        self._look_for_holes([row.candle.open_time for row in closed[-self.warmup :]])
        self._held = {opened: known for opened, known in self._held.items() if opened > last}
        self._probe_ms = self.next_open + self.length + PROBE_MS + self._spread_ms
        self._audit_ms, self._audited = now_ms + AUDIT_MS + self._spread_ms, self.next_open
        return [row.candle for row in closed], self.on_time(now_ms)

    def on_stream(self, candle: Candle, trades: int, event_ms: int, now_ms: int) -> list[Output]:
        """Take a candle that the stream closed, as the exchange made it known at ``event_ms``."""
        out: list[Output] = []
        known = Known(candle, trades, min(event_ms, now_ms + PROOF_MS), by_stream=True)
        is_candle = called_closed(candle, self.length, min(event_ms, now_ms))
        if is_candle and not self._jumps(candle):
            self._take(out, known)
            self._advance(out, now_ms)
        else:
            self.counts["quarantined"] += 1
            if candle.open_time == self.next_open:
                self._suspect = True
                if is_candle and (self._doubted is None or known.replaces(self._doubted)):
                    self._doubted = known
                self._ask_now(now_ms)
        self._plan(out, now_ms)
        return out

    def on_forming(self, open_time: int, now_ms: int) -> None:
        """A candle forms: where the one before was not closed, REST is asked soon. Nothing is closed by that."""
        if self.next_open is not None and open_time > self.next_open:
            self._probe_ms = min(self._probe_ms, now_ms + PROOF_MS)
            self.due_ms = min(self.due_ms, self._probe_ms)

    def on_rest(self, rows: Sequence[Row], asked_ms: int, want: Want, now_ms: int) -> list[Output]:
        """Take REST's answer to ``want``, asked at ``asked_ms``; rows that are not proven closed are left out."""
        out: list[Output] = []
        self.counts["answers"] += 1
        before, missing = self.next_open or 0, len(self._missing)
        as_of, closed = proven(rows, self.length, asked_ms, now_ms)
        for row in closed:
            self._take(out, Known(row.candle, row.trades, as_of))
        if self._hole_ms is not None:
            self._absent += has_passed(rows, want.first, *self._hole())
        found = missing > len(self._missing)
        if self._missing and not found:
            nothing = has_passed(rows, want.first, min(self._missing), max(self._missing) + 1)
            self._barren = self._barren + 1 if nothing else 0
        self._advance(out, now_ms)
        last = closed[-1].candle.open_time if closed else 0
        if last >= before - self.length and want.first <= self._audited and as_of >= self._audit_to:
            self._audit_ms, self._audit_to, self._audited = now_ms + AUDIT_MS + self._spread_ms, 0, last + self.length
        if len(rows) >= PAGE and (found or (self.next_open or 0) > before):
            self._ask_now(now_ms)  # a full page: the rest at once
        self._plan(out, now_ms)
        return out

    def on_rest_failed(self, now_ms: int) -> list[Output]:
        """REST did not answer, or may not be asked: the next attempt comes with time."""
        self.counts["failed"] += 1
        return self.on_time(now_ms)

    def on_time(self, now_ms: int) -> list[Output]:
        """Notice what did not come."""
        out: list[Output] = []
        if self.next_open is not None:
            self._advance(out, now_ms)
            self._plan(out, now_ms)
        return out

    def on_reconnected(self, now_ms: int) -> list[Output]:
        """The stream is there anew: fetch what was missed, and compare what was delivered with REST."""
        if self.next_open is None:
            return []
        self._audit_ms, self._audit_to, self._silent = now_ms, now_ms, 0
        self._audited = min(self._audited, self.next_open - OVERLAP * self.length)
        self._ask_now(now_ms + min(self._spread_ms, 1_000))
        return self.on_time(now_ms)

    def statistics(self) -> dict[str, Any]:
        """Return the state, since when and why, what comes next, and the counts."""
        return {
            "state": self.state,
            "since_ms": self.since_ms,
            "reason": self.reason,
            "next_open": self.next_open,
            "missing": len(self._missing),
            "waiting": len(self._held),
            **self.counts,
        }

    # -- judging --------------------------------------------------------------------------------------

    def _jumps(self, candle: Candle) -> bool:
        """Tell whether the price is so far from what is known that only a second source can confirm it."""
        now, before = candle.open_time, candle.open_time - self.length
        beside = self._held.get(now) or self._recent.get(now) or self._held.get(before) or self._recent.get(before)
        beside = beside or self._recent.get((self.next_open or 0) - self.length)
        return beside is not None and abs(candle.open / beside.candle.close - 1.0) > MAX_JUMP

    def _hole(self) -> tuple[int, int]:
        first = self.next_open or 0
        return first, min(self._held, default=first)

    # -- taking ---------------------------------------------------------------------------------------

    def _take(self, out: list[Output], known: Known) -> None:
        """Sort a closed candle in: to be delivered, found late, revised, or known already."""
        opened = known.candle.open_time
        if self.next_open is None or opened >= self.next_open:
            have, known_to = self._held.get(opened), self._held
        else:
            have, known_to = self._recent.get(opened), self._recent
        if have is not None and (have.same(known) or not known.replaces(have)):
            self.counts["duplicates"] += 1
            if have.same(known):
                have.as_of = max(have.as_of, known.as_of)
        elif known_to is self._held:
            self._held[opened] = known
        elif opened in self._missing:
            self._restore(out, known)
        elif have is None:
            self.counts["late"] += 1
        else:
            self._recent[opened] = known
            self.counts["revised"] += 1
            out.append(Revised(have.candle, known.candle))

    def _restore(self, out: list[Output], known: Known) -> None:
        candle = known.candle
        self._missing.discard(candle.open_time)
        self._recent[candle.open_time] = known
        self.counts["restored"] += 1
        if out and isinstance(out[-1], Restored):
            out[-1] = Restored((*out[-1].candles, candle))
        else:
            out.append(Restored((candle,)))

    def _look_for_holes(self, times: list[int]) -> None:
        """Note what is missing in the history, and how many candles have followed."""
        if times:
            self._missing = set(range(times[0], times[-1], self.length)).difference(times)
            self._run = (times[-1] - max(self._missing, default=times[0] - self.length)) // self.length

    # -- delivering -----------------------------------------------------------------------------------

    def _advance(self, out: list[Output], now_ms: int) -> None:
        """Deliver what is next, notice a hole, pass over one that REST cannot fill, and settle the state."""
        self._drain(out, now_ms)
        if self._held and self.next_open is not None:
            if self._hole_ms is None:
                self._hole_ms, self._absent = now_ms, 0
                self.counts["holds"] += 1
                self._ask_now(now_ms)
            elif now_ms - self._hole_ms >= self.hold_ms or self._absent >= _TRIES:
                self._pass_over()
                self._advance(out, now_ms)
                return
        self._settle(out, now_ms)

    def _drain(self, out: list[Output], now_ms: int) -> None:
        while self.next_open is not None and (known := self._held.pop(self.next_open, None)) is not None:
            self._hole_ms = None
            self._suspect = False
            self.next_open += self.length
            self._probe_ms = self.next_open + self.length + PROBE_MS + self._spread_ms
            self._run += 1
            if self._run >= self.warmup:
                self._missing.clear()
            # What is old is delivered while nothing may be opened; the state is good again before the fresh one.
            if now_ms - self.next_open > STALE_MS:
                self._change(out, STALE, now_ms, "catching up")
            else:
                self._settle(out, now_ms)
            self._deliver(out, known)
            doubted, self._doubted = self._doubted, None
            if doubted is not None and not self._jumps(doubted.candle):
                self._take(out, doubted)  # REST confirmed it, and the stream may be the more recent

    def _deliver(self, out: list[Output], known: Known) -> None:
        candle = known.candle
        self._recent[candle.open_time] = known
        if len(self._recent) > 2 * _REMEMBERED:
            oldest = candle.open_time - _REMEMBERED * self.length
            self._recent = {opened: kept for opened, kept in self._recent.items() if opened > oldest}
        synthetic = known.trades == 0
        self.counts["delivered"] += 1
        self.counts["synthetic"] += synthetic
        if known.by_stream:
            self._silent, self._patience, self._renewals = 0, _SILENT_CLOSES, 0
        else:
            self.counts["by_rest"] += 1
            self._silent += not synthetic
        out.append(Deliver(candle, synthetic))

    def _pass_over(self) -> None:
        """Give the hole up: its candles are missing, what waited behind it comes next."""
        first, end = self._hole()
        first = max(first, end - _MISSING_MAX * self.length)
        self._missing.update(range(first, end, self.length))
        self.next_open = end
        self._hole_ms, self._run, self._barren = None, 0, 0
        self.counts["gaps"] += 1

    # -- states ---------------------------------------------------------------------------------------

    def _settle(self, out: list[Output], now_ms: int) -> None:
        """Take the state that follows from what is known."""
        if self.next_open is None:
            return
        if now_ms >= self.next_open + self.length + STALE_MS:
            self._stale(out, now_ms)
        elif self._missing:
            self._change(out, GAP, now_ms, f"{len(self._missing)} candles missing")
        elif self._hole_ms is not None:
            self._change(out, HOLD, now_ms, "candles wait behind a hole")
        else:
            self._change(out, LIVE, now_ms, "")

    def _stale(self, out: list[Output], now_ms: int) -> None:
        if self.state != STALE:
            self.counts["stale"] += 1
            self._renew_ms = now_ms
            self._change(out, STALE, now_ms, "the next candle is overdue")
        if now_ms >= self._renew_ms:
            self.counts["reconnects"] += 1
            out.append(Reconnect(self.reason))
            self._renew_ms = now_ms + _RENEW_MS * 2 ** min(self._renewals, 4)
            self._renewals += 1

    def _change(self, out: list[Output], state: str, now_ms: int, reason: str) -> None:
        if state != self.state:
            out.append(Changed(self.state, state, now_ms, reason))
            self.state, self.since_ms = state, now_ms
        self.reason = reason

    # -- asking ---------------------------------------------------------------------------------------

    def _plan(self, out: list[Output], now_ms: int) -> None:
        """Ask REST if it is time, and find when it is time again."""
        if self.next_open is None:
            return
        if self._silent >= self._patience:
            # Trades happened and the stream did not say so. Patience doubles: it is not made anew for ever.
            self._silent, self._patience = 0, min(2 * self._patience, 64)
            self.counts["reconnects"] += 1
            out.append(Reconnect("candles came by REST only"))
        at_head = self._hole_ms is not None or self._suspect or now_ms >= self._probe_ms
        if at_head or self._missing or now_ms >= self._audit_ms:
            if self._ask_ms == inf or (at_head and not self._at_head):
                self._ask_now(now_ms)
            if now_ms >= self._ask_ms:
                self._ask(out, now_ms, at_head)
            due = self._ask_ms
        else:
            self._ask_ms = inf
            due = self._audit_ms
        self._at_head = at_head
        if self._hole_ms is not None:
            due = min(due, self._hole_ms + self.hold_ms)
        if now_ms < self._probe_ms:
            due = min(due, self._probe_ms)
        self.due_ms = min(due, self._renew_ms if self.state == STALE else self.next_open + self.length + STALE_MS)

    def _ask_now(self, now_ms: int) -> None:
        self._attempt, self._ask_ms = 0, now_ms

    def _ask(self, out: list[Output], now_ms: int, at_head: bool) -> None:
        """Ask for what comes next; when nothing is awaited there, for what was passed over."""
        first = self.next_open or 0
        if not at_head:
            first = min(max(self._audited, first - _REMEMBERED * self.length), min(self._missing, default=first))
        first -= OVERLAP * self.length
        limit = min(PAGE, max(0, now_ms - first) // self.length + 2)
        stale, missing = self.state == STALE, bool(self._missing)
        audit = now_ms >= self._audit_ms
        self._ask_ms = now_ms + pause_ms(self._attempt, at_head, stale, missing, self._barren, audit)
        self._attempt += 1
        self.counts["asked"] += 1
        out.append(Want(first, limit, self._attempt, at_head or missing))
