"""Files of candles into the store: CSV, gzipped CSV, and the ZIPs of Binance's public archives.

Reading and checking the lines is :mod:`botd.market.simulated.replay_file`'s, so that a file that plays is a file that
imports; what it unpacks to has a limit. Only closed candles are taken. A folder is taken file by file, those of
another symbol or interval (by Binance's way to name them) left alone; where a ``.CHECKSUM`` lies beside a file, it
must fit.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from botd.domain.candle import interval_ms
from botd.domain.clock import Clock, rfc3339
from botd.domain.errors import BotdError, ConfigError, InvalidError, NotFoundError
from botd.market.feed import PROOF_MS
from botd.market.simulated.replay_file import CandleFile, as_argument, parse_candles
from botd.market.store.candle_rows import between
from botd.market.store.candle_store import CandleStore

_SUFFIXES = (".csv", ".csv.gz", ".zip")
_BINANCE_NAME = re.compile(r"([A-Z0-9]+)-(\d+[mhd])-\d{4}.*")
_MOST_BYTES = 2 << 30
"""So much may a file hold, unpacked: ten years of minutes take a quarter."""
_AGAIN = "fetch the file again"

Tell = Callable[[int, int, str], None]
"""(done, of so many, what): progress for people."""


def files_in(paths: Iterable[Path], symbol: str, interval: str) -> tuple[list[Path], list[Path]]:
    """Return the files to read, folders opened, and those in folders that are another symbol's or interval's."""
    files: list[Path] = []
    others: list[Path] = []
    for path in paths:
        if not path.exists():
            raise NotFoundError(f"{path}: no such file")
        if not path.is_dir():
            files.append(path)
            continue
        found = [inside for inside in sorted(path.iterdir()) if inside.name.lower().endswith(_SUFFIXES)]
        if not found:
            raise NotFoundError(f"{path}: no .csv, .csv.gz or .zip files in it")
        for inside in found:
            (files if _may_hold(inside, symbol, interval) else others).append(inside)
    if not files:
        raise NotFoundError(f"no file of {symbol} {interval} among {len(others)}", f"e.g. {others[0].name}")
    return files, others


def import_files(
    store: CandleStore, files: list[Path], symbol: str, interval: str, clock: Clock, *, replace: bool, tell: Tell
) -> list[dict[str, Any]]:
    """Import every file, each whole or not at all; return a row a file, ``error`` where one was refused."""
    rows = []
    for number, path in enumerate(files):
        tell(number, len(files), "")
        try:
            rows.append({**_import(store, path, symbol, interval, clock, replace), "error": None})
        except BotdError as error:
            told = {"code": error.code, "message": error.message, "hint": error.hint}
            rows.append({"name": str(path), "result": "failed", "error": told})
    tell(len(files), len(files), "")
    return rows


def _import(store: CandleStore, path: Path, symbol: str, interval: str, clock: Clock, replace: bool) -> dict[str, Any]:
    added = equal = replaced = total = shifted = forming = 0
    first = last = None
    for name, text in _texts(path):
        file = _parsed(name, text, interval)
        closed = between(file.rows, None, clock.now_ms() - PROOF_MS - interval_ms(interval) + 1)
        written = store.write(symbol, interval, closed, replace=replace)
        added, equal, replaced = added + written.added, equal + written.equal, replaced + written.replaced
        total, shifted = total + len(closed), shifted + file.shifted
        forming += len(file.rows) - len(closed)
        if len(closed):
            first = min(first or int(closed.time[0]), int(closed.time[0]))
            last = max(last or 0, int(closed.time[-1]))
    return {
        "name": str(path),
        "result": "changed" if added or replaced else "unchanged",
        "rows": total,
        "added": added,
        "equal": equal,
        "replaced": replaced,
        "shifted": shifted,
        "not_closed": forming,
        "first": None if first is None else rfc3339(first),
        "last": None if last is None else rfc3339(last),
    }


def _parsed(name: Path, text: str, interval: str) -> CandleFile:
    try:
        return parse_candles(name, text, interval)
    except ConfigError as error:
        raise as_argument(error) from None


def _texts(path: Path) -> list[tuple[Path, str]]:
    """Return the texts of a file, each with the name that errors give it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidError(f"{path}: {error.strerror or error}") from None
    _check_sum(path, data)
    if data[:2] == b"PK":
        return _unzipped(path)
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(_MOST_BYTES + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InvalidError(f"{path}: the gzip data is damaged: {error}", _AGAIN) from None
    _check_size(path, len(data))
    return [(path, _text(path, data))]


def _unzipped(path: Path) -> list[tuple[Path, str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [item for item in archive.infolist() if item.filename.lower().endswith(".csv")]
            if not members:
                raise InvalidError(f"{path}: no .csv in it", "Binance's archives hold one")
            _check_size(path, sum(item.file_size for item in members))
            return [(path / item.filename, _text(path / item.filename, archive.read(item))) for item in members]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InvalidError(f"{path}: the ZIP is damaged: {error}", _AGAIN) from None


def _text(path: Path, data: bytes) -> str:
    text = data.decode("utf-8", errors="replace").removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.strip():
        raise InvalidError(f"{path}: the file is empty", _AGAIN)
    return text


def _check_size(path: Path, size: int) -> None:
    if size > _MOST_BYTES:
        raise InvalidError(f"{path}: holds more than {_MOST_BYTES >> 30} GiB", "import it in parts")


def _check_sum(path: Path, data: bytes) -> None:
    """Hold a file to the SHA-256 that lies beside it, as Binance publishes one for each archive."""
    beside = path.with_name(path.name + ".CHECKSUM")
    if not beside.is_file():
        return
    told = beside.read_text(errors="replace").split()[:1]
    if told and hashlib.sha256(data).hexdigest() != told[0].lower():
        raise InvalidError(f"{path}: does not fit {beside.name}", _AGAIN)


def _may_hold(path: Path, symbol: str, interval: str) -> bool:
    name = _BINANCE_NAME.fullmatch(path.name)
    return name is None or (name[1], name[2]) == (symbol.replace("/", ""), interval)
