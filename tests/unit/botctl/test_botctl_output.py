"""What is printed: the formats, where, and what never reaches a terminal."""

from __future__ import annotations

import csv
import io
import json
import os

import pytest

from botctl import cells
from botctl.times import format_age, parse_duration_s
from tests.unit.botctl.conftest import bot_row


@pytest.fixture
def bots(botd):
    rows = [bot_row("alpha"), bot_row("beta", equity="10.5", note='says "no", twice')]
    botd.handlers["ls"] = lambda args: {"rows": rows, "next": None}
    return rows


def test_json_is_an_array_exact_to_the_digit(botctl, bots):
    result = botctl("ls", "-o", "json")
    assert result.code == 0
    assert json.loads(result.out) == bots
    assert '"0.00010000"' in result.out


def test_json_of_no_rows_is_an_empty_array(botctl, botd):
    botd.handlers["ls"] = lambda args: {"rows": [], "next": None}
    assert json.loads(botctl("ls", "-o", "json").out) == []
    assert botctl("ls").out == ""


def test_jsonl_is_one_object_a_line(botctl, bots):
    assert [json.loads(line) for line in botctl("-o", "jsonl", "ls").out.splitlines()] == bots


def test_name_is_one_name_a_line(botctl, bots):
    assert botctl("ls", "-o", "name").out == "alpha\nbeta\n"


def test_tsv_and_csv_have_the_same_columns_with_exact_values(botctl, bots):
    tsv = [line.split("\t") for line in botctl("ls", "-o", "tsv").out.splitlines()]
    table = list(csv.reader(io.StringIO(botctl("ls", "-o", "csv").out)))
    assert tsv == table
    assert dict(zip(table[0], table[1], strict=True))["equity"] == "1034.1200456"
    assert dict(zip(table[0], table[2], strict=True))["note"] == 'says "no", twice'
    assert botctl("ls", "-o", "tsv", "--no-headers").out.count("\n") == 2


def test_tables_round_money_keep_quantities_and_say_that_prices_are_not_real(botctl, bots):
    lines = botctl("ls").out.splitlines()
    assert lines[0] == "PAPER · SYNTHETIC MARKET"
    assert lines[1].split()[:3] == ["NAME", "STRATEGY", "SYMBOL"]
    assert "1,034.12" in lines[2] and "+30.00" in lines[2] and "0.00010000" in lines[2] and "3m12s" in lines[2]
    assert botctl("ls", "--no-headers").out.splitlines()[0].startswith("alpha")


def test_wide_has_more_columns_than_table(botctl, bots):
    assert "ENTRY" in botctl("ls", "-o", "wide").out
    assert "ENTRY" not in botctl("ls").out


def test_a_real_market_has_no_banner(botctl, botd):
    botd.handlers["ls"] = lambda args: {"rows": [bot_row("a", mode="live", source="exchange")], "next": None}
    assert botctl("ls").out.startswith("NAME")


def test_cells_never_hold_control_characters(botctl, botd):
    evil = bot_row("a", note="x\x1b[31m\ty\n\u202ez\u2028")
    botd.handlers["ls"] = lambda args: {"rows": [evil], "next": None}
    for form in ("table", "wide", "tsv", "csv"):
        shown = botctl("ls", "-o", form).out
        assert not set("\x1b\u202e\u2028") & set(shown)
        assert len([line for line in shown.splitlines() if line.startswith("a")]) == 1
    assert "\x1b" not in botctl("ls", "-o", "json").out


def test_the_format_may_come_from_the_environment_and_the_option_wins(botctl, bots, monkeypatch):
    monkeypatch.setenv("BOTCTL_OUTPUT", "name")
    assert botctl("ls").out == "alpha\nbeta\n"
    assert botctl("ls", "-o", "jsonl").out.startswith("{")
    monkeypatch.setenv("BOTCTL_OUTPUT", "xml")
    assert botctl("ls").code == 2


def test_off_a_terminal_there_is_no_colour_and_nothing_is_cut(process, botd):
    long = "word " * 60
    botd.handlers["ls"] = lambda args: {"rows": [bot_row("a", note=long.strip())], "next": None}
    shown = process("ls").stdout
    assert long.strip() in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_json_is_valid_in_every_encoding(process, botd, encoding):
    rows = [bot_row("a", note="naïve · \ud800")]
    botd.handlers["ls"] = lambda args: {"rows": rows, "next": None}
    done = process("ls", "-o", "json", env={**os.environ, "PYTHONIOENCODING": encoding})
    assert json.loads(done.stdout) == rows
    assert process("ls", env={**os.environ, "PYTHONIOENCODING": encoding}).returncode == 0


def test_a_closed_pipe_is_quiet(botd):
    import subprocess
    import sys

    rows = [bot_row(f"bot{number}") for number in range(2000)]
    botd.handlers["ls"] = lambda args: {"rows": rows, "next": None}
    script = f"{sys.executable} -m botctl.cli ls -o json | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")


def test_a_full_disk_is_one_clear_line(botd):
    import subprocess
    import sys

    botd.handlers["ls"] = lambda args: {"rows": [bot_row("a")], "next": None}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "botctl.cli", "ls"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.startswith("botctl: error: cannot write: No space left on device\n")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (59.9, "59s"), (192, "3m12s"), (3600, "1h00m"), (90061, "1d01h"), (None, "-")]
)
def test_ages_have_two_units(seconds, shown):
    assert format_age(seconds) == shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("2d", 172800), ("x", None), ("5 5", None)],
)
def test_durations(text, seconds):
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    ("form", "value", "shown"),
    [
        (cells.money, "1234567.891", "1,234,567.89"),
        (cells.gain, "0.001", "0.00"),
        (cells.gain, "-0.5", "-0.50"),
        (cells.exact, "0.00010000", "0.00010000"),
        (cells.exact, "1E-8", "0.00000001"),
        (cells.exact, "57200.1234567891", "57200.12"),
        (cells.percent, 1.5, "1.50%"),
        (cells.moment, "2026-01-31T10:15:00Z", "2026-01-31 10:15:00"),
    ],
)
def test_cells_are_short_for_people(form, value, shown):
    assert form(value) == shown
