"""Where recorded candles lie on this machine, if they do: ``BOTD_TEST_DATA``, else beside the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("BOTD_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "ohlcv"
NONE_RECORDED = f"no recorded candles in {DATA}; set BOTD_TEST_DATA"
FILES = sorted(DATA.glob("*.csv.gz")) if DATA.is_dir() else []


def recorded(name: str) -> Path:
    """Return the file ``name``.csv.gz of recorded candles; a test that needs it is skipped where it is absent."""
    path = DATA / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(NONE_RECORDED)
    return path
