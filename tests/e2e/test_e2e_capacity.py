"""Two hundred bots on fifty symbols: every bot is told of every candle, and the list answers meanwhile."""

from __future__ import annotations

from pathlib import Path

from tests.bench.capacity import BOTS, play

SECONDS, SPEED = 8.0, 600.0


def test_200_bots_on_50_symbols_miss_no_candle_and_the_list_answers_meanwhile(tmp_path: Path) -> None:
    played = play(tmp_path, SECONDS, SPEED)
    assert played.missed == 0
    assert played.delivered >= BOTS * SECONDS * SPEED / 60 / 4
    assert played.health["bots"] == {"total": BOTS, "running": BOTS}
    assert played.health["orders"]["fills"] > 0
    assert len(played.ls_ms) >= 3
    assert played.resident < 400
