"""The terminal of the dashboard: curses, keys, resizing; and a thread that asks the daemon once a second.

A slow or absent daemon never holds up the keys: the thread waits for it, the screen shows the last answer.
"""

from __future__ import annotations

import curses
import locale
import threading
import time
from collections.abc import Callable
from typing import Any

from botctl.client import Client
from botctl.dashboard.frame import Line, frame
from botctl.dashboard.model import Dashboard, is_restricted
from botctl.exit_codes import Fault
from botctl.fitting import display_width

EVERY_S = 1.0
ASK_S = 3.0
KEY_WAIT_MS = 100

_KEYS = {
    curses.KEY_UP: "up",
    curses.KEY_DOWN: "down",
    curses.KEY_LEFT: "left",
    curses.KEY_RIGHT: "right",
    curses.KEY_PPAGE: "pageup",
    curses.KEY_NPAGE: "pagedown",
    curses.KEY_HOME: "home",
    curses.KEY_END: "end",
    curses.KEY_ENTER: "enter",
    curses.KEY_BACKSPACE: "backspace",
}
_CHARACTERS = {"\n": "enter", "\r": "enter", "\x1b": "escape", "\x7f": "backspace", "\b": "backspace"}


class Watcher(threading.Thread):
    """Asks ``top``, and ``show`` and ``why`` of the opened bot, again and again; keeps the latest answers."""

    def __init__(self, endpoint: str | None) -> None:
        super().__init__(name="botctl top", daemon=True)
        self._client = Client(endpoint)
        self._wake = threading.Event()
        self._ended = False
        self.opened = ""
        self.latest: tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]] | None = None
        self.held: list[dict[str, Any]] = []
        self.fault = ""

    def run(self) -> None:
        """Ask until told to end."""
        away_since = 0.0
        while not self._ended:
            try:
                self._ask()
            except Fault as fault:
                away_since = away_since or time.monotonic()
                self.fault = f"away for {time.monotonic() - away_since:.0f} s: {fault.message}"
                self._client.close()
            else:
                away_since, self.fault = 0.0, ""
            self._wake.wait(EVERY_S)
            self._wake.clear()
        self._client.close()

    def now(self) -> None:
        """Ask at once."""
        self._wake.set()

    def end(self) -> None:
        """Let the thread end."""
        self._ended = True
        self._wake.set()

    def _ask(self) -> None:
        data = self._client.call("top", {}, ASK_S)
        self.held = held_by(data, lambda cmd: self._client.call(cmd, {}, ASK_S))
        name, bot, why = self.opened, {}, {}
        if name:
            try:
                bot = self._client.call("show", {"name": name}, ASK_S)
                why = self._client.call("why", {"name": name}, ASK_S)
            except Fault as fault:
                bot = bot or {"note": fault.message}
        self.latest = (data, name, bot, why)


class Screen:
    """Draws the dashboard and gives it the keys, until the user quits."""

    def __init__(self, endpoint: str | None, color: bool) -> None:
        self._endpoint = endpoint
        self._color = color
        self._board = Dashboard()
        self._styles: dict[str, int] = {}

    def run(self) -> None:
        """Show the dashboard; returns when the user quits. Raises curses.error where TERM is unknown."""
        locale.setlocale(locale.LC_ALL, "")
        curses.wrapper(self._run)

    def _run(self, window: curses.window) -> None:
        curses.set_escdelay(25)
        try:
            curses.curs_set(0)
        except curses.error:
            pass  # this terminal cannot hide its cursor
        self._styles = _styles(self._color and curses.has_colors())
        window.timeout(KEY_WAIT_MS)
        watcher = Watcher(self._endpoint)
        actor = Client(self._endpoint)
        watcher.start()
        try:
            while self._step(window, watcher, actor):
                pass
        finally:
            watcher.end()
            actor.close()

    def _step(self, window: curses.window, watcher: Watcher, actor: Client) -> bool:
        """Draw once and take one key; False when the user quits."""
        board = self._board
        if watcher.latest is not None and not watcher.fault:
            data, name, bot, why = watcher.latest
            board.update(data, *((bot, why) if name and name == board.opened() else ()))
        board.away, board.held = watcher.fault, watcher.held
        height, width = window.getmaxyx()
        self._draw(window, frame(board, width, height))
        key = _key(window)
        wish = board.press(key) if key else None
        if wish is None:
            watcher.opened = board.opened()
            return True
        verb, name = wish
        if verb == "quit":
            return False
        if verb == "open":
            watcher.opened = name
        else:
            board.message = _act(actor, verb, name)
        watcher.now()
        return True

    def _draw(self, window: curses.window, lines: list[Line]) -> None:
        window.erase()
        for row, line in enumerate(lines):
            column = 0
            for piece, style in line:
                try:
                    window.addstr(row, column, _encodable(piece), self._styles.get(style, 0))
                except curses.error:
                    break  # the last cell of the screen, or it has just become smaller
                column += display_width(piece)
        window.refresh()


def held_by(data: dict[str, Any], call: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Return the scopes that are halted or reduced; asks for them only where something is."""
    if not is_restricted(data):
        return []
    try:
        return list(call("risk.show").get("held") or [])
    except Fault:
        return [{"scope": "account", "state": (data.get("health") or {}).get("trading")}]


def _styles(color: bool) -> dict[str, int]:
    styles = {"bold": curses.A_BOLD, "dim": curses.A_DIM, "reverse": curses.A_REVERSE, "selected": curses.A_STANDOUT}
    styles |= {"good": 0, "bad": curses.A_BOLD, "warn": curses.A_BOLD}
    if color:
        curses.start_color()
        curses.use_default_colors()
        for number, (style, shade) in enumerate(
            (("good", curses.COLOR_GREEN), ("bad", curses.COLOR_RED), ("warn", curses.COLOR_YELLOW)), 1
        ):
            curses.init_pair(number, shade, -1)
            styles[style] = curses.color_pair(number)
    return styles


def _key(window: curses.window) -> str:
    """Return the name of the next key, or nothing where none came."""
    try:
        key = window.get_wch()
    except curses.error:
        return ""
    if isinstance(key, int):
        if key == curses.KEY_RESIZE:
            curses.update_lines_cols()
        return _KEYS.get(key, "")
    return _CHARACTERS.get(key, key)


def _act(client: Client, verb: str, name: str) -> str:
    """Do start, stop or pause and return what to tell."""
    try:
        row = client.call(verb, {"names": [name]}, ASK_S)["rows"][0]
    except Fault as fault:
        client.close()
        return f"{name}: {fault.message}"
    if row.get("error"):
        return f"{name}: {row['error'].get('message')}"
    return f"{name}: {row.get('before')} -> {row.get('after')}  {row.get('detail') or ''}"


def _encodable(text: str) -> str:
    """Return text that the terminal's encoding knows."""
    encoding = locale.getpreferredencoding(False)
    return text if encoding.upper() == "UTF-8" else text.encode(encoding, "replace").decode(encoding)
