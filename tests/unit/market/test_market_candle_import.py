"""Files into the store: only closed candles, each file whole or not at all, real archives."""

from __future__ import annotations

import gzip
import tracemalloc
import zipfile
from pathlib import Path
from threading import Thread

import pytest
from market_world import real_file

from botd.domain.candle import Candle
from botd.domain.clock import VirtualClock
from botd.domain.errors import NotFoundError
from botd.market.candles import window_of
from botd.market.store import candle_import
from botd.market.store.candle_import import files_in, import_files
from botd.market.store.candle_store import CandleStore

MINUTE = 60_000
T0 = 1_722_470_400_000
BTC = "BTC/USDT"


def imported(store: CandleStore, *files: Path, now: int = T0 * 2) -> list[dict]:
    clock = VirtualClock(now)
    return import_files(store, list(files), BTC, "1m", clock, replace=False, tell=lambda *_: None)


def test_a_candle_that_is_not_closed_yet_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("".join(f"{T0 + m * MINUTE},1,2,0.5,1.5,3\n" for m in range(10)))
    store = CandleStore(tmp_path / "store")
    # at 00:09:01 the candle of 00:08 closed a second ago: that is no proof yet
    (row,) = imported(store, path, now=T0 + 9 * MINUTE + 1000)
    assert (row["rows"], row["not_closed"]) == (8, 2)
    (row,) = imported(store, path, now=T0 + 9 * MINUTE + 2000)
    assert (row["added"], row["equal"], row["not_closed"]) == (1, 8, 1)


def test_a_folder_gives_its_files_in_order_without_those_of_others(tmp_path: Path) -> None:
    names = ["BTCUSDT-1m-2024-02.zip", "BTCUSDT-1m-2024-01.zip", "BTCUSDT-5m-2024-01.zip", "own.csv", "notes.txt"]
    for name in [*names, "BTCUSDT-1m-2024-01.zip.CHECKSUM"]:
        (tmp_path / name).touch()
    files, others = files_in([tmp_path], BTC, "1m")
    assert [path.name for path in files] == ["BTCUSDT-1m-2024-01.zip", "BTCUSDT-1m-2024-02.zip", "own.csv"]
    assert [path.name for path in others] == ["BTCUSDT-5m-2024-01.zip"]
    with pytest.raises(NotFoundError, match="no file of ETH/USDT 1h among 3"):
        (tmp_path / "own.csv").unlink()
        files_in([tmp_path], "ETH/USDT", "1h")


def test_binances_own_columns_and_ours_give_the_same_candles(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    name = "BTCUSDT-1m-2023-03-23_25-outage.csv.gz"
    first, second = imported(store, real_file(f"klines12/{name}"), real_file(f"ohlcv/{name}"))
    assert first["added"] == second["equal"] == 4240 and second["added"] == 0
    assert [gap.missing for gap in store.gaps(BTC, "1m")] == [80]


def test_no_file_may_hold_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small it is packed: what unpacks without end takes no more memory than the limit."""
    text = "".join(f"{T0 + m * MINUTE},1,2,0.5,1.5,3\n" for m in range(10)).encode()
    large = text + b"0" * (64 << 20)
    monkeypatch.setattr(candle_import, "_MOST_BYTES", 1 << 20)
    for number, content in enumerate((text, large)):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("rows.csv", content)
        (tmp_path / f"{number}.csv.gz").write_bytes(gzip.compress(content))
        (tmp_path / f"{number}.csv").write_bytes(content)
    store = CandleStore(tmp_path / "store")
    names = [f"{number}.{kind}" for number in (0, 1) for kind in ("csv", "csv.gz", "zip")]
    tracemalloc.start()
    packed = imported(store, *(tmp_path / name for name in names if not name.endswith("csv")))
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
    told = [row["error"] and row["error"]["message"] for row in packed]
    assert told == [None, None, *(f"{tmp_path / name}: holds more than 0 GiB" for name in ("1.csv.gz", "1.zip"))]
    plain = imported(store, *(tmp_path / name for name in names if name.endswith("csv")))
    assert [row["error"] and row["error"]["hint"] for row in plain] == [None, "import it in parts"]


def test_two_writers_take_turns(tmp_path: Path) -> None:
    def write(begin: int) -> None:
        for minute in range(begin, 60, 2):
            row = Candle(T0 + minute * MINUTE, 1.0, 2.0, 0.5, 1.5, 3.0)
            CandleStore(tmp_path).write(BTC, "1m", window_of("1m", [row]))

    threads = [Thread(target=write, args=(begin,)) for begin in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = CandleStore(tmp_path)
    assert len(store.load(BTC, "1m")) == 60 and not store.gaps(BTC, "1m") and not store.verify()[0].damage
