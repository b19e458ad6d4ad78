"""What a docstring points at is there: a page that moved takes its readers along."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_REFERENCE = re.compile(r":(?:mod|class|func|meth|data|attr):`~?((?:botd|botctl|\.)[\w.]*)`")
_FOUND = sorted(
    (path.relative_to(ROOT).as_posix(), name)
    for top in ("botd", "botctl", "strategies", "tests")
    for path in (ROOT / top).rglob("*.py")
    for name in set(_REFERENCE.findall(path.read_text(encoding="utf-8")))
)


def _exists(name: str) -> bool:
    """Tell whether a module is there, and in it (or in a class of it) what the rest of the name says."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            fields = {**getattr(found, "__annotations__", {}), **dict.fromkeys(getattr(found, "__struct_fields__", ()))}
            if not hasattr(found, part):
                return part in fields
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize(("page", "name"), _FOUND, ids=[f"{page}:{name}" for page, name in _FOUND])
def test_what_a_docstring_points_at_is_there(page: str, name: str) -> None:
    beside = ".".join(Path(page).parts[:-1])
    assert _exists(beside + name if name.startswith(".") else name)


def test_a_conftest_is_imported_by_its_whole_name() -> None:
    """``from conftest`` is whichever of them was imported first: it depends on what else was named beside a test."""
    short = re.compile(r"^\s*(?:from|import) conftest\b", re.MULTILINE)
    pages = sorted((ROOT / "tests").rglob("*.py"))
    assert [page.name for page in pages if short.search(page.read_text(encoding="utf-8"))] == []
