"""Denials that repeat: an unbroken series of the same denial is one row and one event, and a count.

A halted bot whose signal lasts would else write a row at every candle. The series ends with an order that may
go, and with a decision in which nothing was denied; it is in the ledger, so a restart goes on counting.
"""

from __future__ import annotations

import msgspec

from botd.domain.clock import rfc3339
from botd.domain.order import Side
from botd.ledger.journal import Journal
from botd.risk.case import Verdict

SPACE = "denials"


class Series(msgspec.Struct, frozen=True):
    """How often one denial came in a row, and when it first did. ``open``: no decision was kept since the last."""

    code: str
    side: Side
    count: int
    since_ms: int
    open: bool = True


class Denials:
    """The series that is under way for one bot, if one is."""

    def __init__(self, bot: int, journal: Journal) -> None:
        self._bot = str(bot)
        self._journal = journal
        self._series: Series | None = None

    @property
    def series(self) -> Series | None:
        """The series under way."""
        return self._series

    def restore(self, row: str) -> None:
        """Take up the row that the ledger kept; empty for none."""
        self._series = msgspec.json.decode(row, type=Series) if row else None

    def add(self, verdict: Verdict, side: Side, now_ms: int) -> tuple[bool, Verdict]:
        """Count a denial. Returns whether it begins a series, and the verdict, which says how often where not."""
        last = self._series
        if last is None or (last.code, last.side) != (verdict.code, side):
            self._keep(Series(verdict.code, side, 1, now_ms))
            return True, verdict
        series = Series(last.code, last.side, last.count + 1, last.since_ms)
        self._keep(series)
        return False, _counted(verdict, series)

    def decided(self) -> None:
        """A decision was kept: one without a denial ends the series."""
        if self._series is not None:
            self._keep(msgspec.structs.replace(self._series, open=False) if self._series.open else None)

    def end(self) -> None:
        """Something else came of it: the next denial is news again."""
        if self._series is not None:
            self._keep(None)

    def _keep(self, series: Series | None) -> None:
        self._series = series
        row = None if series is None else msgspec.json.encode(series).decode()
        self._journal.keyed(SPACE, {self._bot: row})


def _counted(verdict: Verdict, series: Series) -> Verdict:
    """Return the verdict whose failed check says how often it has been the answer."""
    often = f"denied {series.count} times in a row, since {rfc3339(series.since_ms)}"
    checks = [
        check if check.passed else msgspec.structs.replace(check, detail="; ".join(filter(None, (check.detail, often))))
        for check in verdict.checks
    ]
    return msgspec.structs.replace(verdict, checks=checks)
