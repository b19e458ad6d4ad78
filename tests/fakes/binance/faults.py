"""A plan of what goes wrong, and when: a list of entries, the same every time, written out or drawn from a seed.

This page is data and dates. What a fault does to frames is :mod:`.fault_frames`, to REST :mod:`.rest`, to connections
:mod:`.front`.
"""

from __future__ import annotations

import fnmatch
import random
import zlib
from collections.abc import Callable, Iterable, Sequence

import msgspec

KINDS = {
    # connections
    "cut": "end connections without a word; how: fin, rst, close",
    "half_open": "the connections of now neither send nor answer any more; with for_ms new ones too, for so long",
    "refuse": "nobody listens: new connections are refused",
    "shutdown": "serverShutdown is announced, and delay_ms later all connections end",
    # frames
    "delayed": "frames come delay_ms late",
    "duplicated": "frames come count times more, delay_ms apart",
    "reordered": "frames come after the count frames that follow them on their stream",
    "missing": "frames do not come",
    "revised": "a closing kline has wrong numbers; how: again sends the right one delay_ms later",
    "silent": "a symbol's streams send nothing",
    "garbage": "something that is no JSON comes before the frame; how: text, binary, html, empty, utf8",
    "truncated": "the frame ends in the middle of its JSON",
    "wrong_types": "the frame is JSON of another shape; how: one of fault_frames.SHAPES, else drawn",
    # REST
    "slow": "answers come delay_ms late (real time)",
    "hang": "requests are never answered while it lasts",
    "error": "status (default 503); how: json, html, empty",
    "limited": "429 with Retry-After of retry_after_s",
    "banned": "418 with Retry-After of retry_after_s",
    "stale": "answers are those of delay_ms ago",
    "rest_missing": "kline rows are left out",
    "rest_truncated": "200 with half of the JSON",
    # the market itself
    "zero_trades": "nobody trades in the minutes that open while it lasts: the truth",
}
CLOSING_ONLY = frozenset({"delayed", "duplicated", "reordered", "missing", "revised"})
FRAME_KINDS = (*sorted(CLOSING_ONLY), "silent", "garbage", "truncated", "wrong_types")
REST_KINDS = ("slow", "hang", "error", "limited", "banned", "stale", "rest_missing", "rest_truncated")


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry. ``at_ms`` after the front's start, for ``for_ms`` (None: to the end), in the market's time.

    ``symbol``, ``stream`` and ``path`` are patterns (``*`` for all). ``chance``: of each frame or row it concerns.
    ``opens``: only candles that open at these times. ``every``: kline faults concern closing klines, with True all
    frames.
    """

    kind: str
    at_ms: int = 0
    for_ms: int | None = None
    symbol: str = "*"
    stream: str = "*"
    path: str = "*"
    chance: float = 1.0
    opens: tuple[int, ...] = ()
    every: bool = False
    delay_ms: int = 0
    count: int = 1
    status: int = 503
    retry_after_s: int = 30
    how: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}; there are {', '.join(KINDS)}")

    def concerns(self, stream: str, closes: int | None) -> bool:
        """Tell whether a frame of that stream, closing that candle, is one of its frames (chance apart)."""
        if self.kind in CLOSING_ONLY and not self.every and closes is None:
            return False
        if self.opens and closes not in self.opens:
            return False
        return (self.symbol == "*" or fnmatch.fnmatchcase(stream.partition("@")[0].upper(), self.symbol.upper())) and (
            self.stream == "*" or fnmatch.fnmatchcase(stream, self.stream)
        )

    def concerns_request(self, path: str, symbol: str) -> bool:
        return (self.path == "*" or fnmatch.fnmatchcase(path, "*" + self.path)) and (
            self.symbol == "*" or fnmatch.fnmatchcase(symbol, self.symbol.upper())
        )


class FaultPlan:
    """The entries, and which of them hold now. ``seed`` decides every chance, whatever else happened before."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 0) -> None:
        self.faults = list(faults)
        self.seed = seed
        self.active: list[Fault] = []

    @classmethod
    def seeded(
        cls, seed: int, symbols: Sequence[str], span_ms: int, count: int = 8, kinds: Sequence[str] = FRAME_KINDS
    ) -> FaultPlan:
        """Draw a plan: the same for the same arguments."""
        chance = random.Random(seed)
        faults = [
            Fault(
                kind=chance.choice(list(kinds)),
                at_ms=chance.randrange(span_ms),
                for_ms=chance.randrange(1, max(2, span_ms // 4)),
                symbol=chance.choice(list(symbols)),
                chance=chance.choice((0.3, 0.7, 1.0)),
                delay_ms=chance.randrange(1, 5000),
                count=chance.randrange(1, 3),
            )
            for _ in range(count)
        ]
        return cls(sorted(faults, key=lambda fault: fault.at_ms), seed)

    @classmethod
    def of_json(cls, data: bytes, seed: int = 0) -> FaultPlan:
        """Read a JSON array of entries."""
        return cls(msgspec.json.decode(data, type=list[Fault]), seed)

    def to_json(self) -> bytes:
        return msgspec.json.encode(self.faults)

    def schedule(
        self, start_ms: int, at: Callable[[float, Callable[[], None]], None], begin: Callable[[Fault], None]
    ) -> None:
        """Put every entry on a timetable. ``begin`` is told when one begins to hold."""
        for fault in self.faults:
            self.put(fault, start_ms + fault.at_ms, at, begin)

    def put(
        self,
        fault: Fault,
        begin_ms: int,
        at: Callable[[float, Callable[[], None]], None],
        begin: Callable[[Fault], None],
    ) -> None:
        """Put one entry on a timetable at a time of its own."""

        def start() -> None:
            self.active.append(fault)
            begin(fault)

        at(begin_ms, start)
        if fault.for_ms is not None:
            at(begin_ms + fault.for_ms, lambda: self.end(fault))

    def end(self, fault: Fault) -> None:
        """Let an entry hold no more."""
        self.active = [other for other in self.active if other is not fault]

    def happens(self, fault: Fault, what: str) -> bool:
        """Cast the dice for one frame or row: the same for the same seed, entry and frame."""
        if fault.chance >= 1:
            return True
        return self.dice(fault, what) < fault.chance

    def dice(self, fault: Fault, what: str) -> float:
        """Return a number in [0, 1) that belongs to this frame."""
        return zlib.crc32(f"{self.seed}/{fault.kind}/{fault.at_ms}/{fault.symbol}/{what}".encode()) / 2**32

    def frames(self, stream: str, time_ms: int, closes: int | None) -> list[Fault]:
        """Return the entries that hold for a frame now."""
        return [
            fault
            for fault in self.active
            if fault.kind in FRAME_KINDS
            and fault.concerns(stream, closes)
            and self.happens(fault, f"{stream}/{time_ms}")
        ]

    def requests(self, kind: str, path: str, symbol: str, what: str) -> Fault | None:
        """Return an entry of that kind that holds for a request now."""
        for fault in self.active:
            if fault.kind == kind and fault.concerns_request(path, symbol) and self.happens(fault, f"{path}/{what}"):
                return fault
        return None

    def holds(self, kind: str) -> Fault | None:
        """Return an entry of that kind that holds now."""
        return next((fault for fault in self.active if fault.kind == kind), None)
