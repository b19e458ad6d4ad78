"""The small changes that are tried: one comparison, number, operator, status, condition, statement or return at a time.

A change is made in the tree of a parsed file, in memory. Texts, annotations, log lines and decorators are left alone:
changes there are either noticed by nobody on purpose, or by the type checker.
"""

from __future__ import annotations

import ast
import copy
import enum
import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
CALLS = {
    "add": "subtract", "subtract": "add", "multiply": "divide", "divide": "multiply", "minus": "plus",
    "min": "max", "max": "min", "any": "all", "all": "any", "bisect_right": "bisect_left",
}  # fmt: skip
LEFT_ALONE = {"annotation", "returns", "decorator_list"}


class Mutant(NamedTuple):
    """One change. ``function`` is the qualified name of what it is in, empty for what runs at import."""

    path: Path
    function: str
    line: int
    minus: str
    plus: str
    number: int
    """Which one it is of those that read the same."""
    place: int
    """Its place among the mutants of its file."""

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What it is known by, wherever the line moves to."""
        return str(self.path), self.function, self.minus, self.plus, self.number


class Source:
    """One parsed file and its mutants."""

    def __init__(self, path: Path) -> None:
        text = path.read_text()
        self.path, self._lines, self._module = path, text.splitlines(), _run_apart(path)
        self.tree = ast.parse(text, str(path))
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._made: list[Callable[[], None]] = []
        self.mutants: list[Mutant] = list(self._of_node(self.tree, "", at_import=True))

    def change(self, mutant: Mutant) -> None:
        """Make a change in the tree, for good: this is done in a process that ends after it."""
        self._made[mutant.place]()

    def _of_node(self, node: ast.AST, function: str, *, at_import: bool) -> Iterator[Mutant]:
        for field, value in ast.iter_fields(node):
            if field in LEFT_ALONE or (isinstance(node, ast.ClassDef) and field in ("keywords", "bases")):
                continue
            inside = function
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and field == "body":
                nested = ".<locals>." if function and not at_import else "."
                inside = f"{function}{nested}{node.name}" if function else node.name
            importing = at_import and not (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and field == "body")
            children = value if isinstance(value, list) else [value]
            for index, child in enumerate(children):
                if not isinstance(child, ast.AST) or _left_alone(child):
                    continue
                put = _putter(node, field, index if isinstance(value, list) else None)
                news = [*self._changes(child, importing)]
                if field == "test" and not _turned_by_its_operator(child):
                    news.append(_not(child))
                for new in news:
                    yield self._mutant(child, new, put, inside, importing)
                yield from self._of_node(child, inside, at_import=importing)

    def _mutant(
        self, old: ast.AST, new: ast.AST, put: Callable[[ast.AST], None], function: str, at_import: bool
    ) -> Mutant:
        assert isinstance(old, ast.expr | ast.stmt)
        ast.copy_location(new, old)
        ast.fix_missing_locations(new)
        minus, plus = self._shown(old, new)
        where = "" if at_import else function
        self._seen[where, minus, plus] += 1
        self._made.append(lambda: put(new))
        number, place = self._seen[where, minus, plus], len(self._made) - 1
        return Mutant(self.path, where, old.lineno, minus, plus, number, place)

    def _shown(self, old: ast.expr | ast.stmt, new: ast.AST) -> tuple[str, str]:
        """Return the line before and after; what spans lines is told on one."""
        first, last = old.lineno, old.end_lineno or old.lineno
        text = [line.encode() for line in self._lines[first - 1 : last]]  # offsets of a tree are in bytes
        head, tail = text[0][: old.col_offset], text[-1][old.end_col_offset or 0 :]
        after = head + ast.unparse(new).encode() + tail
        if isinstance(old, ast.stmt):
            return text[0].decode().strip(), " ".join(after.decode().split())
        return " ".join(b" ".join(text).decode().split()), " ".join(after.decode().split())

    def _changes(self, node: ast.AST, at_import: bool) -> Iterator[ast.AST]:
        """Yield what a node may become."""
        match node:
            case ast.Compare(left, ops, comparators):
                for index, op in enumerate(ops):
                    other = [*ops[:index], COMPARISONS[type(op)](), *ops[index + 1 :]]
                    yield ast.Compare(left, other, comparators)
            case ast.BinOp(left, op, right) if type(op) in OPERATORS:
                yield ast.BinOp(left, OPERATORS[type(op)](), right)
            case ast.BoolOp(op, values):
                yield ast.BoolOp(ast.And() if isinstance(op, ast.Or) else ast.Or(), values)
            case ast.UnaryOp(ast.Not() | ast.USub(), operand):
                yield copy.copy(operand)
            case ast.Constant(bool() as value):
                yield ast.Constant(not value)
            case ast.Constant(int() | float() as value):
                yield ast.Constant(value + 1)
                yield ast.Constant(value - 1)
            case ast.Attribute(ast.Name(name), member) if (following := self._next_member(name, member)) is not None:
                yield ast.Attribute(ast.Name(name, ast.Load()), following, ast.Load())
            case ast.Call(ast.Attribute(owner, name), arguments, keywords) if name in CALLS:
                yield ast.Call(ast.Attribute(owner, CALLS[name], ast.Load()), arguments, keywords)
            case ast.Call(ast.Name(name), arguments, keywords) if name in CALLS:
                yield ast.Call(ast.Name(CALLS[name], ast.Load()), arguments, keywords)
            case ast.Return(value) if value is not None and not at_import:
                yield from _returns(value)
            case ast.Expr() | ast.AugAssign() | ast.Delete() | ast.Raise() | ast.Continue() | ast.Break():
                yield ast.Pass()
            case ast.Return(None):
                yield ast.Pass()
            case ast.Assign(targets) if any(not isinstance(name, ast.Name) for name in _names(targets)):
                yield ast.Pass()

    def _next_member(self, name: str, member: str) -> str | None:
        known: Any = getattr(self._module, name, None)
        if not (isinstance(known, enum.EnumMeta) and member in known.__members__):
            return None
        members = list(known.__members__)
        return members[(members.index(member) + 1) % len(members)]


def _run_apart(path: Path) -> ModuleType:
    """Return the module under another name: it says which names are enums, and nobody imports it."""
    spec = importlib.util.spec_from_file_location(f"plain_{path.stem}", path.absolute())
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _returns(value: ast.expr) -> Iterator[ast.AST]:
    match value:
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(ast.Not()):
            if not _turned_by_its_operator(value):
                yield ast.Return(_not(value))
        case ast.Constant(None | bool() | ""):
            return
        case _:
            yield ast.Return(ast.Constant(None))


def _names(targets: list[ast.expr]) -> Iterator[ast.expr]:
    for target in targets:
        yield from target.elts if isinstance(target, ast.Tuple) else (target,)


def _turned_by_its_operator(test: ast.AST) -> bool:
    """Tell whether a change of its operator is its negation."""
    turned = ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn
    match test:
        case ast.Compare(ops=[op]) if isinstance(op, turned):
            return True
        case ast.UnaryOp(ast.Not()):
            return True
    return False


def _not(test: ast.AST) -> ast.expr:
    assert isinstance(test, ast.expr)
    return ast.UnaryOp(ast.Not(), test)


def _left_alone(node: ast.AST) -> bool:
    """Texts (also docstrings and the words of messages), log lines, imports and interfaces."""
    match node:
        case ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant()):
            return True
        case ast.Expr(ast.Call(ast.Attribute(ast.Name("logger")))):
            return True
        case ast.ClassDef(bases=[ast.Name("Protocol")]):
            return True
        case ast.Assign([ast.Name("__all__" | "__slots__")]):
            return True
    return False


def _putter(node: ast.AST, field: str, index: int | None) -> Callable[[ast.AST], None]:
    def put(new: ast.AST) -> None:
        if index is None:
            setattr(node, field, new)
        else:
            getattr(node, field)[index] = new

    return put
