"""Ranges of a sweep: ``fast=5:20:5`` becomes values, values become sets of parameters and terms.

A range is of a parameter of the strategy, or else of a term (stop-loss, take-profit, trailing-stop, atr-stop,
break-even, time-stop, fraction, risk-per-trade). ``low:high:step`` and ``a,b,c`` are values one by one; ``low:high``
is every whole number of an integer, else all numbers between, which only random and TPE can choose from; the name alone
is all that the strategy's bounds allow. What lies beyond those bounds is refused.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from botd.backtest.sweep import Set
from botd.domain.clock import Random, seeded_random
from botd.domain.errors import InvalidError
from botd.lab.given import terms_of
from botd.strategy.parameters import Parameter, duration_ms, duration_text, nearest
from botd.strategy.registry import StrategyInfo

MOST_SETS = 200_000
MOST_VALUES = 10_000

_TERMS = {
    "fraction": Parameter("fraction", None, 0.0001, 1.0),
    "risk_per_trade": Parameter("fraction", None, 0.0001, 1.0),
    "stop_loss": Parameter("fraction", None, 0.0001, 0.9999),
    "take_profit": Parameter("fraction", None, 0.0001, 100.0),
    "trailing_stop": Parameter("fraction", None, 0.0001, 0.9999),
    "break_even": Parameter("fraction", None, 0.0001, 100.0),
    "atr_stop": Parameter("float", None, 0.01, 1000.0),
    "time_stop": Parameter("int", None, 1, 10_000_000),
}
Point = tuple[Any, ...]
"""A value an axis, as JSON carries them."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One range: its ``values`` as JSON carries them, or all numbers from ``low`` to ``high``."""

    name: str
    parameter: Parameter
    is_term: bool
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0

    def draw(self, chance: Random) -> Any:
        """Return a value by chance; between bounds it is rounded to six digits, so that it can be typed again."""
        if self.values:
            return self.values[chance.randrange(len(self.values))]
        return self.rounded(chance.uniform(self.low, self.high))

    def rounded(self, value: float) -> Any:
        """Return a number between the bounds as the strategy takes it."""
        short = min(self.high, max(self.low, float(f"{value:.6g}")))
        return self.parameter.plain(self.parameter.parse(self.name, repr(short)))


def axes_of(info: StrategyInfo, ranges: Mapping[str, str]) -> list[Axis]:
    """Return the axes; InvalidError names what there is no range of, and what lies beyond the bounds."""
    axes = []
    for given, text in ranges.items():
        name = given if given in info.parameters else given.replace("-", "_")
        known = {**_TERMS, **info.parameters}
        if name not in known:
            names = ", ".join([*info.parameters, *_TERMS])
            raise InvalidError(f"strategy {info.name}: no range of {given!r}{nearest(name, known)}", names)
        axes.append(_axis(name, known[name], name not in info.parameters, text.strip()))
    return axes


def grid(axes: Sequence[Axis]) -> list[Point]:
    """Return all combinations, the last axis first to change; InvalidError where they are too many or endless."""
    for axis in axes:
        if not axis.values:
            raise InvalidError(
                f"{axis.name}: a grid needs a step or a list of values",
                f"--range {axis.name}=low:high:step, or take --random N",
            )
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_SETS:
        raise InvalidError(f"{count:,} sets are more than {MOST_SETS:,}", "larger steps, or --random N")
    return list(itertools.product(*(axis.values for axis in axes)))


def corners(axes: Sequence[Axis], most: int) -> list[Point]:
    """Return the combinations of the ends of the axes, ``most`` of them where there are more."""
    ends = [axis.values[:: max(1, len(axis.values) - 1)] or (axis.low, axis.high) for axis in axes]
    return list(itertools.islice(itertools.product(*ends), most))


def drawn(axes: Sequence[Axis], count: int, seed: int) -> list[Point]:
    """Return ``count`` different points by chance, fewer where there are no more; the same for the same seed."""
    if count > MOST_SETS:
        raise InvalidError(f"{count:,} sets are more than {MOST_SETS:,}")
    chance = seeded_random(seed)
    found: dict[Point, None] = {}
    for _ in range(20 * count):
        if len(found) == count:
            break
        found[tuple(axis.draw(chance) for axis in axes)] = None
    return list(found)


def set_of(axes: Sequence[Axis], point: Point, params: Mapping[str, Any], terms: Mapping[str, Any]) -> Set:
    """Return the set of a point, over the fixed parameters and terms as given; InvalidError where terms clash."""
    own_params, own_terms = dict(params), dict(terms)
    for axis, value in zip(axes, point, strict=True):
        (own_terms if axis.is_term else own_params)[axis.name] = value
    return Set(own_params, terms_of(own_terms))


def told(axes: Sequence[Axis], point: Point) -> dict[str, Any]:
    """Return what varies in a set, by name."""
    return {axis.name: value for axis, value in zip(axes, point, strict=True)}


def key_of(axes: Sequence[Axis], point: Point) -> str:
    """Return the name of a set, the same in every run of the same sweep."""
    return msgspec.json.encode(told(axes, point), order="sorted").decode()


def _axis(name: str, parameter: Parameter, is_term: bool, text: str) -> Axis:
    if parameter.kind in ("bool", "choice"):
        words = text.split(",") if text else (["false", "true"] if parameter.kind == "bool" else parameter.choices)
        return Axis(name, parameter, is_term, _parsed(name, parameter, words))
    if parameter.kind == "symbol" and not text:
        raise InvalidError(f"{name} has no bounds of its own", f"--range {name}=BTC/USDT,ETH/USDT")
    if parameter.kind == "symbol" or "," in text or (text and ":" not in text):
        return Axis(name, parameter, is_term, _listed(name, parameter, text))
    low, high, step = _ends(name, parameter, text)
    if step is None and parameter.kind == "int":
        step = Decimal(1)
    if step is not None:
        return Axis(name, parameter, is_term, _parsed(name, parameter, _stairs(name, parameter, low, high, step)))
    ends = [parameter.parse(name, _written(parameter, end)) for end in (low, high)]
    if parameter.kind in ("amount", "duration"):
        raise InvalidError(f"{name}: a range of {parameter.expected()} needs a step", f"--range {name}=low:high:step")
    return Axis(name, parameter, is_term, (), float(ends[0]), float(ends[1]))


def _listed(name: str, parameter: Parameter, text: str) -> tuple[Any, ...]:
    try:
        return _parsed(name, parameter, text.split(","))
    except InvalidError as error:
        remedy = "" if parameter.kind == "symbol" else f"a range is --range {name}=low:high:step, or {name}=a,b,c"
        raise InvalidError(error.message, error.hint or remedy) from None


def _ends(name: str, parameter: Parameter, text: str) -> tuple[Decimal, Decimal, Decimal | None]:
    """Return low, high and step; without a text the bounds of the parameter."""
    if not text:
        if parameter.low is None or parameter.high is None:
            raise InvalidError(f"{name} has no bounds of its own", f"--range {name}=low:high:step")
        return Decimal(str(parameter.low)), Decimal(str(parameter.high)), None
    words = text.split(":")
    if len(words) not in (2, 3):
        raise InvalidError(f"{name}: {text!r} is no range", f"--range {name}=low:high:step, or {name}=a,b,c")
    values = [_number(name, parameter, word) for word in words]
    low, high, step = values[0], values[1], values[2] if len(values) == 3 else None
    if high < low or (step is not None and step <= 0):
        raise InvalidError(f"{name}: {text!r} is no range", "the low end first, and a step above zero")
    return low, high, step


def _number(name: str, parameter: Parameter, word: str) -> Decimal:
    """Return an end or a step; a percentage as a fraction, a duration in milliseconds."""
    try:
        if parameter.kind == "duration":
            return Decimal(duration_ms(word))
        value = Decimal(word.strip().removesuffix("%"))
        value = value / 100 if word.strip().endswith("%") else value
        if not value.is_finite():
            raise InvalidOperation
    except (InvalidOperation, ValueError):
        raise InvalidError(f"{name}: {word!r} is no number", f"--range {name}=low:high:step") from None
    return value


def _stairs(name: str, parameter: Parameter, low: Decimal, high: Decimal, step: Decimal) -> Iterator[str]:
    if (high - low) / step >= MOST_VALUES:
        raise InvalidError(f"{name}: more than {MOST_VALUES:,} values", "a larger step, or --random N")
    value = low
    while value <= high:
        yield _written(parameter, value)
        value += step


def _written(parameter: Parameter, value: Decimal) -> str:
    return duration_text(int(value)) if parameter.kind == "duration" else f"{value:f}"


def _parsed(name: str, parameter: Parameter, words: Any) -> tuple[Any, ...]:
    """Return checked values, each once, in their order."""
    return tuple(dict.fromkeys(parameter.plain(parameter.parse(name, word.strip())) for word in words))
