"""Which controls bind a bot, with which limits: preset, configuration, and what ``risk set`` changed.

Four layers, each over the one before: the preset, the configuration file, the account-wide changes, the
bot's own changes. Changes are durable (rows ``override:account:CONTROL`` and ``override:bot:N:CONTROL`` of
the space ``risk``). A bot's own ``off`` never switches off what belongs to the account.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.errors import InvalidError
from botd.domain.hints import did_you_mean
from botd.risk.controls import BY_NAME, Control, Part, Unit, Value
from botd.risk.durable import ChangedRows, from_json
from botd.risk.presets import PRESETS, Preset
from botd.risk.units import parse, show, switch, words

PREFIX = "override:"
ACCOUNT = 0
"""The bot number that stands for the whole account."""

Resolved = dict[str, dict[str, Value | None]]


class Change(msgspec.Struct, frozen=True):
    """What one layer says of a control: on or off or nothing, and limits by part (None: that part off)."""

    on: bool | None = None
    values: dict[str, Value | None] = {}

    def over(self, older: Change | None) -> Change:
        """Return this change put over an older one; an ``off`` keeps the limits for a later ``on``."""
        if older is None:
            return self
        return Change(older.on if self.on is None else self.on, {**older.values, **self.values})

    def apply(self, control: Control, parts: dict[str, Value | None], defaults: Mapping[str, Value], bot: int) -> None:
        """Change ``parts`` in place."""
        own = [part.name for part in control.parts if bot == ACCOUNT or part.scope != "account"]
        if self.on is False:
            parts.update(dict.fromkeys(own))
            return
        if self.on is True:
            # A limit that is named brings those that belong to it; what binds the account stays as it was where
            # only the bots' limit was named, and the other way round.
            named = {part.scope for part in control.parts if part.name in self.values} or {"bot", "account"}
            scopes = {part.name: part.scope for part in control.parts}
            parts.update({n: defaults[n] for n in own if parts[n] is None and scopes[n] in named})
        parts.update(self.values)


class RiskSettings:
    """The limits in force. ``version`` grows with every change: readers may cache by it."""

    def __init__(self, preset: Preset, configured: Mapping[str, Change] | None = None) -> None:
        self.preset = preset
        self.version = 0
        self._configured = dict(configured or {})
        self._overrides: dict[tuple[int, str], Change] = {}
        self._cache: dict[int, Resolved] = {}
        self._changed = ChangedRows(self._row)

    @classmethod
    def from_config(cls, mapping: Mapping[str, Any] | None, mode: str = "paper") -> RiskSettings:
        """Build from the ``risk`` section (values as YAML gives them); InvalidError names the first mistake."""
        preset, configured, errors = _read(mapping or {}, mode)
        if errors:
            raise InvalidError(f"risk.{errors[0].message}", errors[0].hint)
        return cls(preset, configured)

    def reload(self, mapping: Mapping[str, Any] | None, mode: str = "paper") -> None:
        """Take a new ``risk`` section; on a mistake nothing changes. What ``risk set`` changed stays."""
        fresh = RiskSettings.from_config(mapping, mode)
        self.preset, self._configured = fresh.preset, fresh._configured
        self._forget_cache()

    def limits(self, bot: int = ACCOUNT) -> Resolved:
        """Return every control's limits for a bot, in the table's order; None where a part is off."""
        if bot not in self._cache:
            own = bot == ACCOUNT or any(number == bot for number, _ in self._overrides)
            self._cache[bot] = self._resolve(bot) if own else self.limits(ACCOUNT)
        return self._cache[bot]

    def numbers(self, control: str, bot: int = ACCOUNT) -> dict[str, float]:
        """Return the parts of a control that are on, as floats; empty where it is off."""
        parts = self.limits(bot)[control].items()
        return {name: float(value) for name, value in parts if isinstance(value, Decimal)}

    def is_on(self, control: str, bot: int = ACCOUNT) -> bool:
        """Tell whether any part of a control is on."""
        return any(value is not None for value in self.limits(bot)[control].values())

    def symbols(self, bot: int = ACCOUNT) -> frozenset[str]:
        """Return the allowlist; empty where any symbol may be traded."""
        value = self.limits(bot)["symbol_allowlist"]["value"]
        return frozenset(value) if isinstance(value, tuple) else frozenset()

    def funds_margin(self, bot: int = ACCOUNT) -> float:
        """Return the share of cash that sizing keeps back."""
        return self.numbers("funds", bot).get("margin", 0.0)

    def set(self, changes: Mapping[str, Any], bot: int = ACCOUNT) -> list[dict[str, Any]]:
        """Do ``risk set``: all changes or none. Keys are ``control`` or ``control.part``; ``default`` drops
        what was set before. Returns a row (control, scope, before, after, result) for each control named."""
        parsed: dict[str, Change | None] = {}
        for key, raw in changes.items():
            control, change = _read_change(key, raw, bot)
            earlier = parsed.get(control.name, self._overrides.get((bot, control.name)))
            parsed[control.name] = None if change is None else change.over(earlier)
        before = {name: dict(self.limits(bot)[name]) for name in parsed}
        for name, merged in parsed.items():
            if merged is None:
                self._overrides.pop((bot, name), None)
            else:
                self._overrides[bot, name] = merged
            self._changed.mark(_key(bot, name))
        self._forget_cache()
        return [self._set_row(name, bot, before[name]) for name in parsed]

    def forget(self, bot: int) -> None:
        """Drop what was set for a bot that is no more."""
        for number, name in [key for key in self._overrides if key[0] == bot]:
            del self._overrides[number, name]
            self._changed.mark(_key(number, name))
        self._forget_cache()

    def overrides(self) -> list[tuple[int, str]]:
        """Return (bot, control) of everything that ``risk set`` changed; bot 0 is the account."""
        return sorted(self._overrides)

    def drain_changes(self) -> dict[str, str | None]:
        """Return the rows that changed since the last drain."""
        return self._changed.drain()

    def restore(self, rows: Mapping[str, str]) -> None:
        """Take the rows back (others than its own are left alone)."""
        for key, text in rows.items():
            if key.startswith(PREFIX):
                scope, _, name = key.removeprefix(PREFIX).rpartition(":")
                if name in BY_NAME:
                    bot = ACCOUNT if scope == "account" else int(scope.removeprefix("bot:"))
                    self._overrides[bot, name] = _decode(BY_NAME[name], from_json(text))
        self._forget_cache()

    def _resolve(self, bot: int) -> Resolved:
        resolved = self.preset.resolved()
        for name, parts in resolved.items():
            control, defaults = BY_NAME[name], self.preset.defaults(name)
            if name in self._configured:
                self._configured[name].apply(control, parts, defaults, ACCOUNT)
            for number in (ACCOUNT, bot) if bot else (ACCOUNT,):
                if (number, name) in self._overrides:
                    self._overrides[number, name].apply(control, parts, defaults, number)
        return resolved

    def _forget_cache(self) -> None:
        self._cache.clear()
        self.version += 1

    def _set_row(self, name: str, bot: int, before: dict[str, Value | None]) -> dict[str, Any]:
        """Return what became of a control: its limits as values, and (``shown_...``) as people write them."""
        row: dict[str, Any] = {"control": name, "scope": f"bot:{bot}" if bot else "account"}
        for key, limits in (("before", before), ("after", self.limits(bot)[name])):
            parts = BY_NAME[name].parts
            row[key] = {part.name: show(part.unit, limits[part.name]) for part in parts}
            row[f"shown_{key}"] = {part.name: words(part.unit, limits[part.name]) for part in parts}
        return row | {"result": "unchanged" if row["before"] == row["after"] else "changed"}

    def _row(self, key: str) -> dict[str, Any] | None:
        scope, _, name = key.removeprefix(PREFIX).rpartition(":")
        bot = ACCOUNT if scope == "account" else int(scope.removeprefix("bot:"))
        change = self._overrides.get((bot, name))
        return None if change is None else _encode(change)


def check(mapping: Mapping[str, Any] | None, mode: str = "paper") -> list[str]:
    """Return what is wrong with a ``risk`` section, one line each; empty where all is well."""
    errors = _read(mapping or {}, mode)[2]
    return [f"{error.message} ({error.hint})" if error.hint else error.message for error in errors]


def _key(bot: int, name: str) -> str:
    return f"{PREFIX}{f'bot:{bot}' if bot else 'account'}:{name}"


def _read(mapping: Mapping[str, Any], mode: str) -> tuple[Preset, dict[str, Change], list[InvalidError]]:
    errors: list[InvalidError] = []
    configured: dict[str, Change] = {}
    preset = PRESETS["live" if mode == "live" else "paper"]
    for key, raw in mapping.items():
        try:
            if key == "preset":
                preset = _preset(raw, mode)
                continue
            control, change = _read_change(str(key), raw, ACCOUNT)
            if change is not None:
                configured[control.name] = change.over(configured.get(control.name))
        except InvalidError as error:
            errors.append(error)
    return preset, configured, errors


def _preset(raw: Any, mode: str) -> Preset:
    name = "off" if raw is False else str(raw)
    if name not in PRESETS:
        raise InvalidError(f"preset: {raw!r} is unknown", f"one of {', '.join(PRESETS)}")
    if name == "off" and mode == "live":
        raise InvalidError("preset: off is for paper only", "use preset live, and switch single controls off")
    return PRESETS[name]


def _read_change(key: str, raw: Any, bot: int) -> tuple[Control, Change | None]:
    """Return the control that ``key`` names and what ``raw`` says of it; None for ``default``."""
    name, _, part_name = key.strip().lower().partition(".")
    control = BY_NAME.get(name)
    if control is None:
        known = [control.name for control in BY_NAME.values() if not (control.fixed and not control.single)]
        raise InvalidError(f"{name}: no such control", did_you_mean(name, known, f"one of {', '.join(known)}"))
    if bot and all(part.scope == "account" for part in control.parts):
        raise InvalidError(f"{name}: belongs to the account", "set it without the bot's name")
    if part_name:
        raw = {part_name: raw}
    if isinstance(raw, str) and raw.strip().lower() == "default":
        return control, None
    if isinstance(raw, Mapping):
        return control, _mapped(control, raw, bot)
    on = switch(raw)
    if on is not None:
        if control.fixed:
            raise InvalidError(f"{name}: cannot be switched on or off", control.help)
        return control, Change(on=on)
    singles = _single_parts(control, raw, bot)
    return control, Change(True, {part.name: parse(part, raw, name) for part in singles})


def _single_parts(control: Control, raw: Any, bot: int) -> list[Part]:
    names = control.single
    if bot and "bot" in (part.name for part in control.parts):
        names = ("bot",)
    if not names:
        if control.parts[0].unit is Unit.SWITCH:
            return [control.parts[0]]  # parse() refuses it with the right words
        keys = ", ".join(f"{part.name}:" for part in control.parts)
        raise InvalidError(f"{control.name}: {raw!r} does not say which limit", f"{control.name} takes {{{keys}}}")
    return [control.part(name) for name in names]


def _mapped(control: Control, raw: Mapping[Any, Any], bot: int) -> Change:
    values: dict[str, Value | None] = {}
    for key, item in raw.items():
        try:
            part = control.part(str(key))
        except KeyError:
            names = ", ".join(part.name for part in control.parts)
            raise InvalidError(f"{control.name}.{key}: no such limit", f"it has {names}") from None
        if bot and part.scope == "account":
            raise InvalidError(f"{control.name}.{key}: belongs to the account", "set it without the bot's name")
        on = switch(item)
        if on is False and control.fixed:
            raise InvalidError(f"{control.name}.{key}: cannot be switched off", control.help)
        if on is not True:
            values[part.name] = None if on is False else parse(part, item, f"{control.name}.{key}")
    if not raw:
        raise InvalidError(f"{control.name}: no limit given", "a value, off, or {limit: value}")
    return Change(True if any(value is not None for value in values.values()) else None, values)


def _encode(change: Change) -> dict[str, Any]:
    values = {
        name: list(value) if isinstance(value, tuple) else None if value is None else str(value)
        for name, value in change.values.items()
    }
    return {"on": change.on, "values": values}


def _decode(control: Control, row: dict[str, Any]) -> Change:
    known = {part.name for part in control.parts}
    values: dict[str, Value | None] = {
        name: tuple(value) if isinstance(value, list) else None if value is None else Decimal(value)
        for name, value in row["values"].items()
        if name in known
    }
    return Change(row["on"], values)
