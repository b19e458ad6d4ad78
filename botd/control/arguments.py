"""From the arguments of a request to a checked structure; what is wrong is said in one clear line."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from botd.control.protocol import shown
from botd.control.requests import NAME_PATTERN, SYMBOL_PATTERN
from botd.domain.errors import InvalidError
from botd.domain.hints import did_you_mean

S = TypeVar("S", bound=msgspec.Struct)

NAME_RULE = "letters, digits, '_', '.', '-', at most 64, a letter or digit first"
_PATTERNS = {NAME_PATTERN: ("a bot's name", NAME_RULE), SYMBOL_PATTERN: ("a symbol", "write it like BTC/USDT")}
_TYPES = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "nothing",
}

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_PATTERN = re.compile(r"Expected `str` matching regex '(.*)'")
_EXPECTED = re.compile(r"Expected `([^`]*)`(?:, got `([^`]*)`)?(.*)", re.DOTALL)


def decode(schema: type[S], args: dict[str, Any]) -> S:
    """Return ``args`` as ``schema``; InvalidError names the argument and, for a wrong key, the nearest right one."""
    try:
        return msgspec.convert(args, schema)
    except msgspec.ValidationError as error:
        text = str(error)
    what, _, path = text.rpartition(" - at `")
    what, path = (what, path.rstrip("`").removeprefix("$").removeprefix(".")) if what else (text, "")
    raise _explained(what, path, schema, args)


def nearest(word: str, known: list[str]) -> str:
    """Return a hint with the nearest of ``known``, or with all of them where none is near and they are few."""
    return did_you_mean(word, known, f"known: {', '.join(known)}" if 0 < len(known) <= 16 else "")


def _explained(what: str, path: str, schema: type[msgspec.Struct], args: dict[str, Any]) -> InvalidError:
    if found := _UNKNOWN.match(what):
        known = _keys_at(schema, path)
        where = f" in {path}" if path else ""
        if not known:
            return InvalidError(f"unknown argument {shown(found[1])}{where}", "this command takes no arguments")
        return InvalidError(f"unknown argument {shown(found[1])}{where}", nearest(found[1], known))
    if found := _MISSING.match(what):
        return InvalidError(f"{path + '.' if path else ''}{found[1]} is missing")
    if found := _PATTERN.match(what):
        noun, rule = _PATTERNS.get(found[1].replace("\\\\", "\\"), ("valid", ""))
        return InvalidError(f"{path}: {shown(_value_at(args, path))} is not {noun}", rule)
    if found := _EXPECTED.match(what):
        return InvalidError(f"{path or 'arguments'}: expected {_expected(found)}")
    return InvalidError(f"{path}: {what}" if path else what)


def _expected(found: re.Match[str]) -> str:
    wanted = " or ".join(_TYPES.get(kind, kind) for kind in found[1].split(" | ") if kind != "null")
    if found[2]:
        return f"{wanted}, not {_TYPES.get(found[2], found[2])}"
    return wanted + found[3]


def _keys_at(schema: type[msgspec.Struct], path: str) -> list[str]:
    """Return the keys of the structure that ``path`` (``bots[3]``, ``spec``) leads to."""
    kind: Any = msgspec.inspect.type_info(schema)
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(kind, msgspec.inspect.ListType):
            kind = kind.item_type
        elif isinstance(kind, msgspec.inspect.StructType):
            kind = next((field.type for field in kind.fields if field.encode_name == step), None)
    if isinstance(kind, msgspec.inspect.StructType):
        return [field.encode_name for field in kind.fields]
    return []


def _value_at(value: Any, path: str) -> Any:
    """Return what was given at ``path``, or the path where it leads into a mapping's values."""
    for step in re.findall(r"[^.\[\]]+|\.\.\.", path):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, ValueError, TypeError):
            return path
    return value
