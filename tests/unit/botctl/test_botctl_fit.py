"""Tables on a terminal: they fit its width, numbers stay whole, and what was left out is said; off it nothing goes."""

from __future__ import annotations

import importlib

import pytest

from botctl.cells import Column, dated, dated_to_the_minute, exact, moment, render
from botctl.commands.data import LANES
from botctl.fitting import display_width, first_lines, fit, lines_taken, padded, shorten
from tests.unit.botctl.conftest import bot_row

LONG = "a-very-long-name-that-nobody-should-give-a-bot-but-somebody-does"
PROSE = "warming up: 6 candles so far: the indicators are not defined yet, and that takes a while"
TABLES = [
    ("inspect", "LS_COLUMNS"),
    ("inspect", "STATS_COLUMNS"),
    ("trading", "ORDERS"),
    ("trading", "FILLS"),
    ("trading", "TRADES"),
    ("trading", "POSITIONS"),
    ("trading", "EQUITY"),
    ("data", "LANES"),
    ("risk", "CONTROLS"),
    ("risk", "HELD"),
    ("lab", "STRATEGIES"),
    ("lab", "PARAMETERS"),
    ("setup", "CHECKS"),
    ("market", "SYMBOLS"),
    ("market", "PRICES"),
    ("market", "CANDLES"),
    ("portfolio", "BOT_COLUMNS"),
    ("why", "GATES"),
]


def shown_width(cells, columns, kept):
    taken = {i: [display_width(part) for line in cells for part in line[i].split("\n")] for i in kept}
    widths = [max(display_width(columns[i].title), *taken[i], 0) for i in kept]
    return sum(widths) + 2 * (len(widths) - 1)


@pytest.mark.parametrize("width", [80, 120, 60, 40])
@pytest.mark.parametrize(("page", "name"), TABLES)
def test_every_table_fits_whatever_it_holds(page, name, width):
    columns = [one for one in getattr(importlib.import_module(f"botctl.commands.{page}"), name) if not one.wide]
    cells = [
        ["-1,234,567.89" if one.right else PROSE if one.prose else LONG for one in columns],
        ["0.00" if one.right else "x" for one in columns],
    ]
    kept, left_out = fit(columns, cells, width)
    assert shown_width(cells, columns, kept) <= width
    assert kept[0] == 0 and len(kept) + len(left_out) == len(columns)
    for index in kept[1:]:
        if columns[index].right:
            assert cells[0][index] == "-1,234,567.89"  # a number is never cut


def test_columns_go_in_their_declared_order_and_only_as_many_as_must():
    columns = [Column("name"), Column("b", drop=2), Column("c", drop=1), Column("d")]
    line = ["aaaa", "bbbb", "cccc", "dddd"]
    assert fit(columns, [list(line)], 22) == ([0, 1, 2, 3], [])
    assert fit(columns, [list(line)], 21) == ([0, 1, 3], ["C"])
    assert fit(columns, [list(line)], 15) == ([0, 3], ["B", "C"])
    assert fit(columns, [list(line)], 9) == ([0], ["B", "C", "D"])
    narrow = [list(line)]
    assert fit(columns, narrow, 3)[0] == [0] and narrow[0][0] == "aa…"


def test_a_column_without_content_goes_first_and_is_not_missed():
    columns = [Column("name"), Column("b", drop=1), Column("note", prose=12)]
    assert fit(columns, [["aaaa", "bbbb", ""]], 12) == ([0, 1], [])


def test_a_column_of_dashes_has_no_content_and_what_fits_after_all_comes_back():
    columns = [Column("name"), Column("b"), Column("c", drop=1)]
    assert fit(columns, [["aaaa", "-", "cccc"]], 11) == ([0, 2], [])
    columns = [Column("name"), Column("b", drop=2), Column("c", drop=1)]
    assert fit(columns, [["aaaa", "b" * 9, "cccc"]], 12) == ([0, 2], ["B"])


def test_sentences_are_cut_before_names_and_share_what_is_left():
    columns = [Column("name"), Column("one", prose=10, one_line=True), Column("two", prose=10, one_line=True)]
    cells = [[LONG[:20], PROSE, PROSE]]
    fit(columns, cells, 64)
    assert [len(cell) for cell in cells[0]] == [20, 20, 20]
    assert cells[0][0] == LONG[:20] and cells[0][1].endswith("…")


def test_a_sentence_goes_on_in_the_next_line_and_loses_nothing():
    cells = [[LONG[:20], PROSE], ["x", "日本語のメモ " * 3 + "a" * 40]]
    fit([Column("name"), Column("help", prose=10)], cells, 42)
    for line, whole in zip(cells, (PROSE, "日本語のメモ" * 3 + "a" * 40), strict=True):
        parts = line[1].split("\n")
        assert len(parts) > 3 and max(map(display_width, parts)) <= 20
        assert "".join(parts).replace(" ", "") == whole.replace(" ", "")


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (47, "2026-08-02 23:45:10"),
        (46, "08-02 23:45:10"),
        (37, "08-02 23:45:10"),
        (36, "08-02 23:45"),
        (31, "08-02 23:45"),
    ],
)
def test_times_lose_their_year_then_their_seconds_all_alike_and_are_never_cut(width, shown):
    columns = [Column("in", form=moment), Column("out", form=moment), Column("total", form=exact)]
    cells = [["2026-08-02 23:45:10"] * 2 + ["1.5"], ["2026-08-02 23:45:10", "-", "2"]]
    kept, _ = fit(columns, cells, width)  # 19 + 2 + 19 + 2 + 5 = 47 as they are; with 14: 37, with 11: 31
    assert kept == [0, 1, 2]
    assert cells == [[shown, shown, "1.5"], [shown, "-", "2"]]


@pytest.mark.parametrize(
    ("form", "width", "shown"),
    [
        (dated, 46, "2026-08-02 23:45:10"),
        (dated, 40, "2026-08-02 23:45"),
        (dated, 39, "2026-08-02"),
        (dated, 28, "2026-08-02"),
        (dated_to_the_minute, 40, "2026-08-02 23:45"),
    ],
)
def test_dates_keep_their_year_and_lose_their_seconds_first(form, width, shown):
    columns = [Column("first", form=form), Column("last", form=form), Column("rows", form=exact)]
    cells = [["2026-08-02 23:45:10"] * 2 + ["1.5"], ["2026-08-02 23:45:10", "-", "2"]]
    kept, _ = fit(columns, cells, width)  # 19 + 2 + 19 + 2 + 4 = 46 as they are; with 16: 40, with 10: 28
    assert kept == [0, 1, 2]
    assert cells == [[shown, shown, "1.5"], [shown, "-", "2"]]


@pytest.mark.parametrize("interval", ["1m", "15m"])
def test_what_is_stored_tells_its_years_on_80_columns(interval):
    row = {"exchange": "binance", "symbol": "BTC/USDT", "interval": interval, "rows": 1_234_567, "gaps": [1] * 12}
    row |= {"first": "2021-01-01T00:00:00Z", "last": "2024-08-31T23:59:00Z", "missing": 1234, "bytes": 9e6}
    columns = [column for column in LANES if not column.wide]
    cells = [[render(column, {**row, "status": "ok"}) for column in columns]]
    fit(columns, cells, 80)
    assert "2021-01-01" in cells[0] and "2024-08-31" in cells[0]


def test_wide_characters_count_two_and_combining_ones_none():
    assert [display_width(word) for word in ("abc", "日本", "e\u0301", "naïve")] == [3, 4, 1, 5]
    assert [shorten("日本語です", width) for width in (10, 9, 6, 1, 0)] == ["日本語です", "日本語で…", "日本…", "…", ""]
    assert (padded("日本", 6), padded("日本", 6, right=True), padded("日本", 3)) == ("日本  ", "  日本", "日…")


def test_wrapped_lines_are_counted_and_colours_are_not():
    assert lines_taken("ab\n\x1b[31mabcdef\x1b[0m\n\n", 3) == 1 + 2 + 1
    assert first_lines("ab\nabcdef\nx\n", 3, 3) == "ab\nabcdef\n"


@pytest.fixture
def bots(botd):
    rows = [
        bot_row("alpha", note=PROSE),
        bot_row(
            LONG, strategy="mean_reversion", equity="1234567.5", note="日本語のメモ " * 9, realized_pnl="-1234567.89"
        ),
        bot_row("idle", position=None, equity=None),
    ]
    botd.handlers["ls"] = lambda args: {"rows": rows, "next": None}
    return rows


def order(**changes):
    row = {"client_order_id": "PEAX7T-4-18-36", "bot": "ema_cross", "symbol": "ETH/USDT", "side": "sell"}
    row |= {"type": "limit", "quantity": "0.3052", "price": "3034.76", "filled": "0", "average": None}
    return {**row, "status": "open", "created": "2026-01-01T08:57:00Z", "reason": "take_profit", **changes}


@pytest.mark.parametrize(
    ("words", "row", "shown", "missing"),
    [
        ("orders --open", {}, "PRICE CREATED", "AVERAGE"),
        ("orders --open", {"filled": "0.1", "average": "3034.76"}, "PRICE", "REASON"),
        ("orders", {"bot": "alpha", "average": "3035.1", "price": None, "status": "filled"}, "AVERAGE CREATED", "TYPE"),
        ("orders", {"status": "denied", "price": None, "reason": "MAX_EXPOSURE: 4000 is above"}, "REASON", "AVERAGE"),
    ],
)
def test_orders_on_80_columns_keep_what_says_most_of_them(terminal, botd, words, row, shown, missing):
    botd.handlers["orders"] = lambda args: {"rows": [order(**row)] * 2, "next": None}
    titles = terminal(80, *words.split())[1][1].split()
    assert set(shown.split()) <= set(titles) and missing not in titles


def test_positions_on_80_columns_keep_stop_and_target(terminal, botd):
    row = {"bot": "ema_cross", "symbol": "ETH/USDT", "quantity": "0.3319", "entry_price": "2994.23637"}
    row |= {"value": "994.89", "unrealized_pnl": "1.1", "stop": "2934.3516426", "target": "3084.0634611"}
    botd.handlers["positions"] = lambda args: {"rows": [{**row, "guard": "botd"}], "next": None}
    lines = terminal(80, "positions")[1]
    assert lines[1].split()[-2:] == ["STOP", "TARGET"] and lines[-1] == "-o wide shows also: VALUE, GUARD"


def test_ls_on_80_columns_shows_what_matters_and_says_what_it_left_out(terminal, bots):
    code, lines = terminal(80, "ls")
    assert code == 0 and len(lines) == 6 + 6  # below: both notes, in full, under the names of their bots
    assert max(map(display_width, lines)) <= 80
    assert lines[1].split() == ["NAME", "STATE", "EQUITY", "REALIZED", "OPEN", "PNL", "NOTE"]
    assert lines[3].startswith(LONG[:12]) and "-1,234,567.89" in lines[3]
    assert lines[5] == "-o wide shows also: STRATEGY, SYMBOL, EVERY, AGE, TRADES, HOLDS"
    assert " ".join(line.strip() for line in lines[7:9]) == f"alpha: {PROSE}"


def test_a_note_of_many_bots_is_told_once_and_no_more_than_a_few(terminal, botd):
    rows = [bot_row(f"bot{n:02}", note=f"{PROSE} {n // 2}") for n in range(20)]
    botd.handlers["ls"] = lambda args: {"rows": rows, "next": None}
    lines = terminal(80, "ls")[1]
    told = "\n".join(lines[lines.index("") :])
    assert told.count("warming up") == 5 and "bot00, bot01: " in told and lines[-1] == "5 more notes: botctl ls -o wide"
    assert "more notes" not in "\n".join(terminal(80, "ls", "-q")[1])


def test_cells_stay_aligned_beside_wide_characters(terminal, botd):
    rows = [{"time": "2026-01-01T00:00:00Z", "bot": name, "equity": "1"} for name in ("日本", "abcd")]
    botd.handlers["equity"] = lambda args: {"rows": rows, "next": None}
    lines = terminal(80, "equity")[1]
    assert {display_width(line[: line.index("1.00")]) for line in lines[2:]} == {lines[1].index("EQUITY") + 2}


def test_more_room_brings_more_and_wide_brings_everything(terminal, bots):
    full = terminal(300, "ls")[1]
    assert "STRATEGY" in full[1] and PROSE in full[2] and not full[-1].startswith("-o wide")
    code, wide = terminal(80, "ls", "-o", "wide")
    assert code == 0 and "LAST CANDLE" in wide[1] and PROSE in wide[2] and LONG in wide[3]


def test_columns_of_the_environment_win(terminal, bots):
    assert max(map(display_width, terminal(200, "ls", COLUMNS="60")[1])) <= 60


def test_quiet_and_no_headers_leave_the_last_line_out(terminal, bots):
    assert len(terminal(80, "ls", "-q")[1]) == 5
    assert len(terminal(80, "ls", "--no-headers")[1]) == 3


def test_off_a_terminal_all_columns_are_there_in_full(botctl, bots):
    lines = botctl("ls").out.splitlines()
    titles = "NAME STRATEGY SYMBOL EVERY STATE AGE EQUITY REALIZED OPEN PNL TRADES HOLDS NOTE"
    assert lines[1].split() == titles.split()
    assert PROSE in lines[2] and LONG in lines[3] and len(lines) == 5


def test_the_mode_is_a_column_where_it_differs_and_the_banner_says_each_world_once(botctl, botd):
    rows = [bot_row("a"), bot_row("b", mode="live", state="stopped", note="no key")]
    botd.handlers["ls"] = lambda args: {"rows": rows, "next": None}
    lines = botctl("ls").out.splitlines()
    assert lines[0] == "PAPER AND LIVE · SYNTHETIC MARKET"
    assert "MODE" in lines[1].split() and " live " in lines[3]
    rows.pop()
    assert "MODE" not in botctl("ls").out
