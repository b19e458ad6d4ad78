"""How fast history loads: a million 1m candles from the local store, beside numpy's own files of the same arrays.

The candles are a seeded random walk in cents, with volumes of five decimals: what the store keeps in few bytes, but
not a series made to please it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from botd.domain.candles import Candles
from botd.market.store.candle_rows import candles_of, columns_of, fault_of
from botd.market.store.candle_store import CandleStore
from tests.bench.figures import Options, Row, median

ROWS = 1_000_000
SYMBOL = "BTC/USDT"
_BEGIN = 1_640_995_200_000  # 2022-01-01
_MINUTE = 60_000


def run(options: Options) -> list[Row]:
    """Return the figures."""
    rows = walk(ROWS)
    rounds = 3 if options.quick else 11
    with tempfile.TemporaryDirectory(prefix="botd-bench-") as folder:
        store = CandleStore(Path(folder) / "store")
        wrote = once(lambda: store.write(SYMBOL, "1m", rows))
        packed, plain = Path(folder) / "packed.npz", Path(folder) / "plain.npz"
        columns = dict(zip(("time", "open", "high", "low", "close", "volume"), columns_of(rows), strict=True))
        np.savez_compressed(packed, **columns)
        np.savez(plain, **columns)
        load, ours, theirs, raw = [], [], [], []
        for _ in range(rounds):  # in turns: the machine is everybody's
            load.append(once(lambda: store.load(SYMBOL, "1m")))
            theirs.append(once(lambda: whole(packed)))
            raw.append(once(lambda: whole(plain)))
            ours.append(once(lambda: store.load(SYMBOL, "1m", _BEGIN + 500_000 * _MINUTE, _BEGIN + 543_200 * _MINUTE)))
        size = store.lanes()[0].bytes
        verified = once(store.verify)
        larger = once(lambda: store.load(SYMBOL, "15m"))
        again = once(lambda: store.write(SYMBOL, "1m", rows))
        return [
            Row("load 1,000,000 candles", median(load) * 1e3, "ms", "npz, compressed", median(theirs) * 1e3, bound=100),
            Row("the same, beside no compression", median(load) * 1e3, "ms", "npz, plain", median(raw) * 1e3),
            Row("load a month of them", median(ours) * 1e3, "ms"),
            Row("a candle on disk", size / ROWS, "bytes", "npz, compressed", packed.stat().st_size / ROWS, bound=50),
            Row("made into 15m candles", larger * 1e3, "ms"),
            Row("write 1,000,000 candles", wrote * 1e3, "ms"),
            Row("write them again (nothing new)", again * 1e3, "ms"),
            Row("verify 1,000,000 candles", verified * 1e3, "ms"),
        ]


def walk(count: int) -> Candles:
    """Return a random walk of 1m candles."""
    rng = np.random.default_rng(7)
    close = np.maximum(np.cumsum(rng.normal(0, 2500, count)).round() + 6_000_000, 100_000)
    open_ = np.r_[close[:1], close[:-1]]
    up, down = (rng.exponential(1200, count).round() for _ in range(2))
    high, low = np.maximum(open_, close) + up, np.minimum(open_, close) - down
    prices = [cents / 100 for cents in (open_, high, np.maximum(low, 1), close)]
    volume = (rng.lognormal(3, 1, count) * 1e5).round() / 1e5
    rows = candles_of("1m", [_BEGIN + np.arange(count) * _MINUTE, *prices, volume])
    assert not fault_of(rows)
    return rows


def once(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def whole(path: Path) -> list[object]:
    """Return all arrays of a file of numpy's."""
    with np.load(path) as file:
        return [file[name] for name in file.files]
