"""Lines of a simulated market say what time it is there; and amounts in them are short."""

from __future__ import annotations

import io
import json
import logging
from decimal import Decimal
from pathlib import Path

import pytest

from botd.config import from_mapping
from botd.domain.amounts import short
from botd.domain.clock import VirtualClock
from botd.logs import Logs, start


def started(state: Path, form: str = "text") -> tuple[Logs, io.StringIO]:
    console = io.StringIO()
    config = from_mapping({"state_dir": str(state), "log": {"format": form}})
    return start(config, clock=VirtualClock(1_767_225_600_123), environ={}, stderr=console), console


def test_a_line_ends_with_the_time_of_the_market(tmp_path: Path) -> None:
    logs, console = started(tmp_path)
    logging.getLogger("botd.bot.alpha").info("before")
    logs.show_market_time(lambda: 1_767_237_240_000)
    logging.getLogger("botd.bot.alpha").info("bought")
    logging.getLogger("asyncio").warning("not ours")
    logs.close()
    wall = "2026-01-01T00:00:00.123Z"
    assert console.getvalue().splitlines() == [
        f"{wall} INFO  botd.bot.alpha: before",
        f"{wall} INFO  botd.bot.alpha: bought [market 2026-01-01T03:14:00Z]",
        f"{wall} WARN  asyncio: not ours",
    ]
    assert (tmp_path / "logs/alpha.log").read_text().endswith("[market 2026-01-01T03:14:00Z]\n")


def test_json_lines_have_it_as_a_field(tmp_path: Path) -> None:
    logs, console = started(tmp_path, "json")
    logs.show_market_time(lambda: 1_767_237_240_000)
    logging.getLogger("botd.app").info("up")
    logs.close()
    assert json.loads(console.getvalue())["market_time"] == "2026-01-01T03:14:00Z"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("63123.123456789012", "63123.123"),
        ("123456789.129", "123456789.13"),
        ("0.000012345678912", "0.000012345679"),
        ("1000.00", "1000"),
        ("1E+3", "1000"),
        ("0", "0"),
        ("-2.50", "-2.5"),
    ],
)
def test_an_amount_in_a_line_has_eight_digits(amount: str, text: str) -> None:
    assert short(Decimal(amount)) == text
