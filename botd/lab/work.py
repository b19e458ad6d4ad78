"""A part of a sweep as a unit of work that another process or machine can do: plain data in, plain data out.

The same function plays it everywhere, so the figures are the same, on processors of one kind to the last bit. The
strategy travels as the bytes that were loaded here, the candles as arrays; the other side must have this very version
of the rules and of the libraries that compute.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from botd.backtest import run, terms
from botd.backtest.compiler import SOURCES
from botd.backtest.history import History
from botd.backtest.sweep import Set, outcomes
from botd.domain import candles
from botd.domain.errors import InvalidError
from botd.lab.ranking import Played
from botd.report import statistics
from botd.strategy import comparisons, inputs
from botd.strategy.registry import Registry, StrategyInfo

_BESIDE = tuple(Path(module.__file__ or "") for module in (candles, inputs, comparisons, terms, run, statistics))
"""What decides beside the kernel: which candles a strategy sees and how it compares, what is made of the sums."""

_LIBRARIES = ("numpy", "numba", "TA-Lib")


@dataclass(frozen=True, slots=True)
class Payload:
    """What all units of a sweep share."""

    history: History
    strategy: str
    source: bytes
    rules: str


def payload_of(history: History, info: StrategyInfo) -> Payload:
    """Return the payload; InvalidError where the strategy's file is another by now."""
    source = info.path.read_bytes()
    if hashlib.sha256(source).hexdigest() != info.digest:
        raise InvalidError(f"strategy {info.name}: {info.path} changed meanwhile", "run the command again")
    return Payload(replace(history), info.name, source, rules_digest())  # without what was computed here


def play_part(payload: Payload, sets: Sequence[Set], threads: int | None = 1) -> list[Played]:
    """Play sets, in their order."""
    if payload.rules != rules_digest():
        raise InvalidError(
            f"a worker has another version of botctl, {' or '.join(_LIBRARIES)}",
            "install the same versions everywhere",
        )
    info = _strategy(payload.strategy, payload.source)
    found: list[Played] = [(None, "")] * len(sets)
    for number, outcome in outcomes(payload.history, info, sets, threads=threads):
        found[number] = outcome.statistics, outcome.error
    return found


@lru_cache(maxsize=1)
def rules_digest() -> str:
    """Return the digest of the code that decides what a backtest gives, and of the libraries' versions."""
    parts = [path.read_bytes() for path in (*SOURCES, *_BESIDE)] + [version(name).encode() for name in _LIBRARIES]
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]


@lru_cache(maxsize=8)
def _strategy(name: str, source: bytes) -> StrategyInfo:
    """Return the strategy of this source: the built-in one where it is that, else loaded from a folder of its own."""
    standard = Registry.standard()
    if name in standard.names():
        info = standard.load(name)
        if info.digest == hashlib.sha256(source).hexdigest():
            return info
        raise InvalidError(f"strategy {name}: a worker has another version", "install the same version everywhere")
    with tempfile.TemporaryDirectory(prefix="botd-strategy-") as folder:
        (Path(folder) / f"{name}.py").write_bytes(source)
        return Registry.standard(Path(folder)).load(name)
