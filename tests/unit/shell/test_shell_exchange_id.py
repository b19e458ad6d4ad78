"""The exchange's id: held against what ccxt has, without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from botd.config import from_mapping
from botd.config_values import ccxt_ids
from botd.domain.errors import ConfigError

pytestmark = pytest.mark.skipif(not ccxt_ids(), reason="ccxt is not installed")


def made(base: Path, **values: Any) -> Any:
    return from_mapping(values, base)


def test_an_unknown_exchange_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exchange: 'kraaken' is no exchange that ccxt knows") as refused:
        made(tmp_path, exchange="kraaken")
    assert refused.value.hint == "did you mean kraken?"
    with pytest.raises(ConfigError, match="'nosuch'"):
        made(tmp_path, exchange="nosuch", market={"source": "exchange"})
    assert made(tmp_path, exchange="kraken", market={"source": "exchange"}).exchange == "kraken"


def test_an_exchange_without_streams_makes_no_market_but_names_a_simulated_one(tmp_path: Path) -> None:
    silent = sorted(ccxt_ids() - ccxt_ids("pro"))[0]
    assert made(tmp_path, exchange=silent).exchange == silent
    with pytest.raises(ConfigError, match=f"exchange: {silent} has no streams in ccxt"):
        made(tmp_path, exchange=silent, market={"source": "exchange"})


def test_ccxt_is_not_imported_for_it() -> None:
    look = (
        "import sys; from botd.config import from_mapping; from_mapping({'exchange': 'kraken'}); "
        "sys.exit('ccxt' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
