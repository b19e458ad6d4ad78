"""What this version does not do is refused at the start, never done as something else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from botd.config import from_mapping
from botd.domain.errors import ConfigError
from botd.world import World


def test_live_orders_go_to_binance_only(tmp_path: Path) -> None:
    config = from_mapping({"state_dir": str(tmp_path), "exchange": "kraken", "market": {"source": "exchange"}})
    with pytest.raises(ConfigError, match="mode: live: not on kraken yet"):
        World(dataclasses.replace(config, mode="live"))
