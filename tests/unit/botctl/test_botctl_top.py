"""The dashboard: the model by its keys, the frame by its size, the terminal through a real one."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

import pytest

from botctl.dashboard.frame import frame, plain
from botctl.dashboard.model import Dashboard, is_restricted
from botctl.dashboard.screen import held_by
from botctl.fitting import display_width
from tests.unit.botctl.conftest import bot_row

TOP = {
    "bots": [
        bot_row("alpha", equity="100", strategy="rsi"),
        bot_row("beta", equity="300", strategy="grid", state="stopped"),
        bot_row("gamma", equity=None, strategy="rsi", note="no price"),
        bot_row("delta", equity="200", strategy="macd", symbol="ETH/USDT"),
    ],
    "portfolio": {"mode": "paper", "source": "synthetic", "bots": 4, "running": 3, "equity": "600", "return_pct": 1.5},
    "prices": [
        {"symbol": "BTC/USDT", "price": "57200.01", "age_s": 3.2, "stale": False},
        {"symbol": "ETH/USDT", "price": "2400.50", "age_s": 192, "stale": True},
    ],
    "health": {
        "status": "degraded",
        "mode": "paper",
        "source": "synthetic",
        "checks": [{"name": "redis", "status": "degraded", "detail": "refused"}],
    },
    "events": [
        {"seq": n, "ts": "2026-01-01T00:00:00Z", "topic": "order.filled", "bot": "alpha", "data": {"n": n}}
        for n in range(1, 31)
    ],
    "market": {"state": "playing", "source": "synthetic", "time": 1767225792000},
}


@pytest.fixture
def board():
    made = Dashboard()
    made.update(TOP)
    return made


def names(board):
    return [row["name"] for row in board.rows()]


def test_it_sorts_by_every_column_and_unknown_values_come_last(board):
    assert names(board) == ["alpha", "beta", "delta", "gamma"]
    board.sort = "equity"
    assert names(board) == ["alpha", "delta", "beta", "gamma"]
    board.press("r")
    assert names(board) == ["beta", "delta", "alpha", "gamma"]
    board.press("o")
    assert board.sort == "realized_pnl"
    board.press("O")
    assert board.sort == "equity"


def test_the_filter_is_typed_kept_by_enter_and_dropped_by_escape(board):
    for key in ["/", "r", "s", "x", "backspace", "i", "enter"]:
        assert board.press(key) is None
    assert (board.filter, names(board)) == ("rsi", ["alpha", "gamma"])
    footer = "".join(piece for piece, _ in frame(board, 80, 24)[-1])
    assert footer.startswith("filter: rsi  Escape drops it  ") and footer.endswith("? help  q quit")
    board.press("escape")
    assert len(names(board)) == 4


def test_the_selection_stays_on_its_bot_when_the_order_changes(board):
    board.press("down")
    assert board.selected == "beta"
    board.press("r")
    assert board.press("x") == ("stop", "beta")
    board.press("end")
    assert board.press("s") == ("start", "alpha")
    assert board.press("p") == ("pause", "alpha")


def test_enter_opens_a_bot_and_escape_goes_back(board):
    assert board.press("enter") == ("open", "alpha")
    board.update(
        TOP, bot_row("alpha"), {"outcome": "hold", "gates": [{"gate": "signal", "passed": False, "value": 45}]}
    )
    shown = plain(frame(board, 100, 60))
    assert "entry price" in shown and "NO  signal" in shown
    assert board.press("x") == ("stop", "alpha")
    assert board.press("q") is None and board.page == "bots"
    assert board.press("q") == ("quit", "")


def test_no_bots_no_harm(board):
    board.update({})
    for key in ["down", "enter", "s", "x", "p", "home", "pagedown", "o"]:
        assert board.press(key) is None
    assert "no bots" in plain(frame(board, 80, 24))


@pytest.mark.parametrize("page", ["bots", "bot", "help"])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 8), (200, 60), (79, 25), (20, 3), (1, 1)])
def test_a_frame_fits_its_size(board, width, height, page):
    board.page = page
    lines = frame(board, width, height)
    assert len(lines) == height
    assert all(sum(len(piece) for piece, _ in line) <= width for line in lines)


def test_80x24_shows_bots_prices_with_age_portfolio_health_and_events(board):
    shown = plain(frame(board, 80, 24))
    for part in ("PAPER · SYNTHETIC MARKET", "health degraded", "bots 3/4", "equity 600.00", "BTC/USDT 57200.01 3s"):
        assert part in shown
    for part in ("2400.50 3m12s!", "alpha", "order.filled", "q quit", "NAME↑"):
        assert part in shown


def test_q_leads_back_from_a_page_and_the_footer_says_so(board):
    for key in ("enter", "?"):
        board.press(key)
        assert plain(frame(board, 80, 24)).splitlines()[-1].startswith("q or Escape back")
        assert board.press("q") is None and board.page == "bots"
    assert plain(frame(board, 80, 24)).splitlines()[-1].endswith("q quit")
    assert board.press("q") == ("quit", "")


def test_every_line_of_the_help_fits_80_columns(board):
    board.press("?")
    assert not [line for line in plain(frame(board, 80, 40)).splitlines()[2:] if line.endswith("…")]


def test_what_is_halted_and_a_paused_market_are_said_at_the_top(board):
    assert not is_restricted(TOP)
    board.held = [
        {"scope": "account", "state": "reduce"},
        {"scope": "symbol:BTC/USDT", "state": "halted"},
        {"scope": "bot:alpha", "state": "halted"},
        {"scope": "bot:alpha", "state": "halted"},
    ]
    board.update({**TOP, "market": {**TOP["market"], "state": "paused"}})
    lines = plain(frame(board, 80, 24)).splitlines()
    assert "market PAUSED 2026-01-01" in lines[0]
    assert lines[1] == "REDUCE account  HALTED BTC/USDT, bot alpha  (botctl release)"
    assert lines[2].startswith("bots 3/4") and len(lines) == 24


def test_the_remedy_above_is_that_of_what_is_held_and_says_until_when(board):
    loss = {"scope": "bot:beta", "state": "reduce", "code": "DAILY_LOSS", "until": "2026-01-02T00:00:00Z"}
    board.held = [{**loss, "remedy": "botctl risk set beta daily_loss=off"}]
    line = plain(frame(board, 80, 24)).splitlines()[1]
    assert line == "REDUCE bot beta until 00:00  (botctl risk set beta daily_loss=off)"
    board.held.append({"scope": "account", "state": "halted", "remedy": "botctl release"})
    line = plain(frame(board, 120, 24)).splitlines()[1]
    assert line.endswith("HALTED account  (botctl risk show says what ends each)")


def test_an_error_of_the_time_without_a_daemon_is_gone_when_it_is_back(board):
    board.away, board.message = "away for 3 s: botd is not running", "alpha: botd is not running"
    board.update(TOP)
    assert plain(frame(board, 80, 24)).splitlines()[-1].endswith("q quit")
    board.message = "alpha: running -> stopped"
    board.update(TOP)  # an answer like any other
    assert board.message == "alpha: running -> stopped"


@pytest.mark.parametrize("key", ["?", "q", "escape"])
def test_the_help_leads_back_to_the_page_it_was_asked_on(board, key):
    board.press("enter")
    board.press("?")
    assert (board.page, board.opened()) == ("help", "alpha")
    assert board.press(key) is None and (board.page, board.opened()) == ("bot", "alpha")
    board.press("q")
    assert (board.page, board.opened()) == ("bots", "")


def test_a_key_for_a_bot_where_none_is_selected_says_so(board):
    board.filter = "nothing like it"
    assert board.press("s") is None
    assert plain(frame(board, 80, 24)).splitlines()[-1] == "start: no bot is selected"


def test_what_a_gate_says_of_an_opened_bot_is_not_cut(board):
    board.press("enter")
    detail = "enters while the histogram is above 0 and the candle closed above its average, exits below 0"
    board.update(TOP, bot_row("alpha"), {"gates": [{"gate": "signal", "passed": False, "detail": detail}]})
    lines = plain(frame(board, 80, 70)).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  NO  signal"))
    assert " ".join(line.strip() for line in lines[at + 1 : at + 3]) == detail


def test_scopes_are_asked_for_only_where_something_is_held():
    asked = []

    def call(cmd):
        asked.append(cmd)
        return {"rows": [], "held": [{"scope": "bot:beta", "state": "halted"}]}

    assert held_by(TOP, call) == [] and asked == []
    for data in ({**TOP, "health": {"trading": "halted"}}, {**TOP, "bots": [bot_row("beta", note="halted: no price")]}):
        assert held_by(data, call) == [{"scope": "bot:beta", "state": "halted"}]
    assert asked == ["risk.show", "risk.show"]


def test_profit_and_loss_above_is_with_what_is_open_and_unknown_where_that_is(board):
    totals = {**TOP["portfolio"], "realized_pnl": "30.5", "unrealized_pnl": "-4.25"}
    board.update({**TOP, "portfolio": totals})
    assert "pnl +26.25" in plain(frame(board, 80, 24)) and "open -4.25" in plain(frame(board, 160, 24))
    board.update({**TOP, "portfolio": {**totals, "unrealized_pnl": None}})
    assert "pnl -  " in plain(frame(board, 80, 24))


def test_totals_that_do_not_fit_leave_whole_and_the_least_first(board):
    figures = {"equity": "1234567.89", "realized_pnl": "-123456", "unrealized_pnl": "-123456", "exposure_pct": 99.5}
    board.update({**TOP, "portfolio": {**figures, "return_pct": -12.5, "max_drawdown_pct": 12.5}})
    line = plain(frame(board, 80, 24)).splitlines()[1]
    assert "…" not in line and "open" not in line and "ret -12.50%" in line


def test_wide_characters_do_not_push_the_frame_over_its_edge(board):
    board.update({**TOP, "bots": [bot_row("alpha", note="日本語のメモ" * 9)]})
    for line in frame(board, 110, 24):
        assert sum(display_width(piece) for piece, _ in line) <= 110


def test_a_larger_terminal_shows_more(board):
    board.update({**TOP, "bots": [bot_row(f"bot{n:02}") for n in range(60)]})
    small, large = plain(frame(board, 80, 24)), plain(frame(board, 160, 60))
    assert large.count("bot") > small.count("bot") + 20
    assert "ENTRY" in large and "ENTRY" not in small


def test_the_selected_bot_is_always_on_the_screen(board):
    board.update({**TOP, "bots": [bot_row(f"bot{n:02}") for n in range(60)]})
    for _ in range(59):
        board.press("down")
        assert any(
            style == "selected" and board.selected in piece for line in frame(board, 80, 24) for piece, style in line
        )


def test_a_daemon_that_is_away_is_said_and_the_last_answer_stays(board):
    board.away = "away for 3 s: botd is not running"
    shown = plain(frame(board, 80, 24))
    assert "away for 3 s" in shown and "alpha" in shown


def test_once_prints_a_frame_as_text(botctl, botd, monkeypatch):
    botd.handlers["top"] = lambda args: TOP
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    result = botctl("top", "--once")
    assert (result.code, result.out.count("\n")) == (0, 24)
    assert "\x1b" not in result.out and "q quit" not in result.out
    assert botctl("top", "--once", "-o", "json").out.startswith("{")


def test_off_a_terminal_it_is_refused(process, botd):
    done = process("top")
    assert done.returncode == 2
    assert "not a terminal" in done.stderr and "--once" in done.stderr


def test_on_a_terminal_it_draws_acts_survives_a_resize_and_quits(botd):
    botd.handlers |= {
        "top": lambda args: TOP,
        "stop": lambda args: {"rows": [{"name": args["names"][0], "before": "running", "after": "stopped"}]},
    }
    terminal, inner = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "LINES": "", "COLUMNS": ""}
    environment = {key: value for key, value in environment.items() if value}
    command = [sys.executable, "-m", "botctl.cli", "top"]
    running = subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, env=environment, start_new_session=True
    )
    os.close(inner)

    def until(word):
        seen, end = b"", time.monotonic() + 10
        while word not in seen and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                seen += os.read(terminal, 65536)
        assert word in seen, seen[-500:]

    import fcntl
    import signal
    import struct
    import termios

    until(b"alpha")
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    os.kill(running.pid, signal.SIGWINCH)
    os.write(terminal, b"x")
    until(b"stopped")
    os.write(terminal, b"q")
    assert running.wait(10) == 0
    assert botd.asked("stop") == [{"names": ["alpha"]}]
    os.close(terminal)
