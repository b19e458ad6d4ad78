"""What is watched over time: daily loss, drawdown, losing streaks, rejects, violent moves.

The orchestrator feeds it; where a limit is reached, the monitor sets a trading state with its code, and the
gate denies entries while that lasts. A control that is off costs one dictionary look-up. Durable (space
``risk``): ``equity:N`` (peak, day, start of the day), ``streak:N``, ``rejects:N``, ``move:SYMBOL``; N = 0 is
the account. It places and cancels nothing.

Marks: the day's start is the first equity seen at or after 00:00 UTC; the peak is the highest equity seen
since the control was on or last released. An equity that is unknown or not finite is no mark at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.candle import Candle
from botd.risk.durable import ChangedRows, from_json
from botd.risk.settings import ACCOUNT, RiskSettings
from botd.risk.trading_state import HALTED, REDUCE, TradingStates, account_scope, bot_scope, symbol_scope
from botd.risk.volatility import Moves

DAY_MS = 86_400_000
REJECT_WINDOW_MS = 60_000


class Marks(msgspec.Struct):
    """The marks of one equity curve: ``peak`` for drawdown, ``start`` for the loss since ``day`` began."""

    peak: Decimal
    day: int
    start: Decimal


class Limits(msgspec.Struct, frozen=True):
    """What is watched of one bot (or the account); None where off."""

    daily_loss: float | None
    drawdown: float | None
    losses: float | None
    pause_ms: int
    rejects: float | None


class Monitors:
    """The watchers of one account, its bots and its symbols."""

    def __init__(self, settings: RiskSettings, states: TradingStates) -> None:
        self._settings = settings
        self._states = states
        self._version = -1
        self._limits: dict[int, Limits] = {}
        self._move_limits: dict[str, float] = {}
        self._marks: dict[int, Marks] = {}
        self._equity: dict[int, Decimal] = {}
        self._streaks: dict[int, int] = {}
        self._rejects: dict[int, list[int]] = {}
        self._moves = Moves()
        self._changed = ChangedRows(self._row)
        states.when_lifted(self._released)

    def on_equity(self, bot: int, equity: Decimal | None, now_ms: int) -> None:
        """Take the open equity of a bot (0: the account) at ``now_ms``."""
        self._states.expire(now_ms)
        limits = self._limits_of(bot)
        if (limits.daily_loss is None and limits.drawdown is None) or equity is None or not equity.is_finite():
            return
        marks = self._mark(bot, equity, now_ms)
        if limits.daily_loss is not None:
            self._check_day(bot, marks, equity, limits.daily_loss, now_ms)
        if limits.drawdown is not None:
            self._check_drawdown(bot, marks, equity, limits.drawdown, now_ms)

    def on_trade_closed(self, bot: int, pnl: Decimal, now_ms: int) -> None:
        """Count a finished round trip; what is not a gain or zero is a loss (NaN too)."""
        limits = self._limits_of(bot)
        if limits.losses is None:
            return
        lost = not (pnl.is_finite() and pnl >= 0)
        streak = self._streaks.get(bot, 0) + 1 if lost else 0
        if streak != self._streaks.get(bot, 0):
            self._set_streak(bot, streak)
        if streak >= limits.losses:
            self._set_streak(bot, 0)
            until = now_ms + limits.pause_ms
            detail = f"{streak} losing trades in a row"
            self._states.trip(
                bot_scope(bot), "CONSECUTIVE_LOSSES", HALTED, now_ms=now_ms, until_ms=until, detail=detail
            )

    def on_reject(self, bot: int, now_ms: int) -> None:
        """Count an order that the exchange rejected, for the bot and for the account."""
        for number in (bot, ACCOUNT):
            limit = self._limits_of(number).rejects
            if limit is None:
                continue
            times = [time for time in self._rejects.get(number, []) if time > now_ms - REJECT_WINDOW_MS]
            times.append(now_ms)
            self._rejects[number] = times
            self._changed.mark(f"rejects:{number}")
            if len(times) >= limit:
                detail = f"{len(times)} rejects within a minute"
                self._states.trip(bot_scope(number), "REJECT_STORM", HALTED, now_ms=now_ms, detail=detail)

    def on_candle(self, symbol: str, candle: Candle, now_ms: int | None = None) -> None:
        """Take a closed 1m candle; ``now_ms`` is its close time where not given."""
        self._refresh()
        if not self._move_limits:
            return
        detail = self._moves.take(symbol, candle, self._move_limits.get("move"), self._move_limits.get("sigma"))
        self._changed.mark(f"move:{symbol}")
        if detail:
            now = candle.open_time + 60_000 if now_ms is None else now_ms
            until = now + round(self._move_limits.get("pause", 900.0) * 1000)
            self._states.trip(
                symbol_scope(symbol), "VOLATILITY_HALT", REDUCE, now_ms=now, until_ms=until, detail=detail
            )

    def adjust(self, bot: int, amount: Decimal) -> None:
        """Take a transfer (in: positive) out of the marks, so that it is neither gain nor loss."""
        marks = self._marks.get(bot)
        if marks is not None and amount.is_finite():
            marks.peak += amount
            marks.start += amount
            if bot in self._equity:
                self._equity[bot] += amount
            self._changed.mark(f"equity:{bot}")

    def loss(self, bot: int) -> float | None:
        """Return the loss since 00:00 UTC as a fraction (a gain is negative), None where not watched."""
        return self._fall(bot, lambda marks: marks.start)

    def drawdown(self, bot: int) -> float | None:
        """Return the drawdown from the peak as a fraction, None where not watched."""
        return self._fall(bot, lambda marks: marks.peak)

    def streak(self, bot: int) -> int:
        """Return how many losing trades the bot has had in a row."""
        return self._streaks.get(bot, 0)

    def rejects(self, bot: int, now_ms: int) -> int:
        """Return how many rejects the last minute brought."""
        return sum(1 for time in self._rejects.get(bot, []) if time > now_ms - REJECT_WINDOW_MS)

    def settings_changed(self, now_ms: int, by: str = "") -> None:
        """Lift what was set by controls that are off now. To be called after ``risk set`` and reload."""
        self._refresh()
        for scope, code, _cause in self._states.causes():
            if not self._watched(scope, code):
                self._states.lift(scope, code, now_ms=now_ms, by=by)

    def forget(self, bot: int) -> None:
        """Drop what is kept of a bot that is no more."""
        tables: tuple[tuple[str, dict[int, Any]], ...] = (
            ("equity", self._marks),
            ("streak", self._streaks),
            ("rejects", self._rejects),
        )
        for name, table in tables:
            if table.pop(bot, None) is not None:
                self._changed.mark(f"{name}:{bot}")
        self._equity.pop(bot, None)
        self._limits.pop(bot, None)

    def drain_changes(self) -> dict[str, str | None]:
        """Return the rows that changed since the last drain."""
        return self._changed.drain()

    def restore(self, rows: Mapping[str, str]) -> None:
        """Take the rows back (others than its own are left alone)."""
        for key, text in rows.items():
            kind, _, name = key.partition(":")
            if kind == "equity":
                self._marks[int(name)] = msgspec.convert(from_json(text), Marks)
            elif kind == "streak":
                self._streaks[int(name)] = from_json(text)
            elif kind == "rejects":
                self._rejects[int(name)] = from_json(text)
            elif kind == "move":
                self._moves.restore(name, from_json(text))

    def _mark(self, bot: int, equity: Decimal, now_ms: int) -> Marks:
        self._equity[bot] = equity
        marks, day = self._marks.get(bot), now_ms // DAY_MS
        if marks is None:
            marks = self._marks[bot] = Marks(equity, day, equity)
        elif day > marks.day:
            marks.day, marks.start = day, equity
            marks.peak = max(marks.peak, equity)
        elif equity > marks.peak:
            marks.peak = equity
        else:
            return marks
        self._changed.mark(f"equity:{bot}")
        return marks

    def _check_day(self, bot: int, marks: Marks, equity: Decimal, limit: float, now_ms: int) -> None:
        loss = _fraction(marks.start, equity)
        if loss < limit or self._states.tripped("DAILY_LOSS", (bot_scope(bot),), now_ms):
            return
        detail = f"lost {loss:.2%} since 00:00 UTC, limit {limit:.2%}"
        until = (marks.day + 1) * DAY_MS
        self._states.trip(bot_scope(bot), "DAILY_LOSS", REDUCE, now_ms=now_ms, until_ms=until, detail=detail)

    def _check_drawdown(self, bot: int, marks: Marks, equity: Decimal, limit: float, now_ms: int) -> None:
        fall = _fraction(marks.peak, equity)
        if fall < limit or self._states.tripped("MAX_DRAWDOWN", (bot_scope(bot),), now_ms):
            return
        detail = f"{fall:.2%} below the peak {marks.peak.normalize():f}, limit {limit:.2%}"
        self._states.trip(bot_scope(bot), "MAX_DRAWDOWN", HALTED, now_ms=now_ms, detail=detail)

    def _released(self, scope: str, code: str) -> None:
        """A person lifted ``code``: count anew from here, else the next mark would set it again."""
        if scope.startswith("symbol:"):
            return
        bot = ACCOUNT if scope == account_scope() else int(scope.removeprefix("bot:"))
        marks = self._marks.get(bot)
        if code == "MAX_DRAWDOWN" and marks is not None:
            # Right after a restart no equity is known yet: 0 makes the next mark the peak.
            marks.peak = self._equity.get(bot, Decimal(0))
            self._changed.mark(f"equity:{bot}")
        if code == "REJECT_STORM":
            self._rejects.pop(bot, None)
            self._changed.mark(f"rejects:{bot}")

    def _watched(self, scope: str, code: str) -> bool:
        if scope.startswith("symbol:"):
            return code != "VOLATILITY_HALT" or bool(self._move_limits)
        limits = self._limits_of(ACCOUNT if scope == account_scope() else int(scope.removeprefix("bot:")))
        watched = {
            "DAILY_LOSS": limits.daily_loss,
            "MAX_DRAWDOWN": limits.drawdown,
            "CONSECUTIVE_LOSSES": limits.losses,
            "REJECT_STORM": limits.rejects,
        }
        return watched.get(code, 0.0) is not None

    def _limits_of(self, bot: int) -> Limits:
        self._refresh()
        limits = self._limits.get(bot)
        if limits is None:
            part, numbers = ("bot" if bot else "account"), self._settings.numbers
            streak = numbers("consecutive_losses", bot) if bot else {}
            limits = self._limits[bot] = Limits(
                daily_loss=numbers("daily_loss", bot).get(part),
                drawdown=numbers("max_drawdown", bot).get(part),
                losses=streak.get("losses"),
                pause_ms=round(streak.get("pause", 0.0) * 1000),
                rejects=numbers("reject_storm", bot).get(part),
            )
        return limits

    def _refresh(self) -> None:
        if self._version != self._settings.version:
            self._version = self._settings.version
            self._limits.clear()
            moves = self._settings.numbers("volatility_halt")
            self._move_limits = moves if "move" in moves or "sigma" in moves else {}

    def _set_streak(self, bot: int, streak: int) -> None:
        self._streaks[bot] = streak
        self._changed.mark(f"streak:{bot}")

    def _fall(self, bot: int, mark: Any) -> float | None:
        marks, equity = self._marks.get(bot), self._equity.get(bot)
        return None if marks is None or equity is None else _fraction(mark(marks), equity)

    def _row(self, key: str) -> Any:
        kind, _, name = key.partition(":")
        if kind == "move":
            return self._moves.row(name)
        if kind == "equity":
            marks = self._marks.get(int(name))
            return marks and {"peak": str(marks.peak), "day": marks.day, "start": str(marks.start)}
        table: Mapping[int, Any] = self._streaks if kind == "streak" else self._rejects
        return table.get(int(name))


def _fraction(mark: Decimal, equity: Decimal) -> float:
    """Return how far ``equity`` is below ``mark``, at most 1; a mark of nothing cannot be fallen from."""
    return min(1.0, float((mark - equity) / mark)) if mark > 0 else 0.0
