"""One frame of the dashboard as lines of styled pieces; fits any size from 40x8 on, made for 80x24.

Pure: the same state and size give the same frame. Knows no terminal.
"""

from __future__ import annotations

from typing import Any

from botctl.cells import Column, age, count, exact, gain, moment, money, percent, render, text
from botctl.commands.events import event_line
from botctl.commands.why import numbers
from botctl.dashboard.model import Dashboard, Row
from botctl.details import details
from botctl.fitting import display_width, padded, shorten, wrapped
from botctl.output import world
from botctl.session import clean
from botctl.times import format_ms

Piece = tuple[str, str]  # text, style
Line = list[Piece]

COLUMNS = [
    Column("name"),
    Column("strategy"),
    Column("symbol"),
    Column("interval", "EVERY"),
    Column("state", paint="state"),
    Column("equity", form=money),
    Column("realized_pnl", "REALIZED", gain, paint="sign"),
    Column("unrealized_pnl", "OPEN PNL", gain, paint="sign"),
    Column("trades", form=count),
    Column("position.quantity", "HOLDS", exact),
    Column("position.entry_price", "ENTRY", exact),
    Column("position.stop", "STOP", exact),
    Column("position.target", "TARGET", exact),
    Column("note"),
]
# Which columns a narrow terminal keeps, the dearest first.
PRIORITY = ["name", "state", "symbol", "equity", "unrealized_pnl", "realized_pnl", "position.quantity", "strategy"]
PRIORITY += ["note", "trades", "position.entry_price", "position.stop", "position.target", "interval"]
NARROWEST = {"note": 10}

KEYS = "Enter open  s start  x stop  p pause  o sort  r reverse  / find  ? help  q quit"
FILTERED_KEYS = "Escape drops it  Enter open  s start  x stop  ? help  q quit"
HELP = """Keys

  up, down      select a bot (also k and j, PageUp, PageDown, Home, End)
  Enter         open the bot: all about it, and why it last traded or did not
  q, Escape     back to the list; there q quits, and Escape drops the filter
  s, x, p       start, stop, pause the bot; what it holds stays guarded
  o, O          sort by the next, the previous column
  r             reverse the order
  /             filter by name, strategy, symbol, state, note or label
  ?             this page

Prices show their age; a ! marks a price that is stale.
Above: pnl is realized and open together, ret the return, exp the exposure,
dd the largest drawdown. REALIZED is since the bot was created; OPEN PNL is
what its position would give now, before fees.
No key asks, as none sells: botctl close and flatten do. A halt is lifted by
botctl release."""


def frame(board: Dashboard, width: int, height: int, *, keys: bool = True) -> list[Line]:
    """Return exactly ``height`` lines of at most ``width`` characters; the last one tells the keys, if any."""
    lines = [_title(board, width), *_held(board), _totals(board, width)]
    room = height - keys - len(lines)
    if board.page == "help":
        lines += _scrolled([[(line, "")] for line in ["", *HELP.split("\n")]], board, room)
    elif board.page == "bot":
        lines += _scrolled(_bot(board, width), board, room)
    else:
        lines += _list(board, width, room)
    lines = lines[: height - keys]
    lines += [[] for _ in range(height - keys - len(lines))]
    lines += [_footer(board)] if keys else []
    return [cut(line, width) for line in lines[-height:]]


def plain(lines: list[Line]) -> str:
    """Return a frame as text."""
    return "".join("".join(piece for piece, _ in line).rstrip() + "\n" for line in lines)


def cut(line: Line, width: int) -> Line:
    """Return a line of at most ``width`` characters, the last one an ellipsis where something was lost."""
    kept: Line = []
    left = width
    for piece, style in line:
        if display_width(piece) > left:
            kept.append((shorten(piece, left), style))
            return kept
        kept.append((piece, style))
        left -= display_width(piece)
    return kept


def _title(board: Dashboard, width: int) -> Line:
    data = board.data
    market, health = data.get("market") or {}, data.get("health") or {}
    mode = text(data.get("mode") or health.get("mode") or "")
    source = text(data.get("source") or market.get("source") or health.get("source") or "")
    if board.away:
        return [("botd ", "bold"), (clean(board.away), "bad")]
    pieces: Line = [("botd ", "bold")]
    if world(mode, source):
        pieces.append((world(mode, source) + "  ", "bold"))
    when = market.get("time")
    shown = moment(format_ms(when)) if isinstance(when, int) else moment(when) if when else ""
    state = text(market.get("state") or "")
    if state == "paused":
        pieces += [("market PAUSED ", "warn"), (f"{shown}  ", "")]
    else:
        pieces.append((f"{state} {shown}  ".lstrip(), ""))
    status = text(health.get("status") or "?")
    pieces += [("health ", ""), (status, {"ok": "good", "failed": "bad"}.get(status, "warn"))]
    wrong = [check for check in health.get("checks") or [] if check.get("status") != "ok"]
    if wrong:
        pieces.append((f" {text(wrong[0].get('name'))}: {text(wrong[0].get('detail'))}", "warn"))
    return pieces


def _held(board: Dashboard) -> list[Line]:
    """Return the line that says what is halted or reduced, if anything is, until when, and what ends it."""
    if not board.held:
        return []
    scopes: dict[str, list[str]] = {}
    remedies: list[str] = []
    for row in board.held:
        scope = text(row.get("scope")).removeprefix("symbol:").replace(":", " ")
        if row.get("until"):
            scope += f" until {moment(row['until'])[11:16]}"
        found = scopes.setdefault(text(row.get("state")), [])
        if scope not in found:
            found.append(scope)
        remedies.append(text(row.get("remedy") or "botctl release"))
    told = "  ".join(f"{state.upper()} {', '.join(names)}" for state, names in scopes.items())
    remedy = remedies[0] if len(set(remedies)) == 1 else "botctl risk show says what ends each"
    return [[(f"{told}  ({remedy})", "warn")]]


def _totals(board: Dashboard, width: int) -> Line:
    """Return the figures of the portfolio; where they do not fit, the lesser ones are left out."""
    portfolio = board.data.get("portfolio") or {}
    bots = f"bots {text(portfolio.get('running', '-'))}/{text(portfolio.get('bots', '-'))}"
    shown = {title: render(Column(key, form=form), portfolio) for title, key, form in _TOTALS}
    shown["pnl"] = _sum(portfolio.get("realized_pnl"), portfolio.get("unrealized_pnl"))
    for title in _LESSER:
        if len(bots) + sum(len(title) + len(value) + 3 for title, value in shown.items()) > width:
            del shown[title]
    pieces: Line = [(bots, "")]
    for title, value in shown.items():
        pieces += [(f"  {title} ", "dim"), (value, _sign(value) if title in ("pnl", "open") else "")]
    return pieces


def _sum(realized: Any, unrealized: Any) -> str:
    """Return profit and loss with what is open; unknown where either is."""
    try:
        return gain(float(realized) + float(unrealized))
    except (TypeError, ValueError):
        return "-"


def _list(board: Dashboard, width: int, height: int) -> list[Line]:
    """Return prices, bots and events, sharing ``height`` lines."""
    rows = board.rows()
    prices = _prices(board.data.get("prices") or [], width, 1 if height < 30 else 2)
    events = list(board.data.get("events") or [])
    room = max(3, min(len(events), height // 4 if height < 40 else height // 3)) if events and height >= 12 else 0
    table_height = max(1, height - len(prices) - 1 - (room + 1 if room else 0))
    at = board.index(rows)
    first = max(0, min(at - table_height // 2, len(rows) - table_height))
    visible = rows[first : first + table_height]
    columns, widths = _fitting(rows, width, board.sort)
    lines = [*prices, _header(board, columns, widths)]
    lines += [_bot_line(row, columns, widths, row is rows[at]) for row in visible]
    if not rows:
        lines.append([("no bots" + (f" like {board.filter!r}" if board.filter else ""), "dim")])
    lines += [[] for _ in range(len(prices) + 1 + table_height - len(lines))]
    if room:
        hidden = f" {first + 1}-{first + len(visible)} of {len(rows)}" if len(visible) < len(rows) else ""
        lines.append([("events", "bold"), (f"{hidden:>{max(0, width - 6)}}", "dim")])
        lines += [[(event_line(event), _event_style(event))] for event in events[-room:]]
    return lines


def _prices(rows: list[Row], width: int, most: int) -> list[Line]:
    """Return prices with their age, as many as fit on ``most`` lines."""
    lines: list[Line] = [[]]
    used = 0
    for row in rows:
        stale = "!" if row.get("stale") else ""
        price = render(Column("price", form=exact), row)
        old = f" {age(row['age_s'])}{stale}" if row.get("age_s") is not None else stale
        size = display_width(text(row.get("symbol"))) + len(price) + len(old) + 3
        if used + size > width and used:
            if len(lines) == most:
                break
            lines.append([])
            used = 0
        lines[-1] += [(f"{text(row.get('symbol'))} ", "dim"), (price, ""), (f"{old}  ", "bad" if stale else "dim")]
        used += size
    return lines if rows else []


def _fitting(rows: list[Row], width: int, sort: str) -> tuple[list[Column], list[int]]:
    """Return the columns that fit, the sorted one among them, and their widths; the note takes what is left."""
    sizes = {}
    for column in COLUMNS:
        sizes[column.key] = max([len(column.title) + 1, *(display_width(render(column, row)) for row in rows)])
    sizes["name"] = min(sizes["name"], max(12, width // 4))
    chosen, used = set(), -2
    for key in dict.fromkeys(("name", sort, *PRIORITY)):
        size = NARROWEST.get(key, sizes[key])
        if used + size + 2 <= width:
            chosen.add(key)
            used += size + 2
    columns = [column for column in COLUMNS if column.key in chosen]
    widths = [width - used + NARROWEST["note"] if column.key == "note" else sizes[column.key] for column in columns]
    return columns, widths


def _header(board: Dashboard, columns: list[Column], widths: list[int]) -> Line:
    cells = []
    for column, width in zip(columns, widths, strict=True):
        mark = ("↓" if board.reverse else "↑") if column.key == board.sort else ""
        cells.append(padded(column.title + mark, width, column.right))
    return [("  ".join(cells), "reverse")]


def _bot_line(row: Row, columns: list[Column], widths: list[int], selected: bool) -> Line:
    pieces: Line = []
    for column, width in zip(columns, widths, strict=True):
        cell = render(column, row)
        style = _sign(cell) if column.paint == "sign" else _STATES.get(cell, "") if column.paint == "state" else ""
        pieces.append((padded(cell, width, column.right), "selected" if selected else style))
        pieces.append(("  ", "selected" if selected else ""))
    return pieces[:-1]


def _bot(board: Dashboard, width: int) -> list[Line]:
    """Return everything about one bot: its row, then the last decision."""
    if not board.bot:
        return [[(f"asking for {board.selected} ...", "dim")]]
    lines: list[Line] = [[(board.selected, "bold")]]
    lines += [[(clean(line), "")] for line in details(board.bot)]
    why = board.why
    lines += [[], [("why  ", "bold"), (f"{text(why.get('at') or '')}  {text(why.get('outcome') or '')}", "")]]
    for gate in why.get("gates") or []:
        values = [f"{key} {text(gate[key])}" for key in ("value", "limit") if gate.get(key) is not None]
        words = f"{text(gate.get('gate')):<24}  " + "  ".join(values)
        passed = bool(gate.get("passed"))
        detail = text(gate.get("detail") or "")
        beside = len(words) + len(detail) + 8 <= width
        lines.append([("  ok  " if passed else "  NO  ", "good" if passed else "bad"), (words, "")])
        if beside:
            lines[-1].append((f"  {detail}", ""))
        else:
            lines += [[(f"      {part}", "")] for part in wrapped(detail, max(20, width - 6))]
    return lines + [[(clean(line), "dim")] for line in numbers(why.get("notes") or {}, "  ")]


def _scrolled(lines: list[Line], board: Dashboard, height: int) -> list[Line]:
    board.scroll = max(0, min(board.scroll, len(lines) - height))
    return lines[board.scroll : board.scroll + height]


def _footer(board: Dashboard) -> Line:
    if board.typing:
        return [("filter: ", "bold"), (board.filter + "_", "")]
    if board.message:
        return [(clean(board.message), "warn")]
    if board.page == "bot":
        return [("q or Escape back  up/down scroll  s start  x stop  p pause  ? help", "dim")]
    if board.page == "help":
        return [("q or Escape back  up/down scroll", "dim")]
    if board.filter and board.page == "bots":
        return [(f"filter: {board.filter}  ", "bold"), (FILTERED_KEYS, "dim")]
    return [(KEYS, "dim")]


def _sign(cell: str) -> str:
    return "good" if cell.startswith("+") else "bad" if cell.startswith("-") and cell != "-" else ""


def _event_style(event: dict[str, Any]) -> str:
    topic = str(event.get("topic", ""))
    loud = ("denied", "rejected", "failed", "halt", "gap", "backoff", "reduce")
    return "warn" if any(word in topic for word in loud) else "dim"


_TOTALS = (
    ("equity", "equity", money),
    ("pnl", "", text),
    ("open", "unrealized_pnl", gain),
    ("ret", "return_pct", percent),
    ("exp", "exposure_pct", percent),
    ("dd", "max_drawdown_pct", percent),
)
_LESSER = ("open", "exp", "dd", "ret")
_STATES = {
    "running": "good",
    "failed": "bad",
    "backoff": "warn",
    "degraded": "warn",
    "paused": "warn",
    "stopped": "dim",
}
