"""Compiled code: without numba a line says what to do; kept code is that of these very sources, wherever it can be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from botd.backtest import compiler

ROOT = Path(__file__).parents[3]
PLAY = "from botd.backtest.run import load_kernel; load_kernel(); from botd.backtest.kernel import walk; "
HITS = PLAY + "print(sum(walk.stats.cache_hits.values()), sum(walk.stats.cache_misses.values()))"


def python(code: str, root: Path = ROOT, **environment: str) -> str:
    """Run code beside the sources in ``root``; return what it prints."""
    kept = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env={**kept, "PYTHONPATH": str(root), **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_numba_one_line_names_the_extra() -> None:
    told = python(
        "import sys; sys.modules['numba'] = None\n"
        "from botd.domain.errors import UnavailableError\n"
        "try:\n    import botd.backtest.run\n"
        "except UnavailableError as error:\n    print(error.message, '|', error.hint)"
    )
    assert told == "backtests need numba, which is not installed | pip install 'botctl[lab]'"


def test_the_daemon_and_the_command_line_load_no_numba() -> None:
    told = python("import sys, botd.app, botd.world, botd.offline, botctl.cli; print('numba' in sys.modules)")
    assert told == "False"


def test_code_that_is_kept_is_not_compiled_again() -> None:
    python(PLAY)
    assert python(HITS) == "1 0"


def test_what_loading_leaves_is_never_searched_for_garbage_and_the_search_goes_on_afterwards() -> None:
    alone = "import gc, sys, numpy, talib, botd.strategy.base, botd.domain.errors; before = len(gc.get_objects()); "
    told = python(
        f"{alone} {PLAY} print(gc.isenabled(), len(gc.get_objects()) < before, gc.get_freeze_count() > before)"
    )
    assert told == "True True True"
    told = python(f"import gc; gc.disable(); {PLAY} print(gc.isenabled())")
    assert told == "False"  # whoever wants none has none


def test_a_formula_that_changed_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = []
    for number, path in enumerate(compiler.SOURCES):
        sources.append(tmp_path / f"{number}.py")
        shutil.copy(path, sources[-1])
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(compiler, "SOURCES", tuple(sources))
    before = compiler.cache_folder()
    assert before == compiler.cache_folder() and before is not None and before.parent == tmp_path / "kept"
    sources[0].write_text(sources[0].read_text().replace("1.0 + slippage", "1.0 + slippage + 0.0"))
    assert compiler.cache_folder() not in (before, None)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the package in which nothing can be written into botd/backtest: a file is where its cache would be."""
    root = tmp_path / "installed"
    for name in ("botd", "strategies"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "botd" / "backtest" / "__pycache__").write_text("")
    return root


def test_a_package_that_cannot_be_written_keeps_its_code_in_the_users_cache(installed: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert python(HITS, installed, XDG_CACHE_HOME=str(cache)) == "0 1"
    (folder,) = (cache / "botd").iterdir()
    assert folder.name.startswith("numba-") and not folder.stat().st_mode & 0o077
    assert python(HITS, installed, XDG_CACHE_HOME=str(cache)) == "1 0"


def test_where_nothing_can_be_written_it_is_compiled_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_bases", lambda: iter([Path("/proc/botd")]))
    assert compiler.cache_folder() is None
    function: Any = compiler.compiled(_doubled)
    assert function(2.5) == 5.0
    assert not function.stats.cache_path


def _doubled(value: float) -> float:
    return value * 2.0
