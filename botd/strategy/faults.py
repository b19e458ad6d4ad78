"""What a strategy's own code raised, in one line: the error, and where in its file.

Whoever calls a strategy tells its failures by :func:`raised`; this page calls none.
"""

from __future__ import annotations

import traceback
from pathlib import Path

from botd.domain.errors import BotdError

MODULE = "_botd_strategy_"
"""How the names of loaded strategies' modules begin."""


def raised(error: BaseException) -> str:
    """Return ``NameError: name 'fast' is not defined (mine.py, line 12)``; one of our own says its own words."""
    if isinstance(error, BotdError):
        return error.message
    frames = (
        f"{Path(frame.f_code.co_filename).name}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__", "")).startswith(MODULE)
    )
    *_, where = ("", *frames)
    text = f"{type(error).__name__}: {error}"
    return f"{text} ({where})" if where else text
