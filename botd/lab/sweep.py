"""``botctl sweep``, composed: sets from ranges, played in parallel, remembered in a file, ranked.

What is done is skipped when the same sweep is asked for again: same strategy file, candles, terms and rules. Ctrl-C
ends it with what it has. Where the sets are played (threads here, processes, a Dask cluster) changes no figure.
"""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from botd.backtest.history import History
from botd.backtest.sweep import Set, outcomes
from botd.domain.clock import WallClock
from botd.domain.errors import InvalidError
from botd.lab.backtests import only_signals
from botd.lab.given import Asked, Place, histories, input_rows, terms_of, told_terms
from botd.lab.inputs import with_inputs
from botd.lab.ranges import Axis, Point, axes_of, corners, drawn, grid, key_of, set_of, told
from botd.lab.ranking import Played, Ranking, SweepFile, check_statistic, played_of
from botd.lab.work import payload_of, rules_digest
from botd.strategy.base import SignalStrategy
from botd.strategy.examination import examine
from botd.strategy.inputs import reads_nothing
from botd.strategy.registry import StrategyInfo
from botd.strategy.warmup import warmup_of

if TYPE_CHECKING:
    from botd.lab.remote import DaskPlayer, ProcessPlayer

Tell = Callable[[int, int, str], None]
Play = Callable[[Sequence[Set]], Iterator[tuple[int, Played]]]
"""Plays sets and yields (number of the set, what it gave) as they come."""

_TPE_BATCH = 16
_TPE_LOOKED_AT = 2_000
_FLUSH_EVERY = 64


@dataclass(slots=True)
class Search:
    """Which sets: the axes over what is fixed, and how their points are chosen."""

    info: StrategyInfo
    axes: list[Axis]
    params: Mapping[str, Any]
    terms: Mapping[str, Any]
    random: int | None = None
    tpe: int | None = None
    seed: int = 0
    refused: dict[Point, str] = field(default_factory=dict)

    def points(self) -> list[Point]:
        """Return the points of a grid or of chance."""
        return grid(self.axes) if self.random is None else drawn(self.axes, self.random, self.seed)

    def ranges_warmup(self) -> int:
        """Return how many candles the ATR stops of the sets need; their period is one for all."""
        varied = any(axis.name == "atr_stop" for axis in self.axes)
        return terms_of({"atr_stop": "1" if varied else self.terms.get("atr_stop")}).warmup

    def set_of(self, point: Point) -> Set | None:
        """Return the set of a point; None, and the reason in ``refused``, where terms clash."""
        try:
            return set_of(self.axes, point, self.params, self.terms)
        except InvalidError as error:
            self.refused[point] = error.message
            return None


def search_of(place: Place, asked: Asked) -> Search:
    """Return what is searched; InvalidError for ranges that do not fit and for nothing to vary."""
    (name,) = asked["strategies"]
    info = place.registry.load(name)
    only_signals(info)
    ranges = asked.get("ranges") or {}
    random, tpe = asked.get("random"), asked.get("tpe")
    if random is not None and tpe is not None:
        raise InvalidError("--random and --tpe exclude each other", "give one of them")
    if not ranges:
        names = " ".join(f"--range {key}" for key in info.parameters)
        raise InvalidError("nothing to vary", f"--range NAME=low:high:step; all that its bounds allow: {names}")
    axes = axes_of(info, ranges)
    params = asked.get("params") or {}
    for axis in axes:
        if axis.name in params or (asked.get("terms") or {}).get(axis.name) is not None:
            raise InvalidError(f"{axis.name} is set and has a range", "give one of them")
    unknown = [key for key in params if key not in info.parameters]
    if unknown:
        info.check(params)
    return Search(info, axes, params, asked.get("terms") or {}, random, tpe, int(asked.get("seed") or 0))


def run_sweep(place: Place, asked: Asked, tell: Tell) -> dict[str, Any]:
    """Return ``rows``, the best first, and what there is to say of the sweep."""
    search, by = search_of(place, asked), check_statistic(str(asked.get("by") or "sharpe"))
    history = searched(place, asked, search, "a sweep")
    sweep = Sweep(search, history, by, int(asked.get("top") or 20), tell)
    path = place.data_dir / "sweeps" / f"{search.info.name}-{sweep.digest()}.jsonl"
    clock = WallClock()
    began = clock.monotonic()
    with player(asked, history, search.info) as play, SweepFile(path, bool(asked.get("fresh"))) as file:
        sweep.run(file, play)
    return {**sweep.told(), "seconds": clock.monotonic() - began, "file": str(path), "notes": list(history.notes)}


def searched(place: Place, asked: Asked, search: Search, command: str) -> History:
    """Return the candles that are searched on: before them what the sets warm up on, as a backtest of each would have
    it, and beside them what they read."""
    if len(asked["symbols"]) != 1:
        raise InvalidError(f"{command} is of one symbol", "one --symbol; run it again for another")
    name, cls = search.info.name, search.info.cls
    reads = not reads_nothing(cls)
    warmup, reading = search.ranges_warmup(), []
    for strategy in strategies_of(search):
        with suppress(InvalidError):  # its own line in the sweep says so
            warmup = max(warmup, warmup_of(name, strategy))
        if reads:
            reading.append((name, strategy))
    (history,) = histories(place, asked, warmup)
    if (there := len(history.candles)) < warmup:
        fact = f"{there} candles are fewer than the {warmup} that the slowest set of {name} warms up on"
        history = replace(history, notes=(*history.notes, f"{fact}: its first signals depend on where the data begin"))
    return with_inputs(history, reading, input_rows(place, asked)) if reads else history


def strategies_of(search: Search) -> Iterator[SignalStrategy]:
    """Yield the strategy of each choice of parameters; where TPE chooses, of the ends of the ranges and of many that
    may be."""
    if search.tpe is None:
        points = search.points()
    else:
        points = [*corners(search.axes, _TPE_LOOKED_AT), *drawn(search.axes, _TPE_LOOKED_AT, search.seed)]
    varied = [(k, axis.name) for k, axis in enumerate(search.axes) if not axis.is_term]
    for values in dict.fromkeys(tuple(point[k] for k, _ in varied) for point in points):
        own = {name: value for (_, name), value in zip(varied, values, strict=True)}
        with suppress(InvalidError):  # its own line in the sweep says so
            strategy = search.info.build({**search.params, **own})
            assert isinstance(strategy, SignalStrategy)
            yield strategy


def examine_points(search: Search, points: Sequence[Point], history: History) -> None:
    """Examine the strategy with the first set that it takes, and with the last; DeniedError where it is not fit."""
    for ordered in (points, points[::-1]):
        for point in ordered[:200]:
            try:
                chosen = search.set_of(point)
                strategy = None if chosen is None else search.info.build(chosen.params)
            except InvalidError:  # its own line in the sweep says so
                continue
            if isinstance(strategy, SignalStrategy):
                examine(search.info.name, strategy, history.seen_by(search.info.name, strategy))
                break


class player:  # noqa: N801 - reads as a function
    """Where sets are played: threads here, processes, or a Dask cluster; a context that ends what it began."""

    def __init__(self, asked: Asked, history: History, info: StrategyInfo) -> None:
        self._asked, self._history, self._info = asked, history, info
        self._remote: DaskPlayer | ProcessPlayer | None = None

    def __enter__(self) -> Play:
        address, processes = self._asked.get("dask"), self._asked.get("processes")
        if address:
            from botd.lab.remote import DaskPlayer

            self._remote = DaskPlayer(str(address), payload_of(self._history, self._info))
            return self._remote.play
        if processes:
            from botd.lab.remote import ProcessPlayer

            self._remote = ProcessPlayer(int(processes), payload_of(self._history, self._info))
            return self._remote.play
        return self._here

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._remote is not None:
            self._remote.close(kind is not None)

    def _here(self, sets: Sequence[Set]) -> Iterator[tuple[int, Played]]:
        for number, outcome in outcomes(self._history, self._info, sets):
            yield number, (outcome.statistics, outcome.error)


class Sweep:
    """One sweep: its file, its ranking, how far it is."""

    def __init__(self, search: Search, history: History, by: str, top: int, tell: Tell) -> None:
        if top < 1:
            raise InvalidError(f"--top must be 1 at least, not {top}")
        self.search, self.history = search, history
        self.ranking = Ranking(by, top)
        self.points: list[Point] = []
        self.known = 0
        self.done = 0
        self.total = 0
        self.interrupted = False
        self._tell = tell
        self._seen: dict[str, bytes] = {}

    def digest(self) -> str:
        """Return what the file is named by: everything a set's figures depend on."""
        search, rows = self.search, self.history.candles
        fixed = {axis.name for axis in search.axes}
        terms = {key: value for key, value in search.terms.items() if value is not None and key not in fixed}
        told_apart = (
            *(search.info.digest, rules_digest(), self.history.begin, rows.interval),
            *(str(self.history.instrument), sorted(dict(search.params).items()), sorted(terms.items())),
        )
        found = hashlib.blake2b(repr(told_apart).encode(), digest_size=8)
        inputs = {" ".join(lane): more for lane, more in self.history.inputs.items()}
        for lane, more in (("", rows), *sorted(inputs.items(), key=lambda item: item[0])):
            found.update(lane.encode())
            for column in (more.time, more.open, more.high, more.low, more.close, more.volume):
                found.update(column.tobytes())
        return found.hexdigest()

    def run(self, file: SweepFile, play: Play) -> None:
        """Play what the file does not have; KeyboardInterrupt ends it early."""
        self._seen = dict(file.lines())
        try:
            if self.search.tpe is not None:
                self._tpe(file, play)
            else:
                self.points = self.search.points()
                self.total = len(self.points)
                examine_points(self.search, self.points, self.history)
                self._play(file, play, range(self.total))
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            file.flush()

    def told(self) -> dict[str, Any]:
        """Return the rows, the best first, and the counts."""
        base = {"strategy": self.search.info.name, "symbol": self.history.symbol}
        rows = []
        for rank, (number, statistics) in enumerate(self.ranking.best(), 1):
            varied = told(self.search.axes, self.points[number])
            chosen = self.search.set_of(self.points[number])
            assert chosen is not None
            plain = self.search.info.plain(chosen.params)
            rows.append(
                {"rank": rank, **base, "interval": self.history.candles.interval, "set": varied}
                | {"params": plain, "terms": told_terms(chosen.terms), **statistics}
            )
        return {
            "rows": rows,
            "by": self.ranking.by,
            "sets": self.total,
            "done": self.done,
            "known": self.known,
            "failed": self.ranking.failed,
            "first_error": self.ranking.first_error,
            "interrupted": self.interrupted,
        }

    def _play(self, file: SweepFile, play: Play, numbers: Sequence[int]) -> list[Played]:
        """Play the points of these numbers; what the file has is taken from it."""
        found: dict[int, Played] = {}
        left: list[tuple[int, Set]] = []
        for number in numbers:
            seen = self._seen.get(self._key(number))
            chosen = None if seen is not None else self.search.set_of(self.points[number])
            if seen is not None:
                self.known += 1
                self._take(found, number, played_of(seen))
            elif chosen is None:
                self._take(found, number, (None, self.search.refused[self.points[number]]))
            else:
                left.append((number, chosen))
        for k, played in play([chosen for _, chosen in left]) if left else ():
            number = left[k][0]
            with undivided():  # what the file has, is counted and ranked
                file.add(self._key(number), played)
                self._take(found, number, played)
                if not self.done % _FLUSH_EVERY:
                    file.flush()
            self._tell(self.done - self.known, self.total - self.known, "")
        return [found[number] for number in numbers]

    def _take(self, found: dict[int, Played], number: int, played: Played) -> None:
        found[number] = played
        self.done += 1
        self.ranking.add(number, *played)

    def _key(self, number: int) -> str:
        return key_of(self.search.axes, self.points[number])

    def _tpe(self, file: SweepFile, play: Play) -> None:
        """Let TPE choose batch after batch; the same seed asks for the same, so a file answers what it knows."""
        from botd.lab.tpe import Chooser

        self.total = int(self.search.tpe or 0)
        chooser = Chooser(self.search.axes, self.search.seed, self.ranking.by)
        given: dict[Point, Played] = {}
        asked = 0
        while asked < self.total:
            batch = chooser.ask(min(_TPE_BATCH, self.total - asked))
            asked += len(batch)
            new = [point for point in dict.fromkeys(batch) if point not in given]
            first = len(self.points)
            self.points += new
            if not first:
                examine_points(self.search, self.points, self.history)
            played = self._play(file, play, range(first, len(self.points)))
            given.update(zip(new, played, strict=True))
            self.done += len(batch) - len(new)
            chooser.tell([given[point] for point in batch])


@contextmanager
def undivided() -> Iterator[None]:
    """Let Ctrl-C wait until the block has ended; KeyboardInterrupt comes after it, in the main thread as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting:
        raise KeyboardInterrupt
