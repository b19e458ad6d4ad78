"""One mutant after the other, each in a process of its own.

A change inside a function is made in a fork of a process where the tests are collected: the functions of the file get
the code of the changed tree, and only the tests that call the function run, those first that have noticed most. A
change of what runs at import needs everything imported anew: its process begins before anything of the project was
imported, and runs all tests of the room. Nothing is written to the tree.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import pickle
import resource
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import Phase, settings

from tests.mutation.mutants import Mutant, Source

KILLED, SURVIVED, TIMED_OUT, AT_IMPORT = "killed", "survived", "timed out", "at import"
PATIENCE, LEAST_S = 3.0, 5.0
"""A mutant may take so many times the processor's time that its tests take, and some seconds more."""
WAITING = 10
"""So many times that may pass on the clock, which other work on the machine makes longer."""
MEMORY = 1 << 30
"""A loop that does not end takes memory faster than time."""
CANNOT, FAULT = 77, 70
"""How a process ends where a function cannot take the changed code (it is imported anew), and where the change cannot
be made at all: that is no verdict."""

Place = tuple[str, str]
"""A file and the qualified name of a function in it."""


class Broken(Exception):
    """Nothing can be said: the tests do not pass where nothing is changed, or a change cannot be made."""


class Known(NamedTuple):
    """What a test does where nothing is changed."""

    seconds: float
    calls: set[Place]


def try_all(paths: list[Path], tests: list[str], home: Path) -> Iterator[tuple[Mutant, str]]:
    """Yield every mutant of the files with what became of it."""
    importing: list[Mutant] = []
    limit_s = 600.0
    for told in _told_by_collected(paths, tests, home):
        match told:
            case (Mutant() as mutant, str(verdict)):
                if verdict == AT_IMPORT:
                    importing.append(mutant)
                else:
                    yield mutant, verdict
            case float(seconds):
                limit_s = LEAST_S + PATIENCE * seconds
            case str(reason):
                raise Broken(reason)
    yield from _imported_anew(importing, tests, home, limit_s)


def in_fork(work: Callable[[], int], limit_s: float) -> int | None:
    """Return what ``work`` returns in a process of its own; None where it took too long on the processor."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 1  # what breaks the process breaks a test
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (round(limit_s) + 1,) * 2)
            quiet = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            code = work()
        finally:
            os._exit(code)
    handle = os.pidfd_open(child)
    done: list[int] = []
    try:
        done, _, _ = select.select([handle], [], [], WAITING * limit_s)
    finally:  # also where the campaign itself is interrupted
        if not done:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(handle)
    code = os.waitstatus_to_exitcode(status)
    if code == FAULT:
        raise Broken("a change cannot be made")
    return None if not done or code in (-signal.SIGXCPU, -signal.SIGKILL) else abs(code)


def _verdict(code: int | None) -> str:
    return TIMED_OUT if code is None else AT_IMPORT if code == CANNOT else KILLED if code else SURVIVED


def _options(tests: list[str], home: Path) -> list[str]:
    """Return the options of pytest: nothing at random, nothing left behind, and no plugin that has its own limits."""
    settings.register_profile("mutation", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutation")
    without = [option for name in ("xdist", "timeout", "cacheprovider") for option in ("-p", f"no:{name}")]
    return [*tests, "-x", "-q", "-s", *without, "-o", "tmp_path_retention_policy=failed", f"--basetemp={home / 'tmp'}"]


# -- changes of functions


def _told_by_collected(paths: list[Path], tests: list[str], home: Path) -> Iterator[Any]:
    """Yield what the process with the collected tests tells: mutants with verdicts, and how long the tests take."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            with open(os.devnull, "w") as quiet, os.fdopen(writing, "wb") as out:
                os.dup2(quiet.fileno(), 1)
                collected = Collected(paths, home, lambda what: _send(out, what))
                if pytest.main(_options(tests, home), plugins=[collected]) == pytest.ExitCode.INTERNAL_ERROR:
                    _send(out, "a change cannot be made")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        while True:
            try:
                yield pickle.load(told)
            except EOFError:
                break
    os.waitpid(child, 0)


def _send(out: Any, what: Any) -> None:
    pickle.dump(what, out)
    out.flush()


class Collected:
    """A plugin of pytest: in place of running the tests it tries mutants on them."""

    def __init__(self, paths: list[Path], home: Path, tell: Callable[[Any], None]) -> None:
        self._paths, self._home, self._tell = paths, home, tell
        self._kills: Counter[tuple[Place, str]] = Counter()
        self._known: dict[str, Known] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try every mutant of every file."""
        reason = "the tests cannot be collected" if session.testsfailed else self._measure(session.items)
        if reason:
            self._tell(reason)
            return True
        self._tell(sum((test.seconds for test in self._known.values()), 0.0))
        for path in self._paths:
            source, functions = Source(path), _functions(path)
            for mutant in source.mutants:
                place = (str(path.absolute()), mutant.function)
                tests = [item for item in session.items if place in self._known[item.nodeid].calls]
                self._tell((mutant, self._try(mutant, source, functions, tests) if mutant.function else AT_IMPORT))
        return True

    def _try(self, mutant: Mutant, source: Source, functions: list[FunctionType], tests: list[pytest.Item]) -> str:
        if not tests:
            return AT_IMPORT  # it runs at import only, or never
        noticed, place = self._home / "noticed", (str(mutant.path), mutant.function)
        tests.sort(key=lambda item: (-self._kills[place, item.nodeid], self._known[item.nodeid].seconds))

        def work() -> int:
            try:
                source.change(mutant)
                if not _exchange_code(functions, source):
                    return CANNOT
            except Exception:
                return FAULT
            failed = _first_failure(tests)
            noticed.write_text(failed)
            return bool(failed)

        noticed.unlink(missing_ok=True)
        code = in_fork(work, LEAST_S + PATIENCE * sum(self._known[item.nodeid].seconds for item in tests))
        if code and noticed.exists():
            self._kills[place, noticed.read_text()] += 1
        return _verdict(code)

    def _measure(self, items: list[pytest.Item]) -> str:
        """Run every test once and note what it calls; return why nothing can be tried, or an empty string."""
        told, files = self._home / "known", {str(path.absolute()) for path in self._paths}

        def work() -> int:
            known: dict[str, Known] = {}
            for item, following in zip(items, [*items[1:], None], strict=True):
                calls: set[Place] = set()
                began = time.process_time()
                sys.setprofile(_noting(calls, files))
                try:
                    passed = _passes(item, following)
                finally:
                    sys.setprofile(None)
                if not passed:
                    told.write_bytes(pickle.dumps(f"a test fails where nothing is changed: {item.nodeid}"))
                    return 1
                known[item.nodeid] = Known(time.process_time() - began, calls)
            told.write_bytes(pickle.dumps(known))
            return 0

        told.unlink(missing_ok=True)
        in_fork(work, 600.0)
        found = pickle.loads(told.read_bytes()) if told.exists() else "the tests do not come to an end"
        if isinstance(found, str):
            return found
        self._known = found
        return ""


def _first_failure(items: list[pytest.Item]) -> str:
    """Run tests until one fails; return its id, or an empty string."""
    pairs = zip(items, [*items[1:], None], strict=True)
    return next((item.nodeid for item, following in pairs if not _passes(item, following)), "")


def _passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    return not any(report.failed for report in runtestprotocol(item, nextitem=following, log=False))


def _noting(calls: set[Place], files: set[str]) -> Callable[[Any, str, Any], None]:
    def note(frame: Any, event: str, _argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename in files:
            calls.add((code.co_filename, code.co_qualname))

    return note


def _functions(path: Path) -> list[FunctionType]:
    name = str(path.absolute())
    return [one for one in gc.get_objects() if isinstance(one, FunctionType) and one.__code__.co_filename == name]


def _exchange_code(functions: list[FunctionType], source: Source) -> bool:
    """Give functions that exist the code of the changed tree; those made later get it from the one they are in."""
    found: dict[tuple[str, int], CodeType] = {}
    _collect(compile(source.tree, str(source.path.absolute()), "exec"), found)
    for function in functions:
        old = function.__code__
        new = found.get((old.co_qualname, old.co_firstlineno))
        if new is not None:
            if new.co_freevars != old.co_freevars:
                return False
            function.__code__ = new
    return True


def _collect(code: CodeType, found: dict[tuple[str, int], CodeType]) -> None:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found[inner.co_qualname, inner.co_firstlineno] = inner
            _collect(inner, found)


# -- changes of what runs at import


def _imported_anew(mutants: list[Mutant], tests: list[str], home: Path, limit_s: float) -> Iterator[tuple[Mutant, str]]:
    """Try changes of what runs at import, file by file; those that have noticed most run first."""
    found = (sorted(place.rglob("test_*.py")) if place.is_dir() else [place] for place in map(Path, tests))
    files = [str(file) for several in found for file in several]
    noticed, kills = home / "noticed", Counter[str]()

    def work(path: Path, mutant: Mutant | None) -> int:
        try:
            source = Source(path)
            if mutant is not None:
                source.change(mutant)
            code = compile(source.tree, str(path.absolute()), "exec")
        except Exception:
            return FAULT
        noticed.write_text(files[0])  # whose import fails already
        if not _imports(source, code):
            return 1
        for file in files:
            noticed.write_text(file)
            if pytest.main(_options([file], home)) not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                return 1
        return 0

    for path in {mutant.path for mutant in mutants}:
        if in_fork(partial(work, path, None), limit_s):
            raise Broken(f"a test fails where {path} is imported anew, unchanged: {noticed.read_text()}")
    for mutant in mutants:
        code = in_fork(partial(work, mutant.path, mutant), limit_s)
        if code:
            kills[noticed.read_text()] += 1
            files.sort(key=lambda file: -kills[file])
        yield mutant, _verdict(code)


def _imports(source: Source, code: CodeType) -> bool:
    """Put the changed file under its name before anybody imports it; False where it cannot be imported."""
    name = ".".join(source.path.with_suffix("").parts)
    package, _, last = name.rpartition(".")
    spec = importlib.util.spec_from_file_location(name, source.path.absolute())
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    if package:
        importlib.import_module(package)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except Exception:
        return False
    if package:
        setattr(sys.modules[package], last, module)
    return True
