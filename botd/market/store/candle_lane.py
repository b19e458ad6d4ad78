"""The folder of one lane: files of candles, one a month (a year from 1h on), and the manifest that lists them.

The manifest is the only truth: a write puts new files beside the old ones, renames a new manifest into place, then
removes what is no longer listed. Whoever reads sees all of a write or nothing of it, also after kill -9 or a power
cut: files and manifest are fsynced before they are renamed, the folder afterwards. One writer at a time holds the
lock; readers take none. What is in a file is :mod:`botd.market.store.candle_codec`'s.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from botd.domain.candle import interval_ms
from botd.domain.candles import Candles
from botd.domain.errors import BotdError, ConfigError, ForbiddenError, UnavailableError
from botd.market.store.candle_codec import DamageError, blank, checksum, decode, encode, header_of, workroom
from botd.market.store.candle_rows import Span, between, candles_of, holes

MANIFEST = "manifest.json"
CHUNK = re.compile(r"(\d{4}(?:-\d\d)?)\.(\d+)\.candles")
_LOCK = ".lock"
_VERSION = 1
_HOUR_MS = 3_600_000


class Chunk(msgspec.Struct, frozen=True):
    """One file: what it holds, and the holes between its first and last candle."""

    file: str
    rows: int
    first: int
    last: int
    bytes: int
    crc: int
    holes: list[Span]

    @property
    def period(self) -> str:
        """The month or year."""
        return self.file.partition(".")[0]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane's folder holds. ``asked``: spans for which the exchange has given all that it has."""

    version: int = _VERSION
    exchange: str
    symbol: str
    interval: str
    generation: int = 0
    chunks: list[Chunk] = []
    asked: list[Span] = []

    @property
    def holes(self) -> list[Span]:
        """All spans without a candle between the first and the last one."""
        length = interval_ms(self.interval)
        found: list[Span] = []
        for index, chunk in enumerate(self.chunks):
            if index and self.chunks[index - 1].last + length < chunk.first:
                found.append((self.chunks[index - 1].last + length, chunk.first))
            found += chunk.holes
        return found


class _Sealed(msgspec.Struct, frozen=True):
    checksum: str
    manifest: msgspec.Raw


class _Versioned(msgspec.Struct, frozen=True):
    version: int


class LaneFolder:
    """Reads and replaces the files of one lane."""

    def __init__(self, path: Path, exchange: str, symbol: str, interval: str) -> None:
        self.path = path
        self.empty = Manifest(exchange=exchange, symbol=symbol, interval=interval)

    def manifest(self) -> Manifest | None:
        """Return the manifest, None where nothing was ever written; DamageError where it cannot be trusted."""
        path = self.path / MANIFEST
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise refusal(path, error) from None
        return _opened(path, data)

    def load(self, manifest: Manifest, from_ms: int | None = None, to_ms: int | None = None) -> Candles:
        """Return the candles that open at ``from_ms`` or later and before ``to_ms``."""
        wanted = [
            chunk
            for chunk in manifest.chunks
            if (from_ms is None or chunk.last >= from_ms) and (to_ms is None or chunk.first < to_ms)
        ]
        out = blank(sum(chunk.rows for chunk in wanted))
        room = workroom(max((chunk.rows for chunk in wanted), default=0))
        at = 0
        for chunk in wanted:
            self._read_into(chunk, tuple(column[at : at + chunk.rows] for column in out), room)
            at += chunk.rows
        return between(candles_of(manifest.interval, out), from_ms, to_ms)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lane for writing; waits for another writer. Makes the folder."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise refusal(self.path, error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise refusal(self.path, error) from None
        finally:
            os.close(descriptor)

    def replace(self, manifest: Manifest, parts: dict[str, Candles], asked: list[Span]) -> Manifest:
        """Put new rows in place of whole periods; the lock is held. What is not listed any more is removed."""
        generation = manifest.generation + 1
        kept = [chunk for chunk in manifest.chunks if chunk.period not in parts]
        made = []
        for period, rows in parts.items():
            data = encode(rows, manifest.exchange, manifest.symbol)
            name = f"{period}.{generation}.candles"
            self._write(name, data)
            made.append(describe(name, data, rows))
        chunks = sorted((*kept, *made), key=lambda chunk: chunk.first)
        new = msgspec.structs.replace(manifest, generation=generation, chunks=chunks, asked=asked)
        self.seal(new)
        return new

    def seal(self, manifest: Manifest) -> None:
        """Make ``manifest`` the truth."""
        self._sync()
        told = msgspec.json.encode(manifest)
        self._write(MANIFEST, msgspec.json.encode(_Sealed(f"{zlib.crc32(told):08x}", msgspec.Raw(told))) + b"\n")
        self._sync()
        listed = {chunk.file for chunk in manifest.chunks}
        for path in self.path.iterdir():
            if path.name.endswith(".tmp") or (CHUNK.fullmatch(path.name) and path.name not in listed):
                path.unlink()

    def read(self, name: str) -> tuple[bytes, Candles]:
        """Return a file and its rows; DamageError when it is not whole, or another lane's."""
        data = self._content(name)
        try:
            header, at = header_of(data)
            lane = (header.exchange, header.symbol, header.interval)
            if lane != (self.empty.exchange, self.empty.symbol, self.empty.interval):
                raise DamageError(f"holds {' '.join(lane)}")
            out = blank(header.rows)
            decode(data, header, at, out)
        except BotdError as error:
            raise type(error)(f"{self.path / name}: {error.message}", error.hint) from None
        return data, candles_of(header.interval, out)

    def _read_into(self, chunk: Chunk, out: tuple[NDArray[Any], ...], room: NDArray[np.int64]) -> None:
        data = self._content(chunk.file)
        try:
            if len(data) != chunk.bytes:
                raise DamageError(f"is damaged: {len(data)} bytes instead of {chunk.bytes}")
            header, at = header_of(data)
            if (header.rows, header.interval, checksum(data)) != (chunk.rows, self.empty.interval, chunk.crc):
                raise DamageError("is not the file that the manifest lists")
            decode(data, header, at, out, room)
        except BotdError as error:
            raise type(error)(f"{self.path / chunk.file}: {error.message}", error.hint) from None

    def _content(self, name: str) -> bytes:
        path = self.path / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise DamageError(f"{path}: is missing") from None
        except OSError as error:
            raise refusal(path, error) from None

    def _write(self, name: str, data: bytes) -> None:
        temporary = self.path / f".{name}.tmp"
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / name)

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def describe(name: str, data: bytes, rows: Candles) -> Chunk:
    """Return the manifest's entry for a file."""
    first, last = int(rows.time[0]), int(rows.time[-1])
    found = holes(rows.time, interval_ms(rows.interval))
    return Chunk(name, len(rows), first, last, len(data), checksum(data), found)


def by_period(rows: Candles) -> dict[str, Candles]:
    """Return the rows by the name of the file that they belong to."""
    unit = "M" if interval_ms(rows.interval) < _HOUR_MS else "Y"
    periods = rows.time.astype("datetime64[ms]").astype(f"datetime64[{unit}]")
    begins = np.flatnonzero(np.r_[True, periods[1:] != periods[:-1]]) if len(rows) else np.empty(0, np.int64)
    ends = [*begins[1:].tolist(), len(rows)]
    return {str(periods[begin]): rows.part(begin, end) for begin, end in zip(begins.tolist(), ends, strict=False)}


def _opened(path: Path, data: bytes) -> Manifest:
    try:
        sealed = msgspec.json.decode(data, type=_Sealed)
        if sealed.checksum != f"{zlib.crc32(sealed.manifest):08x}":
            raise DamageError(f"{path}: is damaged: its checksum does not fit")
        if msgspec.json.decode(sealed.manifest, type=_Versioned).version > _VERSION:
            raise ConfigError(f"{path}: was written by a newer botd", "update this one")
        return msgspec.json.decode(sealed.manifest, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamageError(f"{path}: is damaged: {error}") from None


def refusal(path: Path, error: OSError) -> BotdError:
    """Return the error for a file that the system does not let us have."""
    place = f"{error.filename or path}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UnavailableError(f"{place}: the disk is full", "free space there, then do the same again")
    return ForbiddenError(f"{place}: {error.strerror or error}", "set data_dir to a folder of yours")
