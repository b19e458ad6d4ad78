"""numba for the kernel, and the folder in which its machine code is kept.

numba keeps code beside the digest of one source file; the kernel is made of several (the formulas are the domain's),
and a formula that changed must never run from yesterday's code. So the folder is named by the digest of them all:
``__pycache__`` of this package, or where that cannot be written ``botd`` in the user's cache; ``NUMBA_CACHE_DIR`` goes
before both. Where nothing can be written the code is compiled anew each time, which takes some seconds.

This page knows nothing of candles. Importing it without numba raises UnavailableError that says how to get it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from botd.domain.errors import UnavailableError


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Load a library that stays: its objects are not searched for garbage, neither now nor later.

    numba makes hundreds of thousands. Searching them again and again takes a fifth of a command's time.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if before:
            gc.enable()


try:
    with loading():
        import numba
        from numba.core import options
        from numba.extending import register_jitable
except ImportError as error:
    fact = "is not installed" if getattr(error, "name", "") == "numba" else f"does not load: {error}"
    raise UnavailableError(f"backtests need numba, which {fact}", "pip install 'botctl[lab]'") from None

HERE = Path(__file__).parent
SOURCES = (
    HERE.parent / "domain" / "rules.py",
    *(HERE / f"{name}.py" for name in ("compiler", "kernel", "sums", "batch", "scan")),
)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
if hasattr(options.DefaultOptions, "_nrt"):  # numba's own word for: it allocates nothing, so no references are counted
    _OPTIONS["_nrt"] = False  # that takes a fifth of the kernel's time; what does allocate is refused at compiling

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile what is called from Python; its code is kept. The GIL is released while it runs."""
    folder = cache_folder()
    if folder is None:
        return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)  # type: ignore[no-any-return]
    finally:
        config.CACHE_DIR = before


def part(function: Function) -> Function:
    """Compile what only compiled code calls; it stays an ordinary function for everybody else."""
    result: Function = register_jitable(**_OPTIONS)(function)
    return result


def unordered(function: Function) -> Function:
    """Compile a part whose sums may be added in any order, several at once: of numbers only, no NaN, no infinity.

    In which order depends on the processor's width: the last bits may differ between two kinds, never between runs.
    """
    result: Function = register_jitable(fastmath={"reassoc", "nnan", "ninf", "nsz"}, **_OPTIONS)(function)
    return result


def take(module: ModuleType) -> None:
    """Let compiled code call the functions of ``module`` as they are."""
    for value in vars(module).values():
        if isinstance(value, FunctionType) and value.__module__ == module.__name__:
            part(value)


def keep_memory() -> None:
    """Let the C library keep what is freed for the next arrays of that size, where it can be told (glibc).

    It would hand arrays of megabytes back to the system, and asking for them again costs a third of a warm run.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 1 << 25)
        library.mallopt(_TRIM_THRESHOLD, 1 << 26)


def cache_folder() -> Path | None:
    """Return the folder for the code of these very sources, made if need be; None where none can be written."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()[:16]
    for base in _bases():
        folder = base / f"numba-{digest}"
        try:
            if not folder.exists() and base.parent == HERE and base.exists():
                for old in base.glob("numba-*"):
                    shutil.rmtree(old, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return folder
    return None


def _bases() -> Iterator[Path]:
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        yield Path(given)
    yield HERE / "__pycache__"
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        yield (Path(home) if home else Path.home() / ".cache") / "botd"
    except RuntimeError:  # no home directory
        return
