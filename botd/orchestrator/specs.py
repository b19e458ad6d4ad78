"""From what a user typed to a checked BotSpec, and back."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from botd.domain.bot_spec import BotSpec, parse_atr
from botd.domain.candle import INTERVALS
from botd.domain.errors import ConflictError, InvalidError, NotFoundError
from botd.domain.hints import did_you_mean
from botd.domain.instrument import Instrument
from botd.strategy.inputs import reads_of
from botd.strategy.registry import Registry

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
LABEL = re.compile(r"^[A-Za-z0-9_.-]{1,64}\Z")
FRACTIONS = ("fraction", "risk_per_trade", "stop_loss", "take_profit", "trailing_stop", "break_even")
HOW = (*FRACTIONS, "atr_stop", "time_stop")
"""How a bot sizes and stops: keys that may be absent."""
_SHORT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([kKmM])\Z")
SETTABLE = ("strategy", "symbol", "interval", "capital", *HOW)
"""What ``set`` changes beside parameters and labels."""
MOST_CANDLES = 1_000_000
FEW = 12
"""So many symbols are told at once."""
SPEC_KEYS = ("name", "strategy", "symbol", "interval", "capital", "params", *HOW, "labels", "mode")


class SpecParser:
    """Checks specs against what exists: strategies, symbols, intervals."""

    def __init__(
        self,
        registry: Registry,
        symbols: Mapping[str, Instrument],
        base_interval: str | None,
        daemon_mode: str = "paper",
        listed_in: str = "",
    ) -> None:
        """``base_interval`` is the smallest interval that the market has, None where any is served. In a daemon that
        trades live every bot does, and says so itself. ``listed_in`` is the key of the configuration that says which
        symbols there are, empty where the exchange does."""
        self._listed_in = listed_in
        self._registry = registry
        self.symbols = symbols
        self._base_interval = base_interval
        self._daemon_mode = daemon_mode

    def require_parameters(self, name: str, strategy: str, keys: Collection[str]) -> None:
        """Raise InvalidError where one of ``keys``, that ``set`` was given, is no parameter of the bot's strategy."""
        declared = self._registry.load(strategy, fresh=True).parameters
        for key in keys:
            if key not in declared:
                near = did_you_mean(key, [*declared, *SETTABLE])
                hint = f"{strategy} has {', '.join(declared) or 'none'}; a bot has {', '.join(SETTABLE)}, label.KEY"
                raise InvalidError(f"{name}: no parameter {key!r}{near and '; '}{near}", hint)

    def parse(self, raw: Mapping[str, Any]) -> BotSpec:
        """Return the spec; errors name the key, what is wrong and what would be right."""
        for key in raw:
            if key not in SPEC_KEYS:
                raise InvalidError(f"unknown key {key!r} in a bot", did_you_mean(key, SPEC_KEYS))
        name = self._name(raw.get("name"))
        for key in ("strategy", "symbol", "interval", "capital"):
            if raw.get(key) in (None, ""):
                raise InvalidError(f"{name}: {key} is missing")
        info = self._registry.load(str(raw["strategy"]), fresh=True)
        params = info.plain(raw.get("params") or {})
        strategy = info.build(params)
        fractions: dict[str, Any] = {key: self._fraction(name, key, raw.get(key)) for key in FRACTIONS}
        if fractions["fraction"] is not None and fractions["risk_per_trade"] is not None:
            raise InvalidError(f"{name}: --fraction and --risk-per-trade exclude each other")
        stops = {**self._atr_stop(name, raw.get("atr_stop")), "time_stop": self._time_stop(name, raw.get("time_stop"))}
        guarded = fractions["stop_loss"] or fractions["trailing_stop"] or "atr_stop" in stops
        if fractions["risk_per_trade"] is not None and not guarded:
            raise InvalidError(
                f"{name}: --risk-per-trade needs a stop", "add --stop-loss 2%, --trailing-stop 1.5% or --atr-stop 3x14"
            )
        mode = str(raw.get("mode") or "paper")
        if mode not in ("paper", "live"):
            raise InvalidError(f"{name}: mode must be paper or live, not {mode!r}")
        if mode == "paper" and self._daemon_mode == "live":
            raise ConflictError(
                f"{name}: this botd trades live, and paper bots have no place in its books",
                "create it --live (mode: live in a fleet), or in a botd with mode: paper",
            )
        symbol, interval = self._symbol(name, str(raw["symbol"])), self._interval(name, str(raw["interval"]))
        for read in reads_of(info.name, strategy, symbol, interval):
            self._symbol(f"{name}: strategy {info.name} reads {read.words}", read.symbol)
        return BotSpec(
            name=name,
            strategy=info.name,
            symbol=symbol,
            interval=interval,
            capital=self._capital(name, raw["capital"]),
            params=params,
            labels=self._labels(name, raw.get("labels") or {}),
            mode=mode,
            **fractions,
            **stops,
        )

    def _name(self, value: Any) -> str:
        if not isinstance(value, str) or not NAME.match(value):
            raise InvalidError(
                f"{value!r} is not a bot's name", "letters, digits, '_', '.', '-', at most 64, a letter or digit first"
            )
        return value

    def _symbol(self, name: str, symbol: str) -> str:
        if symbol not in self.symbols:
            raise NotFoundError(f"{name}: no symbol {symbol!r} in this market", self.symbol_hint(symbol))
        return symbol

    def symbol_hint(self, symbol: str) -> str:
        """Return what a symbol that is not there may have meant: the nearest, and all where they are few."""
        near = did_you_mean(symbol.upper(), self.symbols)
        few = f"it has {', '.join(self.symbols)}" if 0 < len(self.symbols) <= FEW else "see: botctl symbols"
        more = f"{few} ({self._listed_in} in the configuration)" if self._listed_in else few
        return f"{near} {more}" if near and few.startswith("it has") else near or more

    def _interval(self, name: str, interval: str) -> str:
        if interval not in INTERVALS:
            raise InvalidError(f"{name}: unknown interval {interval!r}", f"one of {', '.join(INTERVALS)}")
        base = self._base_interval
        if base is not None and INTERVALS[interval] % INTERVALS[base]:
            raise InvalidError(
                f"{name}: interval {interval} cannot be built from this market's {base} candles",
                f"choose a multiple of {base}",
            )
        return interval

    @staticmethod
    def _capital(name: str, value: Any) -> Decimal:
        capital = decimal(f"{name}: capital", value)
        if capital <= 0:
            raise InvalidError(f"{name}: capital must be above zero, not {value}")
        return capital

    @staticmethod
    def _fraction(name: str, key: str, value: Any) -> Decimal | None:
        if value is None or value == "" or value is False:
            return None
        option = "--" + key.replace("_", "-")
        number = decimal(f"{name}: {option}", value)
        most = "below" if key in ("stop_loss", "trailing_stop") else "at most"
        if number <= 0 or number > 1 or (number == 1 and most == "below"):
            percent = f"{(number * 100).normalize():f}"
            raise InvalidError(f"{name}: {option} must be above 0 % and {most} 100 %, not {percent} %")
        return number

    @staticmethod
    def _atr_stop(name: str, value: Any) -> dict[str, Any]:
        if value is None or value == "" or value is False:
            return {}
        try:
            multiple, period = parse_atr(str(value))
        except ValueError as error:
            raise InvalidError(f"{name}: --atr-stop {error}") from None
        return {"atr_stop": multiple, "atr_period": period}

    @staticmethod
    def _time_stop(name: str, value: Any) -> int | None:
        if value is None or value == "" or value is False:
            return None
        number = decimal(f"{name}: --time-stop", value)
        if number != int(number) or not 1 <= number <= MOST_CANDLES:
            raise InvalidError(f"{name}: --time-stop must be whole candles from 1 to {MOST_CANDLES}, not {value}")
        return int(number)

    @staticmethod
    def _labels(name: str, labels: Mapping[str, Any]) -> dict[str, str]:
        for key, value in labels.items():
            if not LABEL.match(str(key)) or not LABEL.match(str(value)):
                raise InvalidError(f"{name}: label {key}={value}: letters, digits, '_', '.', '-' only")
        return {str(key): str(value) for key, value in sorted(labels.items())}


def decimal(what: str, value: Any) -> Decimal:
    """Return an exact finite number; InvalidError names ``what`` otherwise."""
    text = str(value)
    try:
        if "_" in text or not text.isascii():
            raise InvalidOperation  # Python's own liberties
        number = Decimal(text)
    except InvalidOperation:
        raise InvalidError(f"{what} must be a number, not {value!r}", _written_out(text)) from None
    if not number.is_finite():
        raise InvalidError(f"{what} must be finite, not {value}")
    if abs(number.adjusted()) > 15:
        raise InvalidError(f"{what} is out of range: {value}")
    return number


def _written_out(text: str) -> str:
    """Return how ``10k`` is written, else how numbers are."""
    found = _SHORT.match(text)
    if found is None:
        return "digits only, with a point for decimals: 1000 or 0.5"
    return f"write {Decimal(found[1]).scaleb(3 if found[2] in 'kK' else 6):f}"


def as_mapping(spec: BotSpec) -> dict[str, Any]:
    """Return the spec as ``create`` and fleet files take it; keys that are not set are left out."""
    raw: dict[str, Any] = {
        "name": spec.name,
        "strategy": spec.strategy,
        "symbol": spec.symbol,
        "interval": spec.interval,
        "capital": _plain(spec.capital),
    }
    if spec.params:
        raw["params"] = dict(spec.params)
    raw.update({key: _plain(value) for key in FRACTIONS if (value := getattr(spec, key)) is not None})
    if spec.atr_text is not None:
        raw["atr_stop"] = spec.atr_text
    if spec.time_stop is not None:
        raw["time_stop"] = spec.time_stop
    if spec.labels:
        raw["labels"] = dict(spec.labels)
    if spec.mode != "paper":
        raw["mode"] = spec.mode
    return raw


def difference(old: BotSpec, new: BotSpec) -> dict[str, list[Any]]:
    """Return ``{key: [old, new]}`` of what differs, parameters by their own names."""
    before, after = _flat(old), _flat(new)
    return {
        key: [before.get(key), after.get(key)] for key in sorted({*before, *after}) if before.get(key) != after.get(key)
    }


def in_words(changes: Mapping[str, list[Any]]) -> str:
    """Return a difference as ``capital 1000 -> 500, stop_loss none -> 0.02``."""
    sides = {key: ["none" if side is None else side for side in both] for key, both in changes.items()}
    return ", ".join(f"{key} {old} -> {new}" for key, (old, new) in sides.items())


def _flat(spec: BotSpec) -> dict[str, Any]:
    raw = as_mapping(spec)
    params = raw.pop("params", {})
    labels = raw.pop("labels", {})
    return {**raw, **params, **{f"label.{key}": value for key, value in labels.items()}}


def _plain(number: Decimal) -> str:
    """Return plain digits, the same ones for equal numbers: 1000 for 1E+3 and for 1000.00."""
    return f"{number.normalize():f}"
