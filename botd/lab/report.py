"""The report of backtests that were played: their arrays and rows, given to the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botd.backtest.run import Result
from botd.lab.given import Job
from botd.report.page import Section, page


def page_of(played: Sequence[tuple[Job, Result, dict[str, Any]]]) -> str:
    """Return the HTML of some backtests with their rows."""
    sections = []
    for job, result, row in played:
        candles, begin = result.history.candles, result.history.begin
        title = f"{job.info.name} · {row['symbol']} {row['interval']}"
        close, first_open = candles.close[begin:], float(candles.open[begin])
        sections.append(Section(title, row, result.time, result.equity, close, first_open, result.trades()))
    return page(sections)
