"""The candle store: what goes in comes out, to the last bit; overlaps, holes, damage, writers that die."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_world import real_file

from botd.domain.candle import interval_ms
from botd.domain.candles import Candles, complete_buckets
from botd.domain.errors import BotdError, ConfigError, ConflictError, ForbiddenError, InvalidError, NotFoundError
from botd.market.simulated.replay_file import read_candles
from botd.market.store import candle_lane
from botd.market.store.candle_codec import DamageError, blank, decode, encode, header_of
from botd.market.store.candle_rows import candles_of, columns_of, union, without
from botd.market.store.candle_store import CandleStore, StoredLane, Written

MINUTE = 60_000
T0 = 1_722_470_400_000  # 2024-08-01
BTC = "BTC/USDT"


def rows_of(minutes: list[int], interval: str = "1m", shift: float = 0.0) -> Candles:
    """Candles at so many intervals after T0; prices follow from the time alone, plus ``shift``."""
    time = T0 + np.array(minutes, dtype=np.int64) * interval_ms(interval)
    at = (time // MINUTE % 1000).astype(np.float64)
    open_, close = np.round(100 + at / 100, 2), np.round(100.5 + at / 100 + shift, 2)
    high, low = np.round(np.maximum(open_, close) + 0.07, 2), np.round(np.minimum(open_, close) - 0.11, 2)
    return candles_of(interval, [time, open_, high, low, close, np.round(at / 7, 5)])


def same(a: Candles, b: Candles) -> bool:
    pairs = zip(columns_of(a), columns_of(b), strict=True)
    return a.interval == b.interval and all(np.array_equal(x, y) for x, y in pairs)


def round_trip(rows: Candles) -> Candles:
    data = encode(rows, "binance", BTC)
    header, at = header_of(data)
    out = blank(header.rows)
    decode(data, header, at, out)
    return candles_of(header.interval, out)


@pytest.fixture
def store(tmp_path: Path) -> CandleStore:
    return CandleStore(tmp_path / "data")


def chunk_files(store: CandleStore) -> list[Path]:
    return sorted(store.data_dir.rglob("*.candles"))


# -- the codec -----------------------------------------------------------------------------------------------


@st.composite
def candle_rows(draw: st.DrawFn) -> Candles:
    """Rows with holes; prices of some decimals, or any floats at all."""
    missed = draw(st.lists(st.integers(0, 3) | st.integers(0, 100_000), min_size=1, max_size=40))
    decimals = draw(st.none() | st.integers(0, 12))
    top = draw(st.sampled_from([1e-6, 1.0, 1e5, 1e15]))
    floats = st.floats(top / 1e6, top, allow_nan=False)
    price = floats if decimals is None else floats.map(lambda value: max(round(value, decimals), 10.0**-decimals))
    time = T0 + (np.cumsum(np.array(missed, dtype=np.int64) + 1)) * MINUTE
    four = np.sort(np.array([[draw(price) for _ in range(4)] for _ in missed]), axis=1)
    low, open_, close, high = (np.ascontiguousarray(column) for column in four.T)
    volume = np.array([draw(st.just(0.0) | st.floats(0, 1e12)) for _ in missed])
    return candles_of("1m", [time, open_, high, low, close, volume])


@settings(max_examples=150, deadline=None)
@given(candle_rows())
def test_any_candles_come_back_to_the_last_bit(rows: Candles) -> None:
    assert same(round_trip(rows), rows)


@settings(max_examples=60, deadline=None)
@given(candle_rows(), st.data())
def test_a_flipped_byte_anywhere_is_noticed(rows: Candles, data: st.DataObject) -> None:
    good = encode(rows, "binance", BTC)
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises((DamageError, ConfigError)):
        header_of(bytes(bad))


def test_candles_cost_a_few_bytes() -> None:
    rng = np.random.default_rng(1)
    close = np.cumsum(rng.normal(0, 2000, 44_640)).round() / 100 + 60_000
    open_ = np.r_[close[:1], close[:-1]]
    spread = rng.exponential(10, (2, len(close))).round(2)
    high, low = np.maximum(open_, close) + spread[0], np.minimum(open_, close) - spread[1]
    columns = [column.round(2) for column in (open_, high, low, close)]
    time = T0 + np.arange(len(close)) * MINUTE
    rows = candles_of("1m", [time, *columns, rng.lognormal(3, 1, len(close)).round(5)])
    assert len(encode(rows, "binance", BTC)) / len(rows) < 12  # 48 in memory


# -- write and load ------------------------------------------------------------------------------------------


def test_what_was_written_is_loaded_across_months_and_years(store: CandleStore) -> None:
    rows = rows_of(list(range(0, 200_000, 7)))
    assert store.write(BTC, "1m", rows) == Written(added=len(rows))
    assert same(store.load(BTC, "1m"), rows)
    assert [path.name.partition(".")[0] for path in chunk_files(store)] == [f"2024-{m:02d}" for m in range(8, 13)]
    assert not store.load(BTC, "1m").close.flags.writeable


@pytest.mark.parametrize("interval", ["1m", "15m", "1h", "1d"])
def test_every_interval_has_its_lane(store: CandleStore, interval: str) -> None:
    rows = rows_of(list(range(1000)), interval)
    store.write(BTC, interval, rows)
    assert same(store.load(BTC, interval), rows)


def test_a_part_is_from_the_first_open_time_to_before_the_last(store: CandleStore) -> None:
    store.write(BTC, "1m", rows_of(list(range(100_000))))
    part = store.load(BTC, "1m", T0 + 40_000 * MINUTE - 1, T0 + 50_000 * MINUTE)
    assert same(part, rows_of(list(range(40_000, 50_000))))
    assert len(store.load(BTC, "1m", T0 - 9 * MINUTE, T0)) == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.integers(0, 90_000), min_size=1, max_size=30), min_size=1, max_size=5))
def test_overlapping_writes_are_the_union_in_any_order(tmp_path_factory: pytest.TempPathFactory, parts) -> None:
    store = CandleStore(tmp_path_factory.mktemp("store"))
    seen: set[int] = set()
    for part in parts:
        written = store.write(BTC, "1m", rows_of(sorted(part)))
        assert written == Written(added=len(part - seen), equal=len(part & seen))
        seen |= part
    assert same(store.load(BTC, "1m"), rows_of(sorted(seen)))
    expected = sorted(seen)
    told = [((g.from_ms - T0) // MINUTE, (g.to_ms - T0) // MINUTE) for g in store.gaps(BTC, "1m")]
    assert told == [(a + 1, b) for a, b in pairwise(expected) if b != a + 1]
    assert not store.verify()[0].damage


def test_the_same_again_writes_no_file(store: CandleStore) -> None:
    store.write(BTC, "1m", rows_of(list(range(1000))))
    before = chunk_files(store)
    assert store.write(BTC, "1m", rows_of(list(range(300, 700)))) == Written(equal=400)
    assert chunk_files(store) == before


def test_a_row_that_differs_is_refused_with_its_name_and_nothing_is_stored(store: CandleStore) -> None:
    store.write(BTC, "1m", rows_of(list(range(100))))
    # the second month is new, the first has the conflict: neither is written
    with pytest.raises(ConflictError, match=r"BTC/USDT 1m 2024-08-01T00:50:00Z: high is .* in the store and .* now"):
        store.write(BTC, "1m", rows_of([50, 60, 50_000], shift=1.0))
    assert same(store.load(BTC, "1m"), rows_of(list(range(100))))


def test_replace_takes_the_new_rows(store: CandleStore) -> None:
    store.write(BTC, "1m", rows_of(list(range(100))))
    assert store.write(BTC, "1m", rows_of([50, 100], shift=1.0), replace=True) == Written(added=1, replaced=1)
    assert store.load(BTC, "1m").close[50] == rows_of([50], shift=1.0).close[0]


def bad(field: str, value: float) -> Candles:
    rows = rows_of([0, 1, 2])
    columns = dict(zip(("time", "open", "high", "low", "close", "volume"), map(np.copy, columns_of(rows)), strict=True))
    columns[field][1] = value
    return candles_of("1m", list(columns.values()))


@pytest.mark.parametrize(
    ("field", "value", "fact"),
    [
        ("close", float("nan"), "not a finite number"),
        ("low", 0.0, "not above zero"),
        ("high", 1.0, "outside low and high"),
        ("volume", -1.0, "negative volume"),
        ("time", T0, "does not come after the one before"),
        ("time", T0 + MINUTE + 1, "multiple of 1m"),
    ],
)
def test_what_is_no_candle_is_refused(store: CandleStore, field: str, value: float, fact: str) -> None:
    with pytest.raises(InvalidError, match=fact):
        store.write(BTC, "1m", bad(field, value))
    assert store.lanes() == []


def test_an_unknown_lane_names_the_download(store: CandleStore) -> None:
    with pytest.raises(NotFoundError) as caught:
        store.load("ETH/USDT", "5m")
    assert "botctl data download --symbol ETH/USDT --interval 5m" in caught.value.hint


@pytest.mark.parametrize("symbol", ["BTCUSDT", "../USDT", "btc/usdt", "A/B/C", "/"])
def test_a_symbol_never_leaves_the_folder(store: CandleStore, symbol: str) -> None:
    with pytest.raises(InvalidError, match="not a symbol"):
        store.write(symbol, "1m", rows_of([0]))


def test_larger_candles_are_made_of_stored_smaller_ones_where_complete(store: CandleStore) -> None:
    minutes = [m for m in range(600) if m != 137]
    store.write(BTC, "1m", rows_of(minutes))
    found = store.load(BTC, "5m")
    assert same(found, complete_buckets(rows_of(minutes), "5m")) and len(found) == 119
    # 5m candles that open in [00:07, 00:22) are those of 00:10, 00:15 and 00:20
    part = store.load(BTC, "5m", T0 + 7 * MINUTE, T0 + 22 * MINUTE)
    assert part.time.tolist() == [T0 + m * MINUTE for m in (10, 15, 20)]


def test_what_is_stored_itself_wins_over_what_could_be_made(store: CandleStore) -> None:
    store.write(BTC, "1m", rows_of(list(range(60))))
    store.write(BTC, "5m", rows_of([100], "5m"))
    assert same(store.load(BTC, "5m"), rows_of([100], "5m"))


def test_lanes_are_told_with_rows_gaps_and_size(store: CandleStore) -> None:
    store.write(BTC, "1m", rows_of([0, 1, 5, 50_000]))
    CandleStore(store.data_dir, "kraken").write("ETH/USDT", "1h", rows_of([0], "1h"))
    first, second = store.lanes()
    assert first.lane == StoredLane("binance", BTC, "1m") and second.lane == StoredLane("kraken", "ETH/USDT", "1h")
    assert (first.first_ms, first.last_ms, first.rows, first.files) == (T0, T0 + 50_000 * MINUTE, 4, 2)
    assert [gap.missing for gap in first.gaps] == [3, 49_994]
    assert first.bytes == sum(path.stat().st_size for path in chunk_files(store) if "BTC-USDT" in str(path))


def test_what_was_asked_for_is_a_known_gap_and_not_missing(store: CandleStore) -> None:
    store.write(BTC, "1m", rows_of([0, 1, 5, 9]), asked=(T0, T0 + 6 * MINUTE))
    assert [gap.known for gap in store.gaps(BTC, "1m")] == [True, False]
    missing = store.missing(BTC, "1m", T0 - 2 * MINUTE, T0 + 12 * MINUTE)
    assert missing == [(T0 + a * MINUTE, T0 + b * MINUTE) for a, b in ((-2, 0), (6, 9), (10, 12))]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))),
)
def test_spans_are_sets_of_points(some: list[tuple[int, int]], taken: list[tuple[int, int]]) -> None:
    def points(spans: list[tuple[int, int]]) -> set[int]:
        return {point for a, b in spans for point in range(a, b)}

    assert points(union(some)) == points(some)
    assert points(without(some, taken)) == points(some) - points(taken)
    assert union(without(some, taken)) == without(some, taken)


# -- damage --------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(store: CandleStore) -> CandleStore:
    """Two months, August and September."""
    store.write(BTC, "1m", rows_of(list(range(0, 80_000, 5))), asked=(T0, T0 + 80_000 * MINUTE))
    return store


def flip(path: Path, place: int = -100) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 10)


def swap(path: Path) -> None:
    """A file that is sound in itself, but another one."""
    path.write_bytes(encode(rows_of([3]), "binance", BTC))


@pytest.mark.parametrize("harm", [flip, truncate, swap, os.unlink])
def test_a_damaged_file_is_never_loaded_and_is_named(filled: CandleStore, harm) -> None:
    path = chunk_files(filled)[0]
    harm(path)
    with pytest.raises(DamageError, match=path.name) as caught:
        filled.load(BTC, "1m")
    assert "botctl data verify --repair" in caught.value.hint
    (report,) = filled.verify()
    assert [item.file for item in report.damage] == [path.name]
    # the other month is as good as before
    assert len(filled.load(BTC, "1m", T0 + 50_000 * MINUTE)) == 6000


@pytest.mark.parametrize("harm", [flip, truncate, os.unlink])
def test_repair_sets_the_damage_aside_and_it_is_missing_then(filled: CandleStore, harm) -> None:
    harm(chunk_files(filled)[0])
    (report,) = filled.verify()
    aside = filled.repair(report.lane)
    assert len(aside) == (harm is not os.unlink) and all(path.exists() for path in aside)
    assert not filled.verify()[0].damage
    september = 31 * 1440
    assert filled.load(BTC, "1m").time[0] == T0 + september * MINUTE
    # August's last row was that of minute 44,635: up to there the download asks again
    assert filled.missing(BTC, "1m", T0, T0 + 80_000 * MINUTE) == [(T0, T0 + 44_636 * MINUTE)]
    filled.write(BTC, "1m", rows_of(list(range(0, 80_000, 5))))
    assert same(filled.load(BTC, "1m"), rows_of(list(range(0, 80_000, 5))))


@pytest.mark.parametrize("harm", [lambda path: flip(path, 60), truncate, lambda path: path.write_bytes(b"")])
def test_a_damaged_manifest_is_noticed_and_made_anew(filled: CandleStore, harm) -> None:
    rows = filled.load(BTC, "1m")
    (manifest,) = filled.data_dir.rglob("manifest.json")
    harm(manifest)
    with pytest.raises(DamageError, match=r"manifest\.json"):
        filled.load(BTC, "1m")
    assert filled.lanes()[0].damage  # told, and the list still comes
    (report,) = filled.verify()
    assert [item.file for item in report.damage] == ["manifest.json"]
    assert filled.repair(report.lane) == []
    assert same(filled.load(BTC, "1m"), rows)


def test_files_of_a_newer_botd_are_left_alone(filled: CandleStore) -> None:
    path = chunk_files(filled)[0]
    path.write_bytes(path.read_bytes().replace(b"botd-candles 1", b"botd-candles 2", 1))
    with pytest.raises(ConfigError, match="newer botd"):
        filled.load(BTC, "1m")
    with pytest.raises(ConfigError, match="newer botd"):
        filled.repair(StoredLane("binance", BTC, "1m"))
    assert path.exists()


@pytest.mark.parametrize("steps", range(6))
def test_a_writer_that_dies_at_any_step_leaves_the_old_or_the_new(filled: CandleStore, monkeypatch, steps: int) -> None:
    """The write does: file, file, folder, manifest, folder. Each step may be the last one."""
    before, after = rows_of(list(range(0, 80_000, 5))), rows_of(list(range(80_000)))
    count = iter(range(100))

    class Killed(BaseException):
        pass

    def dying(original):
        def step(*args):
            if next(count) == steps:
                if original is write:
                    (args[0].path / f".{args[1]}.tmp").write_bytes(args[2][: len(args[2]) // 2])
                raise Killed
            return original(*args)

        return step

    write, sync = candle_lane.LaneFolder._write, candle_lane.LaneFolder._sync
    monkeypatch.setattr(candle_lane.LaneFolder, "_write", dying(write))
    monkeypatch.setattr(candle_lane.LaneFolder, "_sync", dying(sync))
    if steps < 5:
        with pytest.raises(Killed):
            filled.write(BTC, "1m", after)
    else:
        filled.write(BTC, "1m", after)
    monkeypatch.undo()
    fresh = CandleStore(filled.data_dir)
    assert not fresh.verify()[0].damage
    assert same(fresh.load(BTC, "1m"), before if steps < 4 else after)
    fresh.write(BTC, "1m", rows_of(list(range(80_001))))
    assert same(fresh.load(BTC, "1m"), rows_of(list(range(80_001))))
    left = {path.name for path in filled.data_dir.rglob("*") if path.is_file()}
    assert len(left) == 4 and not any(name.endswith(".tmp") for name in left)  # two months, manifest, lock


def test_a_reader_beside_a_writer_sees_a_whole_state(filled: CandleStore, monkeypatch) -> None:
    """The writer replaces every file between the reader's look at the manifest and its look at the files."""
    after = rows_of(list(range(80_000)))
    original, looks = candle_lane.LaneFolder.manifest, []

    def manifest(folder):
        found = original(folder)
        looks.append(found.generation)
        if len(looks) == 1:
            CandleStore(filled.data_dir).write(BTC, "1m", after)
        return found

    monkeypatch.setattr(candle_lane.LaneFolder, "manifest", manifest)
    assert same(filled.load(BTC, "1m"), after)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_a_matter_of_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ForbiddenError):
        CandleStore(tmp_path / "data").write(BTC, "1m", rows_of([0]))


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(BotdError, match="data"):
        CandleStore(tmp_path / "data").write(BTC, "1m", rows_of([0]))


# -- real files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["BTCUSDT-1m-2018-02-07_12-outage", "BTCUSDT-1m-2024-08", "BTCUSDT-1d-2024"])
def test_real_candles_come_back_to_the_last_bit(store: CandleStore, name: str) -> None:
    interval = name.split("-")[1]
    rows = read_candles(real_file(f"ohlcv/{name}.csv.gz"), interval).rows
    store.write(BTC, interval, rows)
    assert same(store.load(BTC, interval), rows)
    assert store.lanes()[0].bytes / len(rows) < 20
