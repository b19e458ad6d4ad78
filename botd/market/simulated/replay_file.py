"""Reading one file of candles: CSV or gzipped CSV, with a header or in Binance's own columns.

Everything is checked before the first candle plays, and what is wrong is a ConfigError that names file,
line, fact and remedy. What exchanges really publish loads: holes, minutes without a trade, times in
seconds, milli-, micro- or nanoseconds (also mixed: Binance's archives changed in 2025) or written out
(2026-01-31T12:00:00Z, as ``botctl candles -o csv`` does), and candles that an exchange's outage moved off
the grid by some seconds (set back on it, and counted). Nothing is invented and nothing is repaired otherwise.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from botd.domain.candle import INTERVALS, interval_ms
from botd.domain.candles import Candles, finest_decimal
from botd.domain.clock import parse_time, rfc3339
from botd.domain.errors import ConfigError, InvalidError

_EXPECTED = "expected the columns time,open,high,low,close,volume, or Binance's 12 without a header"
_GET_AGAIN = "fetch the file again, or set another one under market.files"
_BINANCE_COLUMNS = (11, 12)
_TIME_NAMES = (
    *("opentimems", "opentime", "opentimeus", "timestampms", "timestamp", "unix", "unixtime", "timems", "time"),
    *("ts", "date", "datetime", "start", "starttime"),
)
_VOLUME_NAMES = ("volume", "vol", "basevolume", "volumebase")
_NAMES = (_TIME_NAMES, ("open", "openprice"), ("high", "highprice"), ("low", "lowprice"), ("close", "closeprice"))
Converters = Mapping[int | str, Callable[[str], float]]
_ISO = re.compile(r"\d{4}-\d\d-\d\d")
_AS_ARGUMENTS = (
    ("market.interval", "--interval"),
    (", or set another one under market.files", ""),
    ("set market.files to", "give"),
    ("set the CSV inside under market.files", "give the CSV inside"),
)


@dataclass(frozen=True, slots=True)
class CandleFile:
    """What a file holds: its candles, the grids seen in its decimals, and how many were off the time grid."""

    rows: Candles
    tick: Decimal
    step: Decimal
    shifted: int


def read_candles(path: Path, interval: str) -> CandleFile:
    """Load ``path``, whose candles are ``interval`` long; ConfigError tells what is wrong and where."""
    return parse_candles(path, _text(path), interval)


def parse_candles(path: Path, text: str, interval: str) -> CandleFile:
    """Read candles from the text of ``path``, which errors name; ends of lines are ``\\n``."""
    header, body, columns, wanted = _layout(path, text)
    table = _numbers(path, body, header, columns, wanted)
    if not len(table):
        raise ConfigError(f"{path}: no candles in it", _GET_AGAIN)
    table = np.ascontiguousarray(table.T)
    lines = _Lines(path, body, header)
    _check_values(lines, table)
    time, shifted = _times(lines, table[0], interval)
    table.setflags(write=False)
    rows = Candles(interval, time, table[1], table[2], table[3], table[4], table[5])
    return CandleFile(rows, finest_decimal(table[1:5].ravel()), finest_decimal(table[5]), shifted)


def as_argument(error: ConfigError) -> InvalidError:
    """Return what is wrong with a file that a command was given, and not the configuration."""
    message, hint = error.message, error.hint
    for there, here in _AS_ARGUMENTS:
        message, hint = message.replace(there, here), hint.replace(there, here)
    return InvalidError(message, hint)


@dataclass(frozen=True, slots=True)
class _Lines:
    """Finds the line number of a row again, for an error."""

    path: Path
    body: str
    header: int

    def error(self, row: int, fact: str, hint: str = _GET_AGAIN) -> ConfigError:
        """Return the error for candle number ``row`` (from 0)."""
        seen = -1
        for number, line in enumerate(self.body.split("\n"), start=1 + self.header):
            seen += bool(line.strip())
            if seen == row:
                return ConfigError(f"{self.path}: line {number}: {fact}", hint)
        return ConfigError(f"{self.path}: {fact}", hint)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except EOFError:
        raise ConfigError(f"{path}: the gzip data is cut off", _GET_AGAIN) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ConfigError(f"{path}: the gzip data is damaged: {error}", _GET_AGAIN) from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}", "set market.files to files that can be read") from None
    if data[:2] == b"PK":
        raise ConfigError(f"{path}: is a zip archive", "unpack it and set the CSV inside under market.files")
    text = data.decode("utf-8", errors="replace").removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.strip():
        raise ConfigError(f"{path}: the file is empty", _GET_AGAIN)
    return text


def _layout(path: Path, text: str) -> tuple[int, str, int, list[int]]:
    """Return (lines of header, the rest, number of columns, index of time, open, high, low, close, volume)."""
    first, _, rest = text.partition("\n")
    cells = [cell.strip().strip('"') for cell in first.split(",")]
    if re.match(r"[-+.\d]", cells[0]) or not cells[0]:
        if len(cells) != 6 and len(cells) not in _BINANCE_COLUMNS:
            raise ConfigError(f"{path}: line 1: {len(cells)} columns and no header", _EXPECTED)
        return 0, text, len(cells), list(range(6))
    names = [re.sub("[^a-z]", "", cell.lower()) for cell in cells]
    wanted = []
    for choices in (*_NAMES, _VOLUME_NAMES):
        found = [names.index(choice) for choice in choices if choice in names]
        if not found:
            name = "time" if choices is _TIME_NAMES else choices[0]
            raise ConfigError(f"{path}: line 1: no column named {name!r} in the header", _EXPECTED)
        if names.count(names[found[0]]) > 1:
            raise ConfigError(f"{path}: line 1: the column {names[found[0]]!r} is there twice", _EXPECTED)
        wanted.append(found[0])
    return 1, rest, len(cells), wanted


def _numbers(path: Path, body: str, header: int, columns: int, wanted: list[int]) -> NDArray[np.float64]:
    """Return the table of the wanted columns, one row a candle."""
    try:
        if not body.strip():
            return np.empty((0, len(wanted)))
        quote = '"' if '"' in body else None
        lines = body.split("\n")
        times: Converters | None = {wanted[0]: _milliseconds} if _ISO.match(_cell(body.lstrip(), wanted[0])) else None
        table: NDArray[np.float64] = np.loadtxt(
            lines,
            delimiter=",",
            usecols=wanted,
            ndmin=2,
            comments=None,
            quotechar=quote,
            converters=times,
            encoding=None,
        )
        if body.count(",") == len(table) * (columns - 1):
            return table
    except (ValueError, IndexError):
        pass
    raise _bad_line(path, body, header, columns, wanted)


def _bad_line(path: Path, body: str, header: int, columns: int, wanted: list[int]) -> ConfigError:
    """Find the line that is no candle; slow, and only on the way to an error."""
    for number, line in enumerate(body.split("\n"), start=1 + header):
        cells = [cell.strip().strip('"') for cell in line.split(",")]
        if not line.strip():
            continue
        if len(cells) != columns:
            fact = f"{len(cells)} columns instead of {columns}"
            return ConfigError(f"{path}: line {number}: {fact}", f"the line may be cut off; {_GET_AGAIN}")
        for column in wanted:
            try:
                if column != wanted[0] or not _ISO.match(cells[column]):
                    float(cells[column])
                else:
                    _milliseconds(cells[column])
            except ValueError:
                fact = f"{cells[column][:40]!r} is not a number" + (" or a time" if column == wanted[0] else "")
                return ConfigError(f"{path}: line {number}: {fact}", _EXPECTED)
    return ConfigError(f"{path}: cannot be read as candles", _EXPECTED)


def _cell(body: str, column: int) -> str:
    """Return a cell of the first line, empty where it has not so many."""
    cells = body.partition("\n")[0].split(",")
    return cells[column].strip().strip('"') if column < len(cells) else ""


def _milliseconds(cell: str) -> float:
    """Return the milliseconds of a time as RFC 3339 and ISO 8601 write it; UTC where no zone is given."""
    return float(parse_time(cell.strip().strip('"')))


def _check_values(lines: _Lines, table: NDArray[np.float64]) -> None:
    """Refuse the first row whose values cannot be a candle's."""
    time, open_, high, low, close, volume = table
    checks = (
        (~np.isfinite(table).all(axis=0), "a value is not a finite number"),
        (time <= 0, "the open time is not above zero"),
        (np.minimum(np.minimum(open_, close), low) <= 0, "a price is not above zero"),
        (high < low, "high is below low"),
        (np.maximum(open_, close) > high, "open or close is outside of low and high"),
        (np.minimum(open_, close) < low, "open or close is outside of low and high"),
        (volume < 0, "the volume is negative"),
    )
    for wrong, fact in checks:
        if wrong.any():
            row = int(wrong.argmax())
            values = ",".join(f"{value:.12g}" for value in table[1:, row])
            raise lines.error(row, f"{fact} ({values})")


def _times(lines: _Lines, raw: NDArray[np.float64], interval: str) -> tuple[NDArray[np.int64], int]:
    """Return open times in milliseconds on the interval's grid, and how many had to be set back on it."""
    length = interval_ms(interval)
    # Seconds until the year 5138, milliseconds from 1973 on, and so on: the magnitudes never overlap.
    unit = np.select([raw < 1e11, raw < 1e14, raw < 1e17], [1000.0, 1.0, 1e-3], 1e-6)
    published = np.rint(raw * unit).astype(np.int64)
    published.setflags(write=False)
    step = np.diff(published)
    if (step <= 0).any():
        row = int((step <= 0).argmax()) + 1
        told = [rfc3339(int(moment)) for moment in published[row - 1 : row + 1]]
        if step[row - 1] == 0:
            raise lines.error(row, f"the candle of {told[1]} is there twice", "remove the duplicate lines")
        raise lines.error(row, f"{told[1]} comes after {told[0]}", "sort the file by open time")
    time = published - published % length
    moved = int((time != published).sum())
    if len(time) > 1:
        _check_interval(lines, time, step, interval)
    if moved and ((moved == len(time) and len(time) > 1) or (np.diff(time) <= 0).any()):
        row = int((time != published).argmax())
        raise lines.error(
            row, f"{rfc3339(int(published[row]))} is not a multiple of {interval}", _interval_hint(lines, step)
        )
    time.setflags(write=False)
    return time, moved


def _check_interval(lines: _Lines, time: NDArray[np.int64], step: NDArray[np.int64], interval: str) -> None:
    length = interval_ms(interval)
    usual = int(np.bincount(np.minimum(step // 1000, 200_000)).argmax()) * 1000
    fits = bool((np.diff(time) == length).any())
    if usual < length or (usual > length and not fits):
        fact = f"candles are {usual / 60_000:g} minutes apart, market.interval is {interval}"
        raise lines.error(1, fact, _interval_hint(lines, step))


def _interval_hint(lines: _Lines, step: NDArray[np.int64]) -> str:
    seen = {length: name for name, length in INTERVALS.items()}.get(int(np.median(step)) if len(step) else 0)
    return f"set market.interval to {seen}" if seen else f"{lines.path.name} does not fit market.interval"
