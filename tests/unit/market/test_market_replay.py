"""Replay files: what loads, what is refused and how it is said, holes, and the real recordings."""

from __future__ import annotations

import asyncio
import gzip
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_world import (
    HEADER,
    MINUTE,
    T0,
    RecordingListener,
    World,
    csv_text,
    naive_buckets,
    real_file,
    rows_at,
    source_of,
)

from botd.domain.candle import Candle
from botd.domain.errors import BotdError, ConfigError
from botd.market.candles import candle_list
from botd.market.feed import Moment
from botd.market.simulated.replay import ReplaySource
from botd.market.simulated.replay_file import read_candles

BTC, ETH = "BTC/USDT", "ETH/USDT"


def load(folder: Path, text: str, interval: str = "1m") -> list[Candle]:
    path = folder / "file.csv"
    path.write_text(text)
    return candle_list(read_candles(path, interval).rows)


def play(source: ReplaySource) -> list[Moment]:
    return list(iter(source.next, None))


ROWS = rows_at([0, 1, 2])


@pytest.mark.parametrize(
    "text",
    [
        csv_text(ROWS),
        csv_text(ROWS, header=""),
        csv_text(ROWS, header="timestamp,Open,High,Low,Close,Volume\n"),
        csv_text(ROWS, header="\ufeff" + HEADER).replace("\n", "\r\n"),
        csv_text(ROWS) + "\n\n",
        csv_text(ROWS).rstrip("\n"),
        HEADER.replace("open_time_ms", '"open time"') + csv_text(ROWS, header=""),
        "symbol,volume,close,low,high,open,time\n"
        + "".join(f"X,{c.volume},{c.close},{c.low},{c.high},{c.open},{c.open_time // 1000}\n" for c in ROWS),
        "".join(
            f"{c.open_time},{c.open},{c.high},{c.low},{c.close},{c.volume},{c.open_time + 59_999},1.5,3,0.5,0.2,0\n"
            for c in ROWS
        ),
        "".join(
            f"{c.open_time * 1000},{c.open},{c.high},{c.low},{c.close},{c.volume},{c.open_time + 9},1.5,3,0.5,0.2,0\n"
            for c in ROWS
        ),
    ],
    ids=[
        "plain",
        "headerless",
        "names",
        "crlf+bom",
        "blank-lines",
        "no-newline",
        "quoted",
        "order+seconds",
        "binance12",
        "microseconds",
    ],
)
def test_every_usual_form_loads(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == ROWS


def test_milliseconds_may_turn_into_microseconds_within_a_file(tmp_path: Path) -> None:
    lines = csv_text(ROWS).splitlines()
    lines[2] = lines[2].replace(str(T0 + MINUTE), str((T0 + MINUTE) * 1000))
    assert load(tmp_path, "\n".join(lines)) == ROWS


def _line(text: str) -> str:
    return csv_text(ROWS) + text + "\n"


_AT3 = T0 + 3 * MINUTE


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the file is empty"),
        (HEADER, "no candles"),
        (_line(f"{_AT3},1,2,0.5,1.5"), "line 5: 5 columns instead of 6"),
        (_line(f"{_AT3},1,2,0.5,1.5,1,9"), "line 5: 7 columns instead of 6"),
        (_line(f"{_AT3},1,2,0.5,abc,1"), "line 5: 'abc' is not a number"),
        (_line(f"{_AT3},1,2,0.5,nan,1"), "line 5: a value is not a finite number"),
        (_line(f"{_AT3},1,2,0.5,,1"), "line 5: '' is not a number"),
        (_line(f"{_AT3},1,0.4,0.5,1.5,1"), "line 5: high is below low"),
        (_line(f"{_AT3},1,2,0.5,1.5,-1"), "line 5: the volume is negative"),
        (_line(f"{_AT3},0,2,0,1.5,1"), "line 5: a price is not above zero"),
        (_line(f"{T0 + 2 * MINUTE},1,2,0.5,1.5,1"), "line 5: .* there twice"),
        (_line(f"{T0 + MINUTE},1,2,0.5,1.5,1"), "line 5: .* comes after"),
        (_line(f"{T0 + 2 * MINUTE + 9},1,2,0.5,1.5,1"), "line 5: .* not a multiple of 1m"),
        ("\n" * 3 + _line("x"), "line 1: 1 columns and no header"),
        ("time,open,high,low,volume\n1,2,3,4,5\n", "line 1: no column named 'close'"),
        ("1,2,3\n", "line 1: 3 columns and no header"),
        ("\x00\x01\x02garbage", "no column named"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, text)
    assert caught.value.message.startswith(str(tmp_path / "file.csv"))
    assert "\n" not in caught.value.message and caught.value.hint


@pytest.mark.parametrize("interval, hint", [("5m", "set market.interval to 1m"), ("1h", "set market.interval to 1m")])
def test_a_longer_interval_than_the_files_is_refused(tmp_path: Path, interval: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="candles are 1 minutes apart") as caught:
        load(tmp_path, csv_text(rows_at(list(range(30)))), interval)
    assert caught.value.hint == hint


def test_a_shorter_interval_than_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"candles are 5 minutes apart, market\.interval is 1m") as caught:
        load(tmp_path, csv_text(rows_at(list(range(0, 50, 5)))))
    assert caught.value.hint == "set market.interval to 5m"


def test_broken_archives_and_absent_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "file.csv.gz"
    whole = gzip.compress(csv_text(rows_at(list(range(500)))).encode())
    for data, message in (
        (whole[: len(whole) // 2], "cut off"),
        (whole[:50] + b"\xff" * 50 + whole[100:], "damaged|cut off"),
        (b"\x1f\x8b", "cut off"),
        (b"PK\x03\x04rest", "zip archive"),
        (gzip.compress(b""), "empty"),
    ):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=message):
            read_candles(path, "1m")
    with pytest.raises(ConfigError, match="No such file"):
        read_candles(tmp_path / "absent.csv", "1m")
    with pytest.raises(ConfigError, match="directory"):
        read_candles(tmp_path, "1m")


@settings(deadline=None, max_examples=150)
@given(at=st.integers(0, 600), junk=st.binary(max_size=12))
def test_any_damage_is_either_harmless_or_a_plain_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    path = tmp_path_factory.mktemp("damage") / "file.csv"
    text = csv_text(rows_at(list(range(12)))).encode()
    path.write_bytes(text[:at] + junk + text[at + len(junk) :])
    try:
        rows = read_candles(path, "1m").rows
    except BotdError as error:
        assert error.code == "CONFIG"
    else:
        assert len(rows) <= 12


def test_candles_moved_off_the_grid_by_an_outage_are_set_back_and_counted(tmp_path: Path) -> None:
    rows = rows_at([0, 1, 2, 10, 11, 12])
    moved = rows[:3] + [Candle(c.open_time + 14_789, c.open, c.high, c.low, c.close, c.volume) for c in rows[3:]]
    path = tmp_path / "file.csv"
    path.write_text(csv_text(moved))
    file = read_candles(path, "1m")
    assert candle_list(file.rows) == rows and file.shifted == 3
    assert ReplaySource({BTC: path}, "1m").statistics()["shifted"] == {BTC: 3}


@pytest.mark.parametrize(
    "values, tick",
    [([1.5, 2.25], "0.01"), ([3.0, 10.0], "1"), ([0.00001234, 0.5], "1E-8"), ([64628.01, 0.1], "0.01"), ([0.3], "0.1")],
)
def test_tick_and_step_are_the_finest_decimals_seen(tmp_path: Path, values: list[float], tick: str) -> None:
    rows = [Candle(T0 + i * MINUTE, v, v, v, v, v) for i, v in enumerate(values)]
    path = tmp_path / "file.csv"
    path.write_text(
        HEADER + "".join(f"{c.open_time},{c.open:.8f},{c.high},{c.low},{c.close},{c.volume:.8f}\n" for c in rows)
    )
    instrument = ReplaySource({BTC: path}, "1m").instruments()[BTC]
    assert (instrument.tick, instrument.step, instrument.min_notional) == (Decimal(tick), Decimal(tick), 5)


def test_symbols_are_merged_by_time_in_the_order_of_the_configuration() -> None:
    source = source_of({ETH: rows_at([1, 2]), BTC: rows_at([0, 1])})
    told = [((m.time_ms - T0) // MINUTE, [s for s, _ in m.closed], [s for s, _ in m.opened]) for m in play(source)]
    assert told == [(0, [], [BTC]), (1, [BTC], [ETH, BTC]), (2, [ETH, BTC], [ETH]), (3, [ETH], [])]
    assert source.next() is None


@settings(deadline=None, max_examples=60)
@given(gone=st.sets(st.integers(0, 40), max_size=25), cursor=st.integers(-1, 60 * 45))
def test_a_seek_equals_the_rest_of_the_uninterrupted_run(gone: set[int], cursor: int) -> None:
    rows = {BTC: rows_at([m for m in range(44) if m not in gone]), ETH: rows_at(list(range(20, 30)))}
    source = source_of(rows)
    everything = play(source)
    at = T0 + cursor * 1000
    source.seek(at)
    assert play(source) == [moment for moment in everything if moment.time_ms > at]


@settings(deadline=None, max_examples=60)
@given(
    gone=st.sets(st.integers(0, 60), max_size=40), now=st.integers(0, 70), interval=st.sampled_from(["1m", "5m", "15m"])
)
def test_history_bar_numbers_and_completeness_follow_from_the_file(gone: set[int], now: int, interval: str) -> None:
    rows = rows_at([m for m in range(66) if m not in gone])
    source = source_of({BTC: rows})
    truth = naive_buckets(rows, interval)
    length = {"1m": 1, "5m": 5, "15m": 15}[interval] * MINUTE
    at = T0 + now * MINUTE
    assert candle_list(source.history(BTC, interval, at, 7)) == [c for c in truth if c.open_time + length <= at][-7:]
    assert source.bar_index(BTC, interval, at) == sum(c.open_time < at for c in truth)
    assert source.is_complete(BTC, interval, at) == any(c.open_time == at for c in truth)


@pytest.mark.parametrize("name", ["ohlcv/BTCUSDT-1m-2024-08.csv.gz", "klines12/BTCUSDT-1m-2024-08.csv.gz"])
def test_a_real_month_loads_whole(name: str) -> None:
    path = real_file(name)
    source = ReplaySource({BTC: path}, "1m")
    assert source.statistics()["rows"] == {BTC: 44_640} and source.statistics()["gaps"] == []
    assert source.instruments()[BTC].tick == Decimal("0.01")
    assert source.instruments()[BTC].step == Decimal("0.00001")


@pytest.mark.parametrize("kind", ["ohlcv", "klines12"])
@pytest.mark.parametrize(
    "name, rows, missing",
    [("BTCUSDT-1m-2018-02-07_12-outage", 6580, [2011, 15, 34]), ("BTCUSDT-1m-2023-03-23_25-outage", 4240, [80])],
)
def test_real_outages_replay_with_their_gaps_told_and_no_candle_invented(
    kind: str, name: str, rows: int, missing: list[int]
) -> None:
    path = real_file(f"{kind}/{name}.csv.gz")
    source = ReplaySource({BTC: path}, "1m")
    world = World(source, start=source.start_ms)
    base, larger = RecordingListener(), RecordingListener()
    world.manager.subscribe(BTC, "1m", base, 10)
    world.manager.subscribe(BTC, "15m", larger, 10)
    asyncio.run(world.play())
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    published = [line.split(",") for line in lines if line[0].isdigit()]
    assert [(c.open_time, c.close) for c in base.closed] == [(int(p[0]), float(p[4])) for p in published]
    assert len(base.closed) == rows
    assert [gap[4] for gap in world.gaps() if gap[1] == "1m"] == missing
    assert [gap["missing"] for gap in source.statistics()["gaps"]] == missing
    truth = naive_buckets(base.closed, "15m")
    assert [(c.open_time, c.high, c.low) for c in larger.closed] == [(c.open_time, c.high, c.low) for c in truth]


@pytest.mark.parametrize("name, interval", [("ETHUSDT-5m-2024-07_08", "5m"), ("BIFIUSDT-5m-2024-08-illiquid", "5m")])
def test_other_real_files_load(name: str, interval: str) -> None:
    source = ReplaySource({BTC: real_file(f"ohlcv/{name}.csv.gz")}, interval)
    assert source.statistics()["gaps"] == []
