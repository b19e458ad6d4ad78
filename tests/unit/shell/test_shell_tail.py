"""Reading logs: the last lines, since a time, and following through rotation."""

from __future__ import annotations

from pathlib import Path

import pytest

from botd.domain.clock import parse_time, rfc3339
from botd.domain.errors import InvalidError
from botd.log_tail import PAGE, tail

START = parse_time("2026-01-01T00:00:00Z")


def line(number: int) -> str:
    stamp = rfc3339(START + number * 1000)[:-1] + ".000Z"
    return f"{stamp} INFO  botd: {number}\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Thirty lines, one a second, in three files: the oldest rotated away twice."""
    path = tmp_path / "botd.log"
    for name, first in (("botd.log.2", 0), ("botd.log.1", 10), ("botd.log", 20)):
        (tmp_path / name).write_text("".join(line(number) for number in range(first, first + 10)))
    return path


def numbers(lines: list[str]) -> list[int]:
    return [int(text.rsplit(" ", 1)[1]) for text in lines]


def test_the_last_lines_reach_back_into_rotated_files(log: Path) -> None:
    assert numbers(tail(log, 3)[0]) == [27, 28, 29]
    assert numbers(tail(log, 15)[0]) == list(range(15, 30))
    assert numbers(tail(log, 99)[0]) == list(range(30))
    assert numbers(tail(log, None)[0]) == list(range(30))
    assert tail(log, 0)[0] == []


def test_since_a_time_and_at_most_so_many(log: Path) -> None:
    assert numbers(tail(log, None, START + 17_500)[0]) == list(range(18, 30))
    assert numbers(tail(log, 2, START + 17_500)[0]) == [28, 29]
    assert tail(log, None, START + 99_000)[0] == []


def test_a_traceback_stays_with_its_line(log: Path) -> None:
    with log.open("a") as file:
        file.write("    Traceback\n    ValueError\n")
    assert tail(log, None, START + 29_000)[0] == [line(29).strip(), "    Traceback", "    ValueError"]
    json_line = '{"time": "2026-01-01T01:00:00.000Z", "level": "info"}'
    with log.open("a") as file:
        file.write(json_line + "\n")
    assert tail(log, None, START + 3_600_000)[0] == [json_line]


def test_a_cursor_goes_on_where_the_page_ended(log: Path) -> None:
    _, cursor = tail(log, 1)
    assert tail(log, None, None, cursor) == ([], cursor)
    with log.open("a") as file:
        file.write(line(30) + line(31)[:10])
    lines, cursor = tail(log, None, None, cursor)
    assert numbers(lines) == [30]  # the half line waits
    with log.open("a") as file:
        file.write(line(31)[10:])
    assert numbers(tail(log, None, None, cursor)[0]) == [31]


def test_a_cursor_follows_its_file_through_rotations(log: Path, tmp_path: Path) -> None:
    _, cursor = tail(log, 1)
    with log.open("a") as file:
        file.write(line(30))
    for number in (2, 1):
        (tmp_path / f"botd.log.{number}").rename(tmp_path / f"botd.log.{number + 1}")
    log.rename(tmp_path / "botd.log.1")
    log.write_text(line(31))
    lines, cursor = tail(log, None, None, cursor)
    assert numbers(lines) == [30, 31]
    assert tail(log, None, None, cursor)[0] == []


def test_a_cursor_of_a_file_that_is_gone_goes_on_with_the_oldest(log: Path, tmp_path: Path) -> None:
    _, cursor = tail(log, 1)
    for path in tmp_path.iterdir():
        path.rename(path.with_name("kept-" + path.name))
    log.write_text(line(40))
    assert numbers(tail(log, None, None, cursor)[0]) == [40]


def test_a_truncated_file_is_read_from_its_beginning(log: Path) -> None:
    _, cursor = tail(log, 1)
    log.write_text(line(50))
    assert numbers(tail(log, None, None, cursor)[0]) == [50]


def test_a_log_that_does_not_exist_yet_is_empty_and_can_be_followed(tmp_path: Path) -> None:
    path = tmp_path / "alpha.log"
    lines, cursor = tail(path, 10)
    assert lines == []
    path.write_text(line(1))
    assert numbers(tail(path, None, None, cursor)[0]) == [1]


def test_a_long_log_comes_in_pages(tmp_path: Path) -> None:
    path = tmp_path / "botd.log"
    path.write_text("".join(line(number) for number in range(PAGE * 2 + 5)))
    lines, cursor = tail(path, None)
    collected = numbers(lines)
    while lines:
        lines, cursor = tail(path, None, None, cursor)
        collected += numbers(lines)
    assert collected == list(range(PAGE * 2 + 5))


@pytest.mark.parametrize("cursor", ["x", "1", "1:", ":1", "-1:2", "1:2:3", "²:1"])
def test_a_made_up_cursor_is_refused(log: Path, cursor: str) -> None:
    with pytest.raises(InvalidError):
        tail(log, None, None, cursor)
