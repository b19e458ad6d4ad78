"""The local candle store under ``data_dir``: history that downloads and imports fill and backtests read.

One lane is one (exchange, symbol, interval), in ``<data_dir>/<exchange>/<BTC-USDT>/<interval>/``. Writing merges: a
row that is there already is nothing new, a row that differs is refused unless it shall replace. Rows are closed
candles only; whoever writes has proof of that. Nothing is invented: a hole stays a hole, and is listed.
This page knows no exchange and no file format of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from dataclasses import replace as replace_in
from pathlib import Path

import msgspec

from botd.domain.candle import INTERVALS, interval_ms
from botd.domain.candles import Candles, complete_buckets
from botd.domain.errors import BotdError, ConflictError, InvalidError, NotFoundError
from botd.domain.instrument import split_symbol
from botd.market.store.candle_codec import DamageError
from botd.market.store.candle_lane import MANIFEST, LaneFolder, Manifest, by_period
from botd.market.store.candle_rows import Span, between, covers, fault_of, merge, union, without
from botd.market.store.candle_verify import Damage, examine, repair


@dataclass(frozen=True, slots=True, order=True)
class StoredLane:
    """One series of candles. ``symbol`` as in ``BTC/USDT``."""

    exchange: str
    symbol: str
    interval: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Candles that are not there: ``known`` when the exchange was asked and has none."""

    from_ms: int
    to_ms: int
    missing: int
    known: bool


@dataclass(frozen=True, slots=True)
class LaneReport:
    """What is stored of a lane. ``first_ms`` and ``last_ms`` are open times, None where there is no row."""

    lane: StoredLane
    first_ms: int | None = None
    last_ms: int | None = None
    rows: int = 0
    files: int = 0
    bytes: int = 0
    gaps: list[Gap] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """How many candles lie in the gaps."""
        return sum(gap.missing for gap in self.gaps)


@dataclass(frozen=True, slots=True)
class Written:
    """What a write changed, in rows."""

    added: int = 0
    equal: int = 0
    replaced: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(self.added + other.added, self.equal + other.equal, self.replaced + other.replaced)


class CandleStore:
    """The candles of one exchange under ``data_dir``; :meth:`lanes` and :meth:`verify` see all exchanges.

    Raises DamageError (refused) for a file that is not what was written, ConfigError for one of a newer botd,
    ForbiddenError and UnavailableError for a folder that cannot be used.
    """

    def __init__(self, data_dir: Path, exchange: str = "binance") -> None:
        self.data_dir = data_dir
        self.exchange = exchange

    def lanes(self) -> list[LaneReport]:
        """Return what is stored, from the manifests alone; a damaged one is said in ``damage``."""
        return [self._told(lane) for lane in self._found()]

    def load(self, symbol: str, interval: str, from_ms: int | None = None, to_ms: int | None = None) -> Candles:
        """Return the candles that open at ``from_ms`` or later and before ``to_ms``, oldest first.

        Where the interval itself is not stored it is made of the largest stored smaller one, complete candles
        only. NotFoundError where there is neither.
        """
        for base in self._bases(symbol, interval):
            rows = self._stored(symbol, base, *_aligned(interval, from_ms, to_ms))
            if rows is not None:
                return between(complete_buckets(rows, interval), from_ms, to_ms)
        command = f"botctl data download --symbol {symbol} --interval {interval} --from 30d"
        raise NotFoundError(f"{self.data_dir}: no {interval} candles of {symbol} ({self.exchange})", command)

    def write(
        self, symbol: str, interval: str, rows: Candles, *, replace: bool = False, asked: Span | None = None
    ) -> Written:
        """Merge closed candles into the store, all of them or none.

        ``asked`` is a span for which these rows are all that the exchange has. Raises InvalidError for rows that
        are no candles, ConflictError naming the first one that is stored differently, unless ``replace``.
        """
        if rows.interval != interval:
            raise InvalidError(f"{symbol} {interval}: these candles are {rows.interval}")
        if fault := fault_of(rows):
            raise InvalidError(f"{symbol} {interval}: {fault}", "nothing was stored")
        folder = self._folder(symbol, interval)
        with folder.locked():
            manifest = folder.manifest() or folder.empty
            written, parts = self._merged(folder, manifest, rows, replace)
            spans = union([*manifest.asked, *([asked] if asked else [])])
            if parts or spans != manifest.asked:
                folder.replace(manifest, parts, spans)
        return written

    def gaps(self, symbol: str, interval: str) -> list[Gap]:
        """Return the holes between the first and the last stored candle."""
        manifest = self._folder(symbol, interval).manifest()
        return _gaps(manifest) if manifest else []

    def missing(self, symbol: str, interval: str, from_ms: int, to_ms: int) -> list[Span]:
        """Return the spans of [from, to) that are not stored and that the exchange was not asked for."""
        manifest = self._folder(symbol, interval).manifest()
        if manifest is None or not manifest.chunks:
            return without([(from_ms, to_ms)], manifest.asked if manifest else [])
        whole = (manifest.chunks[0].first, manifest.chunks[-1].last + interval_ms(interval))
        return without([(from_ms, to_ms)], [*without([whole], manifest.holes), *manifest.asked])

    def verify(self, symbol: str | None = None, interval: str | None = None) -> list[LaneReport]:
        """Read every file of the lanes asked for and return what is there and what is wrong."""
        return [
            replace_in(self._told(lane), damage=examine(self._folder_of(lane)))
            for lane in self._found()
            if symbol in (None, lane.symbol) and interval in (None, lane.interval)
        ]

    def repair(self, lane: StoredLane) -> list[Path]:
        """Set damaged files aside and list the sound ones anew; return where the damaged ones are now.

        What they held is missing then, and a download asks for it again.
        """
        folder = self._folder_of(lane)
        with folder.locked():
            return repair(folder)

    def _merged(
        self, folder: LaneFolder, manifest: Manifest, rows: Candles, replace: bool
    ) -> tuple[Written, dict[str, Candles]]:
        """Return the new content of the files that ``rows`` change."""
        known = {chunk.period: chunk for chunk in manifest.chunks}
        written, parts = Written(), {}
        for period, part in by_period(rows).items():
            chunks = [known[period]] if period in known else []
            old = folder.load(msgspec.structs.replace(manifest, chunks=chunks))
            merged = merge(old, part)
            if merged.difference and not replace:
                raise ConflictError(
                    f"{manifest.symbol} {manifest.interval} {merged.difference}", "--replace takes the new ones"
                )
            written += Written(merged.added, merged.equal, merged.replaced)
            if merged.added or merged.replaced:
                parts[period] = merged.rows
        return written, parts

    def _stored(self, symbol: str, interval: str, from_ms: int | None, to_ms: int | None) -> Candles | None:
        folder = self._folder(symbol, interval)
        manifest = folder.manifest()
        while manifest is not None and manifest.chunks:
            try:
                return folder.load(manifest, from_ms, to_ms)
            except DamageError:
                # A writer may have replaced the files between the manifest and them: look again.
                again = folder.manifest()
                if again is None or again.generation == manifest.generation:
                    raise
                manifest = again
        return None

    def _bases(self, symbol: str, interval: str) -> Iterator[str]:
        """Yield the intervals that ``interval`` can be made of, the largest first."""
        length = interval_ms(interval)
        for name, size in sorted(INTERVALS.items(), key=lambda item: -item[1]):
            if size <= length and length % size == 0 and (self._folder(symbol, name).path / MANIFEST).exists():
                yield name

    def _found(self) -> list[StoredLane]:
        found = []
        for path in self.data_dir.glob(f"*/*/*/{MANIFEST}"):
            interval, symbol, exchange = (folder.name for folder in list(path.parents)[:3])
            if interval in INTERVALS:
                found.append(StoredLane(exchange, symbol.replace("-", "/"), interval))
        return sorted(found, key=lambda lane: (lane.exchange, lane.symbol, interval_ms(lane.interval)))

    def _told(self, lane: StoredLane) -> LaneReport:
        try:
            manifest = self._folder_of(lane).manifest()
        except BotdError as error:
            return LaneReport(lane, damage=[Damage(MANIFEST, error.message)])
        if manifest is None or not manifest.chunks:
            return LaneReport(lane)
        chunks = manifest.chunks
        size, rows = sum(chunk.bytes for chunk in chunks), sum(chunk.rows for chunk in chunks)
        return LaneReport(lane, chunks[0].first, chunks[-1].last, rows, len(chunks), size, _gaps(manifest))

    def _folder_of(self, lane: StoredLane) -> LaneFolder:
        return CandleStore(self.data_dir, lane.exchange)._folder(lane.symbol, lane.interval)

    def _folder(self, symbol: str, interval: str) -> LaneFolder:
        try:
            base, quote = split_symbol(symbol)
            interval_ms(interval)
        except ValueError as error:
            raise InvalidError(str(error)) from None
        path = self.data_dir / self.exchange / f"{base}-{quote}" / interval
        return LaneFolder(path, self.exchange, symbol, interval)


def _aligned(interval: str, from_ms: int | None, to_ms: int | None) -> tuple[int | None, int | None]:
    """Return the span whose smaller candles make up all larger ones that open in [from, to)."""
    length = interval_ms(interval)
    return (
        None if from_ms is None else from_ms - from_ms % length,
        None if to_ms is None else to_ms + -to_ms % length,
    )


def _gaps(manifest: Manifest) -> list[Gap]:
    length = interval_ms(manifest.interval)
    return [
        Gap(start, end, (end - start) // length, covers(manifest.asked, (start, end))) for start, end in manifest.holes
    ]
