"""Which strategies there are, and how their files become classes.

Built-in strategies come with the package and are trusted with it. A user's own are loaded only from a
directory that nobody else can write to, by name, never by path. Loading runs a file's top level once; this
room never evaluates a strategy.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from botd.domain.errors import BotdError, ConflictError, InvalidError, NotFoundError
from botd.domain.hints import did_you_mean
from botd.strategy.base import EventStrategy, Input, SignalStrategy, Strategy
from botd.strategy.faults import MODULE, raised
from botd.strategy.inputs import declared_inputs, reads_nothing
from botd.strategy.ownership import exposure
from botd.strategy.parameters import Parameter, check_parameters
from botd.strategy.warmup import warmup_of

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
Stamp = tuple[int, int, int, int]
LOAD_LIMIT_S = 2.0


@dataclass(frozen=True, slots=True)
class StrategyInfo:
    """A loaded strategy. ``kind`` is signal or event, ``digest`` the SHA-256 of the source that was loaded."""

    name: str
    kind: str
    summary: str
    parameters: Mapping[str, Parameter]
    path: Path
    builtin: bool
    digest: str
    cls: type[Strategy] = field(repr=False)

    def check(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value of every parameter, by name; InvalidError for anything that does not fit."""
        return self._checked(params)[0]

    def build(self, params: Mapping[str, Any]) -> Strategy:
        """Return an instance with checked parameters."""
        return self._checked(params)[1]

    def plain(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters, defaults filled in, in the one form that JSON and specs carry."""
        values = self.check(params)
        return {name: self.parameters[name].plain(value) for name, value in values.items()}

    def _checked(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], Strategy]:
        values = check_parameters(f"strategy {self.name}", self.parameters, params)
        try:
            strategy = self.cls(**values)
            problem = strategy.validate()
            strategy.in_words()
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            raise InvalidError(f"strategy {self.name}: {raised(error)}") from None
        if problem:
            raise InvalidError(f"strategy {self.name}: {problem}")
        return values, strategy

    def describe(self) -> dict[str, Any]:
        """Return the row of ``botctl strategies``."""
        return {
            "name": self.name,
            "kind": self.kind,
            "summary": self.summary,
            "builtin": self.builtin,
            "path": str(self.path),
            "digest": self.digest,
            "parameters": [parameter.describe(name) for name, parameter in self.parameters.items()],
            **self._needs(),
            "error": None,
        }

    def _needs(self) -> dict[str, Any]:
        """Return ``warmup`` (of signals, else None) and ``inputs`` with the defaults; None where these do not say."""
        try:
            strategy = self.build({})
            warmup = warmup_of(self.name, strategy) if self.kind == "signal" else None
            inputs = [
                {"symbol": one.symbol, "interval": one.interval, "candles": one.candles}
                for one in declared_inputs(strategy)
                if isinstance(one, Input)
            ]
        except InvalidError:  # a parameter without a default, or a fault of the file that create and check will name
            return {"warmup": None, "inputs": [] if reads_nothing(self.cls) else None}
        return {"warmup": warmup, "inputs": inputs}


class Registry:
    """The built-in catalogue and the user's directory (None: none)."""

    def __init__(self, builtin_dir: Path, user_dir: Path | None = None) -> None:
        self._builtin_dir = builtin_dir
        self._user_dir = user_dir
        self._loaded: dict[str, StrategyInfo] = {}
        self._digests: dict[str, tuple[list[Stamp | None], str]] = {}

    @classmethod
    def standard(cls, user_dir: Path | None = None) -> Registry:
        """Return the registry of the catalogue that is installed beside botd, and of the user's directory."""
        spec = find_spec("strategies")
        if spec is None or not spec.submodule_search_locations:
            raise NotFoundError("the built-in strategies are not installed", "reinstall the package")
        return cls(Path(next(iter(spec.submodule_search_locations))), user_dir)

    def names(self) -> list[str]:
        """Return the names of all strategy files, sorted; whether they load is not known yet."""
        return sorted(_files(self._builtin_dir) | _files(self._user_dir))

    def load(self, name: str, *, fresh: bool = False) -> StrategyInfo:
        """Return the strategy ``name``, loaded once; ``fresh`` reads a file again that changed since.

        NotFoundError with the nearest name; ConflictError for a user's file that shadows a built-in;
        InvalidError with file and line for a file that is no strategy or that others can write to.
        """
        path, builtin = self._find(name)
        known = self._loaded.get(name)
        if known is not None and not (fresh and self.changed(name)):
            return known
        info = _load(name, path, builtin)
        self._loaded[name] = info
        return info

    def changed(self, name: str) -> bool:
        """Tell whether the file of a loaded strategy is another now (or gone): the loaded code goes on."""
        known = self._loaded.get(name)
        if known is None:
            return False
        try:
            return _digest(known.path.read_bytes()) != known.digest
        except OSError:
            return True

    def digest(self, name: str) -> str | None:
        """Return the digest of a strategy's file as it is now, None where it is gone.

        A file with the stamp that it had is not read again: lists ask for each bot.
        """
        try:
            stamps = [_stamp(folder / f"{name}.py") for folder in (self._user_dir, self._builtin_dir) if folder]
            known = self._digests.get(name)
            if known is None or known[0] != stamps:
                known = self._digests[name] = stamps, _digest(self._find(name)[0].read_bytes())
            return known[1]
        except (BotdError, OSError):
            return None

    def describe(self) -> list[dict[str, Any]]:
        """Return a row for every strategy; one that does not load has its reason in ``error``."""
        rows = []
        for name in self.names():
            try:
                rows.append(self.load(name).describe())
            except (InvalidError, ConflictError) as error:
                rows.append({"name": name, "kind": None, "summary": "", "parameters": [], "error": error.message})
        return rows

    def _find(self, name: str) -> tuple[Path, bool]:
        if not NAME.fullmatch(name):
            raise InvalidError(f"strategy {name!r}: not a name", "lower-case letters, digits and _, a letter first")
        builtin = name in _files(self._builtin_dir)
        own = self._user_dir is not None and name in _files(self._user_dir)
        if builtin and own:
            raise ConflictError(
                f"strategy {name}: {self._user_dir}/{name}.py has the name of a built-in", "rename the file"
            )
        if builtin:
            return self._builtin_dir / f"{name}.py", True
        if own and self._user_dir is not None:
            return _trusted(name, self._user_dir), False
        known = self.names()
        hint = did_you_mean(name, known, f"strategies: {', '.join(known)}")
        where = f" (your own are looked for in {self._user_dir})" if self._user_dir is not None else ""
        raise NotFoundError(f"{name}: no such strategy", hint + where)


def _files(directory: Path | None) -> set[str]:
    if directory is None:
        return set()
    try:
        stems = {path.stem for path in directory.iterdir() if path.suffix == ".py"}
    except OSError:
        return set()
    return {stem for stem in stems if NAME.fullmatch(stem) and not stem.startswith("test_")}


def _trusted(name: str, directory: Path) -> Path:
    """Return the real path of a user's file; InvalidError if it leaves the directory or others can change it."""
    root = directory.resolve()
    path = (directory / f"{name}.py").resolve()
    if path.parent != root:
        raise InvalidError(f"strategy {name}: {path} is outside of {root}", "copy the file there; links do not count")
    problem = exposure(path)
    if problem:
        raise InvalidError(f"strategy {name}: {problem}", "strategies load only from files that you alone can change")
    return path


def _load(name: str, path: Path, builtin: bool) -> StrategyInfo:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InvalidError(f"strategy {name}: {path} cannot be read: {error.strerror}") from None
    digest = _digest(source)
    run = exec if builtin else _exec_within_limit
    module = _execute(name, path, source, f"{MODULE}{name}_{digest[:12]}", run)
    cls = _only_class(name, path, module)
    return StrategyInfo(
        name=name,
        kind="signal" if issubclass(cls, SignalStrategy) else "event",
        summary=(inspect.cleandoc(cls.__doc__ or module.__doc__ or "").partition("\n")[0]),
        parameters=cls.parameters,
        path=path,
        builtin=builtin,
        digest=digest,
        cls=cls,
    )


def _execute(
    name: str, path: Path, source: bytes, module_name: str, run: Callable[[CodeType, dict[str, Any]], None]
) -> ModuleType:
    """Run the bytes that were digested (not the file again), under a private module name, without byte-code files."""
    spec = spec_from_file_location(module_name, path)
    if spec is None:  # cannot be: the suffix is .py
        raise InvalidError(f"strategy {name}: {path} is not a Python file")
    module = module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    try:
        run(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except SyntaxError as error:
        del sys.modules[module_name]
        where = f", line {error.lineno}" if error.lineno else ""
        raise InvalidError(f"strategy {name}: {path}{where}: {error.msg}") from None
    except (Exception, SystemExit) as error:  # a user's code may raise anything at its top level
        del sys.modules[module_name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        raise InvalidError(f"strategy {name}: {path}{where}: {type(error).__name__}: {error}") from None
    return module


def _exec_within_limit(code: CodeType, namespace: dict[str, Any]) -> None:
    """Run the top level of a user's file; one that does not end must not hold up the bots for ever."""
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            exec(code, namespace)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, name="strategy-load", daemon=True)
    thread.start()
    thread.join(LOAD_LIMIT_S)
    if thread.is_alive():
        identity = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(SystemExit))
        raise TimeoutError(f"its top level did not end within {LOAD_LIMIT_S:g} s")
    if outcome:
        known = isinstance(outcome[0], Exception | SystemExit)
        raise outcome[0] if known else RuntimeError(repr(outcome[0]))


def _only_class(name: str, path: Path, module: ModuleType) -> type[Strategy]:
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, SignalStrategy | EventStrategy)
        and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        classes = ", ".join(f"{cls.__name__} (line {_line(cls)})" for cls in found) or "none"
        raise InvalidError(
            f"strategy {name}: {path}, line {_line(found[1]) if found else 1}: needs exactly one strategy class, "
            f"found {classes}",
            "a class on SignalStrategy or EventStrategy; `botctl strategies --new NAME` writes one to start from",
        )
    missing = sorted(getattr(found[0], "__abstractmethods__", ()))
    if missing:
        raise InvalidError(
            f"strategy {name}: {path}, line {_line(found[0])}: {found[0].__name__} has no {' and no '.join(missing)}"
        )
    return found[0]


def _line(cls: type) -> int:
    """Return the line of a class statement (its first method's line where the source is unknown)."""
    try:
        return inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        return 1


def _digest(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()


def _stamp(path: Path) -> Stamp | None:
    """Return what changes with every writing, replacing or re-owning of a file, None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
