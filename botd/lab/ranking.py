"""The best sets of a sweep by a statistic, and the file that remembers what each set gave.

Better is higher, except for what one wants little of. What is undefined comes last, equals stay in the order of the
sets. The file has a line a set, appended as it comes, so a sweep that was ended goes on; a line that is torn is no
line.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from botd.domain.errors import ForbiddenError, InvalidError
from botd.strategy.parameters import nearest

STATISTICS = (
    *("trades", "wins", "losses", "win_rate", "gross_profit", "gross_loss", "profit_factor", "expectancy"),
    *("avg_win", "avg_loss", "best_trade", "worst_trade", "max_consecutive_losses", "avg_holding_s", "fees"),
    *("realized_pnl", "unrealized_pnl", "equity", "return_pct", "max_drawdown_pct", "max_drawdown_duration_s"),
    *("sharpe", "sortino", "calmar", "sqn", "exposure_pct", "turnover", "skipped_min_notional"),
)
LOWER = {
    *("losses", "gross_loss", "avg_loss", "max_consecutive_losses", "fees", "max_drawdown_pct"),
    *("max_drawdown_duration_s", "turnover", "exposure_pct", "avg_holding_s", "skipped_min_notional"),
}


Played = tuple[dict[str, Any] | None, str]
"""The keys of a ``stats`` row except ``name``, or None and why there are none."""


def check_statistic(by: str) -> str:
    """Return the name of a statistic; InvalidError with the nearest one."""
    if by not in STATISTICS:
        raise InvalidError(f"no statistic {by!r}{nearest(by, STATISTICS)}", "one of " + ", ".join(STATISTICS))
    return by


def score(statistics: dict[str, Any] | None, by: str) -> float | None:
    """Return how good it is, more is better; None where it is undefined."""
    value = None if statistics is None else statistics.get(by)
    return None if value is None else -float(value) if by in LOWER else float(value)


class Ranking:
    """The best ``top`` of any number of sets; the others are forgotten."""

    def __init__(self, by: str, top: int) -> None:
        self.by = by
        self._top = top
        self._best: list[tuple[float, int, dict[str, Any]]] = []
        self.ranked = 0
        self.failed = 0
        self.first_error = ""

    def add(self, number: int, statistics: dict[str, Any] | None, error: str) -> None:
        """Take what set ``number`` gave; two are never compared beyond their number."""
        if statistics is None:
            self.failed += 1
            self.first_error = self.first_error or error
            return
        self.ranked += 1
        value = score(statistics, self.by)
        entry = (-float("inf") if value is None else value, -number, statistics)
        if len(self._best) < self._top:
            heapq.heappush(self._best, entry)
        elif entry[:2] > self._best[0][:2]:
            heapq.heapreplace(self._best, entry)

    def best(self) -> list[tuple[int, dict[str, Any]]]:
        """Return (number of the set, statistics), the best first."""
        ordered = sorted(self._best, key=lambda entry: entry[:2], reverse=True)
        return [(-number, statistics) for _, number, statistics in ordered]


class SweepFile:
    """What was done of one sweep, at ``path``. Use as a context: the file is open for appending in it."""

    def __init__(self, path: Path, fresh: bool = False) -> None:
        self.path = path
        self._fresh = fresh

    def __enter__(self) -> SweepFile:
        try:
            self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            torn = not self._fresh and self.path.exists() and not self.path.read_bytes().endswith(b"\n")
            self._file = open(self.path, "wb" if self._fresh else "ab")
            if torn:
                self._file.write(b"\n")
        except OSError as error:
            raise ForbiddenError(f"{self.path}: {error.strerror}", "data_dir of the configuration says where") from None
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Yield (key of a set, its line) of what the file has; what is no line is passed over."""
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    key, *_ = msgspec.json.decode(line, type=_Line)
                except msgspec.DecodeError:
                    continue
                yield key, line

    def add(self, key: str, played: Played) -> None:
        """Append a line."""
        self._file.write(msgspec.json.encode((key, *played)) + b"\n")

    def flush(self) -> None:
        """Hand over to the system what was added."""
        self._file.flush()


def played_of(line: bytes) -> Played:
    """Return what a line says that a set gave, to the last bit."""
    _, statistics, error = msgspec.json.decode(line, type=_Line)
    return statistics, error


_Line = tuple[str, dict[str, Any] | None, str]
