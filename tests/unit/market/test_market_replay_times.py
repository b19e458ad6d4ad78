"""Times written out in a replay's file: what ``botctl candles -o csv`` prints plays again."""

from __future__ import annotations

from pathlib import Path

import pytest

from botd.domain.errors import ConfigError
from botd.market.simulated.replay_file import read_candles

HEADER = "time,open,high,low,close,volume\n"
START = 1_767_225_600_000


def written(place: Path, text: str) -> Path:
    path = place / "btc.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "times",
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
        ("2026-01-01T00:00:00.000Z", "2026-01-01T00:01:00.000Z"),
        ("2026-01-01 00:00:00", "2026-01-01 00:01:00"),
        ("2026-01-01T01:00:00+01:00", "2026-01-01T01:01:00+01:00"),
        ('"2026-01-01T00:00:00Z"', '"2026-01-01T00:01:00Z"'),
    ],
)
@pytest.mark.parametrize("header", [HEADER, ""])
def test_times_written_out_are_read_as_utc(tmp_path: Path, times: tuple[str, str], header: str) -> None:
    path = written(tmp_path, header + "".join(f"{time},1.5,2,1,2,5\r\n" for time in times))
    found = read_candles(path, "1m")
    assert found.rows.time.tolist() == [START, START + 60_000] and found.shifted == 0
    assert found.rows.open.tolist() == [1.5, 1.5]


def test_a_time_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER}2026-01-01T00:00:00Z,1,2,1,2,5\n2026-13-01T00:00:00Z,1,2,1,2,5\n")
    with pytest.raises(ConfigError, match="line 3: '2026-13-01T00:00:00Z' is not a number or a time"):
        read_candles(path, "1m")
