"""The commands on the local candle store, composed: configuration, store, files, exchange. No daemon needed.

Returns plain rows with the keys that ``botctl data`` prints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botd.config import Config
from botd.domain.candle import interval_ms
from botd.domain.clock import Clock, WallClock, rfc3339
from botd.domain.errors import InvalidError, NotFoundError
from botd.domain.instrument import split_symbol
from botd.market.by_ccxt.ccxt_client import make_client
from botd.market.store.candle_import import files_in, import_files
from botd.market.store.candle_store import CandleStore, Gap, LaneReport
from botd.market.store.download import Download, Downloaded

Row = dict[str, Any]
Tell = Callable[[int, int, str], None]


def store_of(config: Config) -> CandleStore:
    """Return the store that ``config`` means."""
    return CandleStore(config.data_dir, config.candles_of)


def list_lanes(config: Config) -> list[Row]:
    """Return a row a lane, of all exchanges."""
    return [_row(report) for report in store_of(config).lanes()]


def verify_lanes(config: Config, symbol: str | None, interval: str | None, repair: bool) -> list[Row]:
    """Return a row a lane with every gap and every damaged file; ``repair`` sets those aside."""
    _check(symbol, interval)
    store = store_of(config)
    reports = store.verify(symbol, interval)
    if not reports and (symbol or interval):
        wanted = " ".join(word for word in (symbol, interval) if word)
        raise NotFoundError(f"{config.data_dir}: no candles of {wanted}", "botctl data ls")
    rows = []
    for report in reports:
        row = _row(report)
        row["status"] = "damaged" if report.damage else "ok"
        row["gaps"] = [_gap(gap) for gap in report.gaps]
        row["damage"] = [{"file": item.file, "fault": item.fault} for item in report.damage]
        row["set_aside"] = [str(path) for path in store.repair(report.lane)] if repair and report.damage else []
        rows.append(row)
    return rows


def import_into(config: Config, paths: list[Path], symbol: str, interval: str, replace: bool, tell: Tell) -> list[Row]:
    """Import files and folders; return a row a file."""
    _check(symbol, interval)
    files, others = files_in(paths, symbol, interval)
    rows = import_files(store_of(config), files, symbol, interval, WallClock(), replace=replace, tell=tell)
    return [*rows, *({"name": str(path), "result": "skipped", "error": None} for path in others)]


def download_into(
    config: Config, symbol: str, interval: str, from_ms: int, to_ms: int | None, replace: bool, tell: Tell
) -> Row:
    """Load what is missing in [from, to) from the configured exchange."""
    _check(symbol, interval)
    if from_ms < 0 or (to_ms is not None and to_ms <= from_ms):
        raise InvalidError("the end is not after the begin", "--from must be earlier than --to, and after 1970")
    store, clock = store_of(config), WallClock()
    done = asyncio.run(_download(config, store, clock, (symbol, interval), (from_ms, to_ms), replace, tell))
    gaps = [
        gap for gap in store.gaps(symbol, interval) if gap.to_ms > from_ms and (to_ms is None or gap.from_ms < to_ms)
    ]
    return {
        "exchange": store.exchange,
        "symbol": symbol,
        "interval": interval,
        "result": "changed" if done.written.added or done.written.replaced else "unchanged",
        "added": done.written.added,
        "replaced": done.written.replaced,
        "odd": done.odd,
        "requests": done.requests,
        "waited_s": round(done.waited_s, 1),
        "gaps": [_gap(gap) for gap in gaps],
    }


async def _download(
    config: Config,
    store: CandleStore,
    clock: Clock,
    lane: tuple[str, str],
    span: tuple[int, int | None],
    replace: bool,
    tell: Tell,
) -> Downloaded:
    ends = config.endpoints
    client = await make_client(config.exchange, testnet=config.testnet, rest=ends.rest, stream=ends.stream)
    try:
        return await Download(store, client, clock, *lane, tell).run(*span, replace=replace)
    finally:
        await client.close()


def _check(symbol: str | None, interval: str | None) -> None:
    try:
        if symbol is not None:
            split_symbol(symbol)
        if interval is not None:
            interval_ms(interval)
    except ValueError as error:
        raise InvalidError(str(error)) from None


def _row(report: LaneReport) -> Row:
    return {
        "exchange": report.lane.exchange,
        "symbol": report.lane.symbol,
        "interval": report.lane.interval,
        "first": None if report.first_ms is None else rfc3339(report.first_ms),
        "last": None if report.last_ms is None else rfc3339(report.last_ms),
        "rows": report.rows,
        "gaps": len(report.gaps),
        "missing": report.missing,
        "files": report.files,
        "bytes": report.bytes,
        "status": "damaged" if report.damage else "ok",
    }


def _gap(gap: Gap) -> Row:
    return {"from": rfc3339(gap.from_ms), "to": rfc3339(gap.to_ms), "missing": gap.missing, "known": gap.known}
