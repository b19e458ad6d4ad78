"""What may be opened where: active, reduce or halted, of the account, a symbol or a bot.

A scope has a state for each of its causes: the person's (``halt``, ``reduce``) and each monitor's
(``DAILY_LOSS`` ...). The worst cause counts. They are kept apart, so that midnight lifts a daily loss but
never a person's halt. A cause with ``until_ms`` lifts by itself; one without is lifted by ``release``.
All is durable (space ``trading_state``, one row a scope and code).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from botd.risk.durable import ChangedRows, from_json

ACTIVE, REDUCE, HALTED = "active", "reduce", "halted"
MANUAL = "MANUAL"
"""The code of a person's halt or reduce."""

_RANK = {ACTIVE: 0, REDUCE: 1, HALTED: 2}
_NEVER = 1 << 62


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why a scope is not active. ``by`` is who (a person) or which monitor; times in trading milliseconds."""

    state: str
    code: str
    since_ms: int
    until_ms: int | None = None
    by: str = ""
    detail: str = ""

    def holds(self, now_ms: int) -> bool:
        """Tell whether it still counts at ``now_ms``."""
        return self.until_ms is None or now_ms < self.until_ms


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a halt, reduce, release, trip or the passing of time did to a scope.

    ``changed`` also where only the causes changed. ``remaining`` are the codes that still hold.
    """

    scope: str
    before: str
    after: str
    changed: bool
    time_ms: int
    code: str = ""
    by: str = ""
    until_ms: int | None = None
    detail: str = ""
    lifted: list[str] = []
    remaining: list[str] = []


def account_scope() -> str:
    """Return the scope of the whole account."""
    return "account"


def bot_scope(bot: int) -> str:
    """Return the scope of a bot; of the account for bot 0."""
    return f"bot:{bot}" if bot else "account"


def symbol_scope(symbol: str) -> str:
    """Return the scope of a symbol."""
    return f"symbol:{symbol}"


class TradingStates:
    """All scopes that are not active. ``on_change`` hears of every change, whoever made it."""

    def __init__(self, on_change: Callable[[StateChange], None] | None = None) -> None:
        self._causes: dict[str, dict[str, Cause]] = {}
        self._next_expiry = _NEVER
        self._changed = ChangedRows(self._row)
        self._on_change = on_change
        self._on_lift: list[Callable[[str, str], None]] = []

    def when_lifted(self, listener: Callable[[str, str], None]) -> None:
        """Call ``listener(scope, code)`` for every cause that a ``release`` lifts."""
        self._on_lift.append(listener)

    @property
    def quiet(self) -> bool:
        """True where nothing anywhere is halted or reduced."""
        return not self._causes

    def halt(self, scope: str, *, now_ms: int, by: str = "", detail: str = "") -> StateChange:
        """Allow no entries in ``scope`` until a person releases it."""
        return self._manual(scope, HALTED, now_ms, by, detail)

    def reduce(self, scope: str, *, now_ms: int, by: str = "", detail: str = "") -> StateChange:
        """Allow only orders that shrink a position; takes the place of a person's halt."""
        return self._manual(scope, REDUCE, now_ms, by, detail)

    def release(self, scope: str, *, now_ms: int, by: str = "") -> StateChange:
        """Lift what waits for a person. Causes with an end of their own stay: ``remaining`` names them."""
        self.expire(now_ms)
        before, lifted = self.state(scope, now_ms), []
        for code, cause in sorted(self._causes.get(scope, {}).items()):
            if cause.until_ms is None:
                lifted.append(code)
        for code in lifted:
            self._drop(scope, code)
            for listener in self._on_lift:
                listener(scope, code)
        return self._told(scope, before, now_ms, bool(lifted), code=lifted[0] if lifted else "", by=by, lifted=lifted)

    def trip(
        self, scope: str, code: str, state: str, *, now_ms: int, until_ms: int | None = None, detail: str = ""
    ) -> StateChange:
        """Set a monitor's cause. One that holds already and would end no later is left as it is."""
        self.expire(now_ms)
        before, old = self.state(scope, now_ms), self._causes.get(scope, {}).get(code)
        if old is not None and old.state == state and (old.until_ms or _NEVER) >= (until_ms or _NEVER):
            return self._told(scope, before, now_ms, False, code=code, by=old.by, until_ms=old.until_ms)
        cause = Cause(state=state, code=code, since_ms=now_ms, until_ms=until_ms, by="monitor", detail=detail)
        self._put(scope, cause)
        return self._told(scope, before, now_ms, True, code=code, by="monitor", until_ms=until_ms, detail=detail)

    def lift(self, scope: str, code: str, *, now_ms: int, by: str = "") -> StateChange:
        """Take one cause away, whatever its end (its control was switched off)."""
        before, known = self.state(scope, now_ms), code in self._causes.get(scope, {})
        if known:
            self._drop(scope, code)
        return self._told(scope, before, now_ms, known, code=code, by=by, lifted=[code] if known else [])

    def expire(self, now_ms: int) -> list[StateChange]:
        """Lift the causes whose time is over; costs one comparison where there are none."""
        if now_ms < self._next_expiry:
            return []
        changes = []
        for scope, code, cause in self.causes():
            if not cause.holds(now_ms):
                before = self._worst(scope, lambda _cause: True)
                self._drop(scope, code)
                changes.append(self._told(scope, before, now_ms, True, code=code, by="clock", lifted=[code]))
        return changes

    def state(self, scope: str, now_ms: int) -> str:
        """Return a scope's own state."""
        return self._worst(scope, lambda cause: cause.holds(now_ms))

    def effective(self, bot: int, symbol: str, now_ms: int) -> tuple[str, Cause | None]:
        """Return what binds an entry of a bot in a symbol: the worst of its scopes, and its cause."""
        worst = self.binding(bot, symbol, now_ms)
        return (worst[1].state, worst[1]) if worst else (ACTIVE, None)

    def binding(self, bot: int, symbol: str, now_ms: int) -> tuple[str, Cause] | None:
        """Return (scope, cause) of the worst that binds an entry of a bot in a symbol, None where nothing does."""
        found = [
            (scope, cause)
            for scope in _scopes(bot, symbol)
            for cause in self._causes.get(scope, {}).values()
            if cause.holds(now_ms)
        ]
        return max(found, key=lambda entry: _RANK[entry[1].state], default=None)

    def manual(self, bot: int, symbol: str) -> tuple[str, str, Cause | None]:
        """Return (state, scope, cause) of the worst that a person set around an entry."""
        worst: tuple[str, str, Cause | None] = (ACTIVE, "", None)
        for scope in _scopes(bot, symbol):
            cause = self._causes.get(scope, {}).get(MANUAL)
            if cause is not None and _RANK[cause.state] > _RANK[worst[0]]:
                worst = (cause.state, scope, cause)
        return worst

    def tripped(self, code: str, scopes: Iterable[str], now_ms: int) -> tuple[str, Cause] | None:
        """Return (scope, cause) of a monitor's cause that holds in one of ``scopes``."""
        for scope in scopes:
            cause = self._causes.get(scope, {}).get(code)
            if cause is not None and cause.holds(now_ms):
                return scope, cause
        return None

    def causes(self) -> list[tuple[str, str, Cause]]:
        """Return (scope, code, cause) of everything, in a fixed order."""
        return [
            (s, code, cause) for s, causes in sorted(self._causes.items()) for code, cause in sorted(causes.items())
        ]

    def forget(self, bot: int) -> None:
        """Drop the states of a bot that is no more."""
        for code in list(self._causes.get(bot_scope(bot), {})):
            self._drop(bot_scope(bot), code)

    def drain_changes(self) -> dict[str, str | None]:
        """Return the rows that changed since the last drain."""
        return self._changed.drain()

    def restore(self, rows: Mapping[str, str]) -> None:
        """Take the rows back."""
        for key, text in rows.items():
            scope = key.rpartition("|")[0]
            cause = msgspec.convert(from_json(text), Cause)
            self._causes.setdefault(scope, {})[cause.code] = cause
        self._plan_expiry()

    def _manual(self, scope: str, state: str, now_ms: int, by: str, detail: str) -> StateChange:
        self.expire(now_ms)
        before, old = self.state(scope, now_ms), self._causes.get(scope, {}).get(MANUAL)
        changed = old is None or old.state != state
        if changed:
            self._put(scope, Cause(state=state, code=MANUAL, since_ms=now_ms, by=by, detail=detail))
        return self._told(scope, before, now_ms, changed, code=MANUAL, by=by, detail=detail)

    def _told(self, scope: str, before: str, now_ms: int, changed: bool, **facts: Any) -> StateChange:
        remaining = [code for code, cause in sorted(self._causes.get(scope, {}).items()) if cause.holds(now_ms)]
        after = self.state(scope, now_ms)
        change = StateChange(
            scope=scope, before=before, after=after, changed=changed, time_ms=now_ms, remaining=remaining, **facts
        )
        if changed and self._on_change is not None:
            self._on_change(change)
        return change

    def _put(self, scope: str, cause: Cause) -> None:
        self._causes.setdefault(scope, {})[cause.code] = cause
        self._changed.mark(f"{scope}|{cause.code}")
        self._plan_expiry()

    def _drop(self, scope: str, code: str) -> None:
        del self._causes[scope][code]
        if not self._causes[scope]:
            del self._causes[scope]
        self._changed.mark(f"{scope}|{code}")
        self._plan_expiry()

    def _plan_expiry(self) -> None:
        ends = (cause.until_ms for _scope, _code, cause in self.causes() if cause.until_ms is not None)
        self._next_expiry = min(ends, default=_NEVER)

    def _worst(self, scope: str, counts: Callable[[Cause], bool]) -> str:
        states = [cause.state for cause in self._causes.get(scope, {}).values() if counts(cause)]
        return max(states, key=_RANK.__getitem__, default=ACTIVE)

    def _row(self, key: str) -> dict[str, Any] | None:
        scope, _, code = key.rpartition("|")
        cause = self._causes.get(scope, {}).get(code)
        return None if cause is None else msgspec.structs.asdict(cause)


def _scopes(bot: int, symbol: str) -> tuple[str, str, str]:
    return account_scope(), symbol_scope(symbol), bot_scope(bot)
