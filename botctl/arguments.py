"""Options and argument types that several verbs share: bots, labels, key=value, percentages, moments, --yes.

Only what is lexical is checked here; what a value means is the daemon's business.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from botctl.completion import complete_bot
from botctl.exit_codes import FAILED, USAGE, Fault
from botctl.session import Session, clean
from botctl.times import parse_duration_s, parse_rfc3339_ms

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")


def fraction_text(text: str) -> str:
    """Return a percentage (``2%``) or a fraction below 1 (``0.02``) as a decimal fraction.

    Raises ValueError for anything else: a bare 2 could mean 2 % or 200 %.
    """
    shown = text.strip()
    percent = shown.endswith("%")
    number = shown[:-1].strip() if percent else shown
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"{text!r} is not a percentage; write 2% or 0.02")
    from decimal import Decimal

    value = Decimal(number)
    if value and abs(value.adjusted()) > 20:
        raise ValueError(f"{text!r} is out of range")
    if percent:
        value = value.scaleb(-2)
    elif abs(value) >= 1:
        remedy = "1% or 100%" if value == 1 else f"{shown}% for percent, or a fraction below 1"
        raise ValueError(f"{text!r} is ambiguous; write {remedy}")
    return f"{value.normalize():f}" if value else "0"


def once(ctx: click.Context, param: click.Parameter, values: tuple[Any, ...]) -> Any:
    """Return the one value of an option made with ``multiple=True``: of two click takes the last without a word."""
    if len(values) > 1:
        raise click.BadParameter(f"is given {len(values)} times: {', '.join(map(str, values))}; give one", ctx, param)
    return values[0] if values else None


class Fraction(click.ParamType):  # type: ignore[type-arg]
    """``2%`` or ``0.02``, passed on as ``0.02``."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a decimal fraction as text."""
        try:
            return fraction_text(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class KeyValue(click.ParamType):  # type: ignore[type-arg]
    """``key=value``, as a pair."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return the pair; the key may not be empty."""
        if isinstance(value, tuple):
            return value[0], value[1]
        key, equals, content = value.partition("=")
        if not equals or not key.strip():
            self.fail(f"{value!r}: write key=value", param, ctx)
        return key.strip(), content.strip()


def pairs(given: tuple[tuple[str, str], ...], what: str) -> dict[str, str]:
    """Return pairs as a dictionary; a key given twice is a usage error."""
    found: dict[str, str] = {}
    for key, value in given:
        if key in found:
            raise Fault(USAGE, f"{what} {key}: given twice")
        found[key] = value
    return found


def pair_hint(words: Sequence[str], before: str, *, named: bool = True) -> str:
    """Return how to write words as KEY=VALUE where they were an option or two words, else nothing.

    ``alpha --stop-loss off`` after "botctl set " gives ``botctl set alpha stop_loss=off``; the first word is a bot's
    name where ``named``.
    """
    name = next((word for word in words[:named] if not word.startswith("-") and "=" not in word), "")
    rest = [word for word in words[1 if name else 0 :] if word not in ("--set", "-s", "=")]
    shown: list[str] = []
    while rest:
        key, equals, value = rest.pop(0).lstrip("-").partition("=")
        if not equals:
            if not rest or "=" in rest[0] or rest[0].startswith("--"):
                return ""
            value = rest.pop(0)
        shown.append(f"{key.replace('-', '_')}={value}")
    return "write it as " + clean(before + " ".join(filter(None, [name, *shown]))) if shown else ""


def in_pairs(told: str) -> str:
    """Return what botd says of create's options as the keys of ``set``: ``--stop-loss 2%`` is ``stop_loss=2%``."""

    def key(found: re.Match[str]) -> str:
        return found[1].replace("-", "_") + (f"={found[2]}" if found[2] else "")

    return re.sub(r"--([a-z][a-z-]*)(?: (\d\S*))?", key, told.replace("--set ", ""))


def plain_value(text: str) -> str:
    """Return a value for the wire: ``2%`` becomes ``0.02``, everything else stays as it is."""
    if text.endswith("%"):
        try:
            return fraction_text(text)
        except ValueError:
            return text  # the daemon says what it wanted
    return text


def together(*options: Decorator) -> Decorator:
    """Return one decorator for several options and arguments, in the order in which help lists them."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


bot_argument = click.argument("name", metavar="NAME", shell_complete=complete_bot)
bots_argument = together(
    click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_bot),
    click.option("--all", "everything", is_flag=True, help="All bots."),
    click.option(
        "-l", "--label", "labels", type=KeyValue(), multiple=True, help="All bots with this label; may be repeated."
    ),
)
"""Any number of bots; see :func:`selector_of`."""


def selector_of(
    names: tuple[str, ...], everything: bool, labels: tuple[tuple[str, str], ...], *, required: bool = True
) -> dict[str, Any]:
    """Return the selector for the wire from NAME..., --all and -l; exactly one of them must be given."""
    if (len(names) > 0) + everything + (len(labels) > 0) > 1:
        raise Fault(USAGE, "names, --all and -l exclude each other")
    if names:
        return {"names": list(dict.fromkeys(names))}
    if everything:
        return {"all": True}
    if labels:
        return {"labels": pairs(labels, "label")}
    if required:
        raise Fault(USAGE, "which bots?", "give names, --all, or -l key=value")
    return {}


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(session: Session, question: str, yes: bool) -> None:
    """Ask on a terminal, and end with 1 where the answer is no; off it, refuse without --yes."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Fault(USAGE, f"{question}: not without --yes", "there is no terminal to ask on")
    if not _agreed(question):
        session.say("nothing was done")
        raise click.exceptions.Exit(FAILED)


def _agreed(question: str) -> bool:
    """Ask until the answer is yes or no; an empty line is a no, and so is the end of input."""
    while True:
        print(f"{clean(question)}? [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()  # of Ctrl-C click ends the line
        if not answer:
            print(file=sys.stderr)
        if (said := answer.strip().lower()) in ("y", "yes"):
            return True
        if said in ("", "n", "no"):
            return False
        print("please answer y or n", file=sys.stderr)


def moment_ms(session: Session, text: str | None, *, wall: bool = False) -> int | None:
    """Return a moment as milliseconds: an RFC 3339 time, a date, or how long ago (``2h``).

    "Ago" counts on the trading clock (the market's own on simulated markets) unless ``wall``.
    """
    if text is None:
        return None
    at = parse_rfc3339_ms(text) if "-" in text else None
    if at is not None:
        return at
    ago_s = parse_duration_s(text)
    if ago_s is None or text.isdigit():
        raise Fault(USAGE, f"{text}: not a time", "write 2026-01-31T10:00:00Z, 2026-01-31, or how long ago: 15m, 2h")
    now = int(time.time() * 1000) if wall else session.trading_now_ms()
    return now - round(ago_s * 1000)
