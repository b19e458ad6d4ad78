"""Recorded outages, a crash and an illiquid market: no crash of the daemon, holes told once, no candle invented.

Expected trades come from the plain loop, on larger intervals over candles that this page puts together
itself: only those that miss none of the base candles.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_e2e_replay import OPTIONS, assert_same_trades, milliseconds
from tests.fakes.plain_loop import PlainTrade, Rows, play, signals

LENGTHS = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000}
BTC_STEP = 0.000001
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Wish:
    """A bot of a test; ``stops`` in the plain loop's words."""

    strategy: str
    interval: str
    symbol: str = "BTC/USDT"
    stops: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "-".join([self.strategy, self.interval, self.symbol.split("/")[0].lower(), *self.stops]).replace("_", "")


FLEET = (
    Wish("rsi", "1m", stops={"stop_loss": 0.02, "take_profit": 0.04}),
    Wish("breakout", "1m", stops={"trailing": 0.008}),
    Wish("macd", "5m"),
    Wish("mean_reversion", "15m", stops={"trailing": 0.015}),
    Wish("ema_cross", "1h", stops={"stop_loss": 0.03}),
)


def read(path: Path) -> list[list[str]]:
    """The candles of a file as text, without a header."""
    with gzip.open(path, "rt") as file:
        lines = [line.strip().split(",") for line in file]
    return lines if lines[0][0].isdigit() else lines[1:]


def rows_of(lines: list[list[str]]) -> Rows:
    columns = ([float(line[at]) for line in lines] for at in (1, 2, 3, 4))
    return Rows([int(line[0]) for line in lines], *columns)


def larger(rows: Rows, base: str, interval: str) -> Rows:
    """The candles of ``interval`` that miss no base candle."""
    length, per = LENGTHS[interval], LENGTHS[interval] // LENGTHS[base]
    buckets: dict[int, list[int]] = {}
    for at, time in enumerate(rows.time):
        buckets.setdefault(time // length * length, []).append(at)
    whole = {start: found for start, found in buckets.items() if len(found) == per}
    return Rows(
        list(whole),
        [rows.open[found[0]] for found in whole.values()],
        [max(rows.high[at] for at in found) for found in whole.values()],
        [min(rows.low[at] for at in found) for found in whole.values()],
        [rows.close[found[-1]] for found in whole.values()],
    )


def holes(time: list[int], length: int) -> list[tuple[int, int]]:
    """From the first candle that is missing to the next one that is there."""
    return [(one + length, two) for one, two in itertools.pairwise(time) if two - one != length]


def config(files: dict[str, Path], interval: str = "1m", step: float = BTC_STEP, **more: Any) -> dict[str, Any]:
    market = {"source": "replay", "files": {symbol: str(file) for symbol, file in files.items()}}
    return {
        "market": {**market, "interval": interval, "speed": 0, "autoplay": False},
        "instruments": {symbol: {"tick": "0.01", "step": f"{step:f}", "min_notional": "5"} for symbol in files},
        "paper": {"slippage": "0%"},
        "risk": {"preset": "off"},
        **more,
    }


def create(botd: Any, fleet: tuple[Wish, ...]) -> None:
    bots = [
        {
            "name": wish.name,
            "strategy": wish.strategy,
            "symbol": wish.symbol,
            "interval": wish.interval,
            "capital": 10000,
            **{OPTIONS[key].strip("-").replace("-", "_"): f"{value * 100:g}%" for key, value in wish.stops.items()},
        }
        for wish in fleet
    ]
    file = botd.config_file.parent / "fleet.json"
    file.write_text(json.dumps({"bots": bots}))
    botd.run("apply", "-f", str(file))
    botd.run("start", "--all")


def play_through(botd: Any) -> None:
    botd.run("market", "play")
    botd.run("wait", "--for", "market=ended", "--timeout", "60", timeout=70)


def expected(
    wish: Wish, base: str, rows: Rows, step: float = BTC_STEP, **costs: float
) -> tuple[Rows, list[PlainTrade]]:
    """The candles that the bot must have seen, and its trades."""
    lane = larger(rows, base, wish.interval)
    trades = play(lane, *signals(wish.strategy, lane), capital=10_000, step=step, **wish.stops, **costs)
    return lane, trades


def assert_played(
    botd: Any, fleet: tuple[Wish, ...], base: str, rows: dict[str, Rows], step: float = BTC_STEP, **costs: float
) -> int:
    """Hold candles, holes, equity points and trades against what the files say; return how many trades."""
    status = botd.json("market", "status")
    assert status["candles"] == sum(len(found.time) for found in rows.values())
    shown = {(gap["symbol"], gap["from_ms"], gap["to_ms"]): gap["missing"] for gap in status["gaps"]}
    length = LENGTHS[base]
    real = {(s, *hole): (hole[1] - hole[0]) // length for s in rows for hole in holes(rows[s].time, length)}
    assert shown == real
    assert len(status["gaps"]) == len(real)
    botd.until(botd.is_healthy, 20)
    told = [event["data"] for event in botd.json("events", "--topic", "market.gap")]
    count = 0
    lanes = {(symbol, base): found for symbol, found in rows.items()}
    ls = {row["name"]: row for row in botd.json("ls")}
    for wish in fleet:
        lane, trades = expected(wish, base, rows[wish.symbol], step, **costs)
        lanes[wish.symbol, wish.interval] = lane
        assert milliseconds(ls[wish.name]["last_candle"]) == lane.time[-1]
        points = [milliseconds(row["time"]) for row in botd.json("equity", wish.name)]
        assert points == [time + LENGTHS[wish.interval] for time in lane.time], wish.name
        assert_same_trades(botd.json("trades", wish.name), trades)
        count += len(trades)
    wanted = [
        (symbol, interval, *hole)
        for (symbol, interval), lane in lanes.items()
        for hole in holes(lane.time, LENGTHS[interval])
    ]
    assert Counter((d["symbol"], d["interval"], d["from_ms"], d["to_ms"]) for d in told) == Counter(wanted)
    return count


@pytest.mark.parametrize(
    "file",
    ["BTCUSDT-1m-2018-02-07_12-outage", "BTCUSDT-1m-2023-03-23_25-outage", "BTCUSDT-1m-2020-03-12_13-crash"],
)
def test_an_outage_is_played_as_it_was(make_botd: Any, data: Path, file: str) -> None:
    path = data / "ohlcv" / f"{file}.csv.gz"
    botd = make_botd(config({"BTC/USDT": path})).start()
    create(botd, FLEET)
    play_through(botd)
    rows = rows_of(read(path))
    assert assert_played(botd, FLEET, "1m", {"BTC/USDT": rows}) > 50
    for interval in LENGTHS:
        lane = larger(rows, "1m", interval)
        found = botd.json("candles", "BTC/USDT", "--interval", interval, "-n", "10000")
        assert [milliseconds(row["time"]) for row in found] == lane.time
        for key in ("open", "high", "low", "close"):
            assert [float(row[key]) for row in found] == getattr(lane, key), (interval, key)
    assert botd.stop() == 0


def test_binance_columns_give_the_same_in_milli_and_in_microseconds(make_botd: Any, data: Path, tmp_path: Path) -> None:
    """Three symbols in one market, two of them moved by whole days: the holes of one are no business of the others."""
    files = {"NEW/USDT": data / "klines12" / "BTCUSDT-1m-2023-03-23_25-outage.csv.gz"}
    rows = {"NEW/USDT": rows_of(read(files["NEW/USDT"]))}
    for symbol, name in {"OLD/USDT": "2018-02-07_12-outage", "CRASH/USDT": "2020-03-12_13-crash"}.items():
        lines = read(data / "klines12" / f"BTCUSDT-1m-{name}.csv.gz")
        days = (rows["NEW/USDT"].time[0] - int(lines[0][0])) // DAY_MS * DAY_MS
        for line in lines:
            line[0], line[6] = str(int(line[0]) + days), str(int(line[6]) + days)
        rows[symbol] = rows_of(lines)
        micro = [[f"{line[0]}000", *line[1:6], f"{line[6]}999", *line[7:]] for line in lines]
        files[symbol] = tmp_path / f"{name}.csv"
        files[symbol].write_text("".join(",".join(line) + "\n" for line in micro))
    fleet = (
        Wish("mean_reversion", "1m", "OLD/USDT", {"stop_loss": 0.01}),
        Wish("rsi", "5m", "CRASH/USDT", {"trailing": 0.03}),
        Wish("breakout", "1m", "CRASH/USDT"),
        Wish("macd", "15m", "NEW/USDT"),
    )
    botd = make_botd(config(files)).start()
    create(botd, fleet)
    play_through(botd)
    assert assert_played(botd, fleet, "1m", rows) > 50


def test_a_market_that_hardly_trades_gives_the_trades_of_the_plain_loop(make_botd: Any, data: Path) -> None:
    path, step = data / "ohlcv" / "BIFIUSDT-5m-2024-08-illiquid.csv.gz", 0.001
    fleet = (
        Wish("rsi", "5m", "BIFI/USDT", {"stop_loss": 0.02, "take_profit": 0.03}),
        Wish("mean_reversion", "15m", "BIFI/USDT", {"trailing": 0.02}),
        Wish("ema_cross", "1h", "BIFI/USDT"),
    )
    botd = make_botd(config({"BIFI/USDT": path}, "5m", step)).start()
    create(botd, fleet)
    play_through(botd)
    assert assert_played(botd, fleet, "5m", {"BIFI/USDT": rows_of(read(path))}, step) > 50


def test_slippage_fees_and_limits_as_they_are_by_default(make_botd: Any, data: Path) -> None:
    """Slippage 0.05 %, fees 0.1 %, risk preset paper; targets pay no slippage. Several bots on one lane."""
    path = data / "ohlcv" / "BTCUSDT-1m-2020-03-12_13-crash.csv.gz"
    fleet = (
        Wish("ema_cross", "1m"),
        Wish("breakout", "1m"),
        Wish("ema_cross", "5m", stops={"take_profit": 0.02, "trailing": 0.01}),
        Wish("rsi", "1m", stops={"stop_loss": 0.006, "take_profit": 0.02, "trailing": 0.008}),
        Wish("macd", "1m", stops={"take_profit": 0.005, "trailing": 0.0004}),
    )
    plain = config({"BTC/USDT": path})
    botd = make_botd({key: plain[key] for key in ("market", "instruments")}).start()
    create(botd, fleet)
    play_through(botd)
    assert assert_played(botd, fleet, "1m", {"BTC/USDT": rows_of(read(path))}, slippage=0.0005) > 200
    reasons = Counter(row["exit_reason"] for row in botd.json("trades"))
    assert {"signal", "stop_loss", "trailing_stop", "take_profit"} <= set(reasons)


def test_a_restart_in_the_middle_of_an_outage_file_changes_nothing(make_botd: Any, data: Path) -> None:
    path = data / "ohlcv" / "BTCUSDT-1m-2023-03-23_25-outage.csv.gz"
    values = config({"BTC/USDT": path})
    values["market"]["speed"] = 30_000  # 500 candles a second: at full speed it may end before it is stopped
    botd = make_botd(values).start()
    create(botd, FLEET)
    botd.run("market", "play")
    for part in (1000, 2500):
        botd.until(lambda part=part: botd.json("market", "status")["candles"] >= part, 30)
        assert botd.json("market", "status")["state"] == "playing"
        assert botd.stop() == 0
        botd.start()
    botd.run("wait", "--for", "market=ended", "--timeout", "60", timeout=70)
    assert assert_played(botd, FLEET, "1m", {"BTC/USDT": rows_of(read(path))}) > 50
