"""States in words: who, why, until when and what ends it; for denials, risk show and health."""

from __future__ import annotations

from typing import Any

import pytest

from botd.risk.trading_state import Cause, TradingStates
from botd.risk.words import explain, held_rows, remedy

NOON, EVENING = 1_767_268_800_000, 1_767_290_400_000
PERSON = Cause(state="halted", code="MANUAL", since_ms=NOON, by="uid 1000")
LOSS = Cause(state="reduce", code="DAILY_LOSS", since_ms=NOON, until_ms=EVENING, by="monitor", detail="lost 4 %")


@pytest.mark.parametrize(
    ("scope", "cause", "command"),
    [
        ("account", PERSON, "botctl release"),
        ("bot:alpha", PERSON, "botctl release alpha"),
        ("symbol:BTC/USDT", PERSON, "botctl release --symbol BTC/USDT"),
        ("account", LOSS, "botctl risk set daily_loss=off"),
        ("bot:alpha", LOSS, "botctl risk set alpha daily_loss=off"),
    ],
)
def test_the_remedy_is_a_command(scope: str, cause: Cause, command: str) -> None:
    assert remedy(scope, cause) == command and explain(scope, cause).endswith(command)


def test_a_cause_says_since_when_by_whom_and_until_when() -> None:
    assert explain("account", PERSON) == (
        "account halted (since 2026-01-01T12:00:00Z by uid 1000), until released: botctl release"
    )
    assert explain("bot:alpha", LOSS) == (
        "bot:alpha reduce: lost 4 % (since 2026-01-01T12:00:00Z), until 2026-01-01T18:00:00Z by itself; "
        "sooner: botctl risk set alpha daily_loss=off"
    )


def test_rows_of_what_is_in_force_name_the_bots() -> None:
    states = TradingStates()
    states.halt("account", now_ms=NOON, by="uid 0")
    states.trip("bot:7", "DAILY_LOSS", "reduce", now_ms=NOON, until_ms=EVENING, detail="lost 4 %")
    states.trip("bot:8", "CONSECUTIVE_LOSSES", "halted", now_ms=NOON, until_ms=NOON + 1)
    rows: list[dict[str, Any]] = held_rows(states, NOON + 1, {7: "alpha"})
    assert [(row["scope"], row["state"], row["by"], row["until"]) for row in rows] == [
        ("account", "halted", "uid 0", None),
        ("bot:alpha", "reduce", "monitor", "2026-01-01T18:00:00Z"),
    ]
    assert rows[1]["reason"] == "lost 4 %" and rows[1]["since"] == "2026-01-01T12:00:00Z"
