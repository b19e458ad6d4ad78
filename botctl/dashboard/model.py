"""The state of the dashboard: the last answer of the daemon, and what the user chose to see.

Pure: keys go in, wishes come out (``("start", "alpha")``); no terminal, no socket, no clock of its own.
"""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
Wish = tuple[str, str]

SORTS = ("name", "strategy", "symbol", "state", "equity", "realized_pnl", "unrealized_pnl", "trades")
ACTIONS = {"s": "start", "x": "stop", "p": "pause"}
PAGE = 10


class Dashboard:
    """What is on the screen. ``page`` is bots, bot or help."""

    def __init__(self) -> None:
        self.data: Row = {}
        self.bot: Row = {}
        self.why: Row = {}
        self.held: list[Row] = []  # scopes that are halted or reduced
        self.away = ""
        self.page = "bots"
        self.under_help = "bots"  # the page to which the help leads back
        self.sort = "name"
        self.reverse = False
        self.filter = ""
        self.typing = False
        self.selected = ""
        self.scroll = 0
        self.message = ""

    def update(self, data: Row, bot: Row | None = None, why: Row | None = None) -> None:
        """Take a new answer; the selection stays on its bot."""
        if self.away:
            self.message = ""  # what was told while the daemon was away is over
        self.data, self.away = data, ""
        if bot is not None:
            self.bot, self.why = bot, why or {}

    def rows(self) -> list[Row]:
        """Return the bots that the filter lets through, sorted."""
        words = self.filter.lower().split()
        found = [row for row in self.data.get("bots") or [] if all(word in _haystack(row) for word in words)]
        found.sort(key=lambda row: str(row.get("name")))
        known = [row for row in found if row.get(self.sort) not in (None, "")]
        unknown = [row for row in found if row.get(self.sort) in (None, "")]
        return sorted(known, key=lambda row: _key(row[self.sort]), reverse=self.reverse) + unknown

    def index(self, rows: list[Row]) -> int:
        """Return where the selected bot is; the first where it is not (any more)."""
        names = [row.get("name") for row in rows]
        return names.index(self.selected) if self.selected in names else 0

    def press(self, key: str) -> Wish | None:
        """Take a key; return what the program should do: quit, or an action on a bot."""
        self.message = ""
        if self.typing:
            self._type(key)
            return None
        back = key in ("escape", "q", "backspace", "left")
        if self.page == "help" and (back or key == "?"):
            self.page, self.scroll = self.under_help, 0
        elif self.page != "bots" and back:
            self.page, self.scroll = "bots", 0
        elif key == "q":
            return "quit", ""
        elif key == "?":
            self.under_help, self.page, self.scroll = self.page, "help", 0
        elif key in ACTIONS and self.page != "help":
            return self._act(ACTIONS[key])
        elif self.page == "bots":
            return self._on_list(key)
        else:
            self.scroll = max(0, self.scroll + _STEPS.get(key, 0))
        return None

    def opened(self) -> str:
        """Return the bot whose page is open, be it under the help; nothing where none is."""
        page = self.under_help if self.page == "help" else self.page
        return self.selected if page == "bot" else ""

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self.typing = False
            if key == "escape":
                self.filter = ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable():
            self.filter += key

    def _on_list(self, key: str) -> Wish | None:
        rows = self.rows()
        if key == "/":
            self.typing = True
        elif key == "escape":
            self.filter = ""
        elif key in ("o", ">", "right"):
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        elif key in ("O", "<", "left"):
            self.sort = SORTS[(SORTS.index(self.sort) - 1) % len(SORTS)]
        elif key == "r":
            self.reverse = not self.reverse
        elif rows and key in _STEPS:
            at = min(max(self.index(rows) + _STEPS[key], 0), len(rows) - 1)
            self.selected = str(rows[at]["name"])
        elif rows and key == "enter":
            self.selected = str(rows[self.index(rows)]["name"])
            self.page, self.scroll, self.bot, self.why = "bot", 0, {}, {}
            return "open", self.selected
        return None

    def _act(self, action: str) -> Wish | None:
        rows = self.rows()
        if self.page == "bots":
            if not rows:
                self.message = f"{action}: no bot is selected"
                return None
            self.selected = str(rows[self.index(rows)]["name"])
        return action, self.selected


_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -PAGE, "pagedown": PAGE, "home": -(10**6), "end": 10**6}


def is_restricted(data: Row) -> bool:
    """Say whether anything is halted or reduced: the account, or what any bot notes of itself."""
    account = (data.get("health") or {}).get("trading") or "active"
    notes = (str(row.get("note") or "") for row in data.get("bots") or [])
    return account != "active" or any(note.startswith(("halted", "reduce")) for note in notes)


def _haystack(row: Row) -> str:
    labels = " ".join(f"{key}={value}" for key, value in (row.get("labels") or {}).items())
    return " ".join(str(row.get(key, "")) for key in ("name", "strategy", "symbol", "state", "note")).lower() + labels


def _key(value: Any) -> tuple[int, float, str]:
    try:
        return 0, float(value), ""
    except (TypeError, ValueError):
        return 1, 0.0, str(value)
