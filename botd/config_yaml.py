"""Reads YAML (configurations, fleets) into plain nested values that still know the line they came from.

Scalars stay the text they were written as: the reader of a key knows whether ``off``, ``1e-5`` or
``2026-01-01`` is a switch, a number or a date, the YAML type rules do not. Aliases, tags, duplicate keys,
several documents, deep nesting and files over 1 MiB are refused. It knows nothing of the keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from botd.domain.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_DEPTH = 12
NULLS = ("", "~", "null", "Null", "NULL")
_AFTER_COMMA = "while parsing a flow node"
_OPENERS = {
    "while parsing a flow mapping": "'{'",
    "while parsing a flow sequence": "'['",
    "while scanning a quoted scalar": "a quotation mark",
    _AFTER_COMMA: "'{' or '['",
}


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration as read: ``data`` of dicts, lists, str and None, and the line of every key.

    ``origins`` names the keys that came from elsewhere: an environment variable, the command line.
    """

    data: dict[str, Any]
    name: str = ""
    path: Path | None = None
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    origins: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    def base(self, where: tuple[str, ...]) -> Path:
        """Return the directory that a relative path is relative to: the file's, or the present one."""
        return self.path.parent if self.path and where not in self.origins else Path.cwd()

    def overlay(self, values: Mapping[str, tuple[str, str]]) -> Document:
        """Return a copy in which dotted keys have the given (text, origin)."""
        data = dict(self.data)
        for key, (text, _) in values.items():
            section, _, name = key.rpartition(".")
            if not section:
                data[name] = text
            elif isinstance(data.get(section) or {}, dict):
                data[section] = {**(data.get(section) or {}), name: text}
        origins = {tuple(key.split(".")): origin for key, (_, origin) in values.items()}
        return replace(self, data=data, origins={**self.origins, **origins})

    def at(self, where: tuple[str, ...]) -> str:
        """Return ``botd.yaml:12: market.speed``, or as much of it as is known."""
        if where in self.origins:
            return f"{self.origins[where]}: {'.'.join(where)}"
        line = next((self.lines[where[:n]] for n in range(len(where), -1, -1) if where[:n] in self.lines), None)
        place = f"{self.name}:{line}" if line else self.name
        return ": ".join(part for part in (place, ".".join(where)) if part)


class _Loader(yaml.SafeLoader):
    """Composes nodes only, and refuses what makes two readers see two things."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not allowed", problem_mark=event.start_mark)
        if event.tag is not None:
            raise yaml.MarkedYAMLError(problem="tags are not allowed", problem_mark=event.start_mark)
        if self.depth >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def read_document(path: Path) -> Document:
    """Read ``path``; ConfigError when it is missing, unreadable, too large or not such YAML."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", "botctl config init writes one") from None
    return parse_document(raw, path.name, path)


def parse_document(raw: bytes | str, name: str = "botd.yaml", path: Path | None = None) -> Document:
    """Parse YAML text; ``name`` stands in the errors, ``path`` anchors relative paths."""
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{name}: larger than 1 MiB", "is this the configuration? botctl config init writes one")
    data, lines = parse_values(raw, name)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{name}:1: expected `key: value` lines", "botctl config init writes an example")
    return Document(data, name, path, lines)


def parse_values(raw: bytes | str, name: str) -> tuple[Any, dict[tuple[str, ...], int]]:
    """Return what YAML text says, and the line of every key; ConfigError names ``name`` and the line."""
    node = _compose(raw, name)
    lines: dict[tuple[str, ...], int] = {}
    return (_plain(node, (), lines, name) if node is not None else None), lines


def _compose(raw: bytes | str, name: str) -> yaml.Node | None:
    loader = None
    try:
        loader = _Loader(raw)
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark, problem = _told(error, loader)
        hint = "indent with spaces" if "\\t" in problem else ""
        raise ConfigError(f"{name}:{mark.line + 1}: {problem}" if mark else f"{name}: {problem}", hint) from None
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise ConfigError(f"{name}: not YAML text: {str(error).splitlines()[0]}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _told(error: yaml.MarkedYAMLError, loader: Any) -> tuple[Any, str]:
    """Return where the mistake is and what it is; of what is never closed, where it was opened."""
    mark, opened = error.problem_mark or error.context_mark, error.context_mark
    if error.context == _AFTER_COMMA and loader.marks:
        opened = loader.marks[-1]  # of the collection that is being read
    problem = (error.problem or "not YAML").replace("\n", " ")
    if opened is not None and mark is not None and (sign := _OPENERS.get(error.context or "")):
        if "stream" in problem:  # it ends on a line that is not there
            return opened, f"{sign} is opened here and never closed"
        if opened.line < mark.line:
            problem = f"{problem} ({sign} of line {opened.line + 1} is still open)"
    return mark, f"{error.context}, {problem}" if problem.startswith("but ") and error.context else problem


def _plain(node: yaml.Node, where: tuple[str, ...], lines: dict[tuple[str, ...], int], name: str) -> Any:
    lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return None if node.style is None and node.value in NULLS else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*where, str(index)), lines, name) for index, item in enumerate(node.value)]
    return _mapping(node, where, lines, name)


def _mapping(node: Any, where: tuple[str, ...], lines: dict[tuple[str, ...], int], name: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{name}:{line}: a key must be plain text")
        key = key_node.value
        if key in result:
            first = lines[(*where, key)]
            raise ConfigError(f"{name}:{line}: {'.'.join((*where, key))}: written twice (first in line {first})")
        lines[(*where, key)] = line
        result[key] = _plain(value_node, (*where, key), lines, name)
    return result
