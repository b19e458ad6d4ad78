"""``--plot``: equity beside buy and hold, and drawdown, as a picture, by matplotlib. The report needs none of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from botd.backtest.run import Result
from botd.domain.errors import ForbiddenError, InvalidError, UnavailableError
from botd.report.charts import outline

COLUMNS = 3_000  # more than the picture has pixels
_KINDS = ("png", "svg", "pdf")


def check_plot(target: Path) -> None:
    """Raise before anything is played where the picture cannot be made."""
    if target.suffix.lstrip(".").lower() not in _KINDS:
        raise InvalidError(f"{target}: a plot is a file that ends in .png, .svg or .pdf")
    if not target.absolute().parent.is_dir():
        raise InvalidError(f"{target.parent}: no such directory")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UnavailableError("--plot needs matplotlib, which is not installed", "pip install 'botctl[lab]'") from None


def draw(target: Path, played: Sequence[tuple[str, Result]]) -> None:
    """Draw two panels a backtest, one below the other: equity beside buy and hold, drawdown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.5 * len(played)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 * len(played), 1, height_ratios=[3, 1] * len(played), squeeze=False)[:, 0]
    for k, (title, result) in enumerate(played):
        upper, lower = panels[2 * k], panels[2 * k + 1]
        at = result.time.astype("datetime64[ms]")
        candles, begin = result.history.candles, result.history.begin
        hold = float(result.terms.capital) * candles.close[begin:] / candles.open[begin]
        for values, color, width, label in (
            (hold, "#b8860b", 0.9, "buy and hold"),
            (result.equity, "#1f5fbf", 1.2, "equity"),
        ):
            rows = outline(values, COLUMNS)
            upper.plot(at[rows], values[rows], color=color, linewidth=width, label=label)
        upper.set_title(title, loc="left", fontsize=10)
        upper.legend(frameon=False, loc="upper left")
        depth = 100 * (result.equity / np.maximum.accumulate(result.equity) - 1)
        rows = outline(depth, COLUMNS)
        lower.fill_between(at[rows], depth[rows], 0, color="#c0392b", alpha=0.4, linewidth=0)
        lower.set_ylabel("drawdown %")
        for panel in (upper, lower):
            panel.grid(alpha=0.25)
            panel.margins(x=0)
    try:
        figure.savefig(target, dpi=110)
    except OSError as error:
        raise ForbiddenError(f"{target}: {error.strerror}") from None
