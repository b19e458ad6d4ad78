"""A whole backtest: its figures, its rows, and what it says of candles and strategies that are not sound."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from botd.backtest.history import from_candles, from_file, from_store, part
from botd.backtest.run import Result, backtest
from botd.backtest.terms import Terms
from botd.domain.candles import Candles
from botd.domain.clock import VirtualClock
from botd.domain.errors import InvalidError, NotFoundError
from botd.domain.instrument import Instrument
from botd.market.store.candle_store import CandleStore
from botd.report.statistics import Account, Curve, statistics
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.registry import StrategyInfo
from tests.unit.backtest.conftest import walk
from tests.unit.report.test_report_statistics import STATS_KEYS

BTC = "BTC/USDT"
STOPS = Terms(stop_loss=Decimal("0.02"), take_profit=Decimal("0.04"))


class Scripted(SignalStrategy):
    """Says what it is given."""

    def __init__(self, enter: Any, leave: Any = None, warm: int = 1) -> None:
        super().__init__()
        self.enter, self.leave, self.warm = enter, leave, warm

    def warmup(self) -> int:
        return self.warm

    def signals(self, candles: Candles) -> Signals:
        nothing = np.zeros(len(candles), dtype=bool)
        enter = self.enter(candles) if callable(self.enter) else self.enter
        return Signals(enter=enter, exit=nothing if self.leave is None else self.leave)


def run(rows: Candles, strategy: Any, terms: Terms = STOPS, begin: int = 0) -> Result:
    return backtest(from_candles(rows, BTC, begin=begin), "mine", strategy, terms, VirtualClock())


def changed(rows: Candles, row: int, **values: float) -> Candles:
    columns = {name: getattr(rows, name).copy() for name in values}
    for name, value in values.items():
        columns[name][row] = value
    return msgspec.structs.replace(rows, **columns)


# -- figures


def test_the_row_has_the_keys_of_the_contract(rsi: StrategyInfo, candles: Candles) -> None:
    row = run(candles, rsi.build({})).row()
    more = "candles first last seconds candles_per_s buy_and_hold_pct"
    assert sorted(row) == sorted(["name", *STATS_KEYS.split(), *more.split()])
    assert (row["candles"], row["first"], row["last"]) == (5000, "2024-01-01T00:00:00Z", "2024-01-04T11:19:00Z")
    assert row["buy_and_hold_pct"] == pytest.approx(100 * (candles.close[-1] / candles.open[0] - 1))
    assert row["trades"] == row["wins"] + row["losses"] > 5


@pytest.mark.parametrize("terms", [STOPS, Terms(), Terms(fraction=Decimal("0.2"), trailing_stop=Decimal("0.01"))])
@pytest.mark.parametrize("seed", range(6))
def test_the_compiled_sums_give_the_figures_of_the_report(rsi: StrategyInfo, seed: int, terms: Terms) -> None:
    assert_figures_of_the_report(run(walk(3000 + seed, seed), rsi.build({"period": 5 + seed}), terms))


@pytest.mark.parametrize("fee", ["0", "0.001"])
def test_they_do_where_prices_stand_still_and_where_nothing_happens(fee: str) -> None:
    rows = walk(50)
    still = Candles("1m", rows.time, *(np.full(50, 100.0) for _ in range(4)), rows.volume)
    free = Terms(maker_fee=Decimal(fee), taker_fee=Decimal(fee), slippage=Decimal(0))
    for rows_there in (still, rows):
        for enter in (np.arange(50) == 3, np.zeros(50, bool), np.ones(50, bool)):
            assert_figures_of_the_report(run(rows_there, Scripted(enter), free))


def assert_figures_of_the_report(result: Result) -> None:
    trades = result.trades()
    is_open = bool(trades) and trades[-1].exit_reason == "end_of_data"
    closed = trades[:-1] if is_open else trades
    realized = sum((trade.pnl for trade in closed), Decimal(0)) - (trades[-1].fees if is_open else 0)
    equity = Decimal(repr(float(result.equity[-1])))
    sold = sum((trade.quantity * trade.exit_price for trade in closed), Decimal(0))
    account = Account(
        capital=result.terms.capital,
        realized_pnl=realized,
        unrealized_pnl=equity - result.terms.capital - realized,
        equity=equity,
        fees=sum((trade.fees for trade in trades), Decimal(0)),
        traded=sold + sum((trade.quantity * trade.entry_price for trade in trades), Decimal(0)),
        skipped_min_notional=result.statistics["skipped_min_notional"],
    )
    expected = statistics(Curve(result.time, result.equity, result.exposure), trades, account, "1m")
    assert list(result.statistics) == list(expected)
    for key, value in expected.items():
        found = result.statistics[key]
        if isinstance(value, str):
            found, value = float(found), float(value)
            assert found == pytest.approx(value, rel=1e-9, abs=2e-7), key
        elif isinstance(value, float):
            assert found == pytest.approx(value, rel=1e-9, abs=1e-9), key
        else:
            assert found == value, key


def test_the_trade_list_has_exact_quantities_and_an_open_position_as_its_last_row(candles: Candles) -> None:
    result = run(candles, Scripted(np.arange(5000) % 700 == 10), Terms(trailing_stop=Decimal("0.03")))
    rows = result.trade_list()
    keys = "bot symbol side quantity entry_time exit_time entry_price exit_price pnl return_pct fees exit_reason bars"
    assert all(list(row) == keys.split() for row in rows)
    assert all(Decimal(row["quantity"]) % Decimal("0.001") == 0 for row in rows)
    assert rows[-1]["exit_reason"] == "end_of_data" and rows[-1]["exit_time"] is None
    assert {row["exit_reason"] for row in rows[:-1]} == {"trailing_stop"}
    assert result.row()["trades"] == len(rows) - 1


def test_candles_before_the_begin_warm_up_and_are_not_traded(rsi: StrategyInfo, candles: Candles) -> None:
    whole = from_candles(candles, BTC)
    late = run(candles, rsi.build({}), begin=3000)
    assert (len(late.time), len(late.equity), int(late.time[0])) == (2000, 2000, int(candles.time[3000]))
    assert late.row()["buy_and_hold_pct"] == pytest.approx(100 * (candles.close[-1] / candles.open[3000] - 1))
    cut = backtest(part(whole, 3000, 5000), "mine", rsi.build({}), STOPS, VirtualClock())
    assert cut.statistics == late.statistics
    shorter = backtest(part(whole, 3000, 4000), "mine", rsi.build({}), STOPS, VirtualClock())
    np.testing.assert_array_equal(shorter.equity, late.equity[:1000])


def test_an_atr_stop_of_a_late_begin_knows_the_candles_before(candles: Candles) -> None:
    terms = Terms(atr_stop=Decimal(1))
    enter = np.arange(5000) == 3000
    late, whole = run(candles, Scripted(enter), terms, begin=3000), run(candles, Scripted(enter), terms)
    assert [trade.exit_price for trade in late.trades()] == [trade.exit_price for trade in whole.trades()]


def test_the_store_gives_a_span_and_what_comes_before_it_for_the_indicators(tmp_path: Path, candles: Candles) -> None:
    store = CandleStore(tmp_path)
    store.write(BTC, "1m", candles)
    span = {"from_ms": int(candles.time[1000]), "to_ms": int(candles.time[2000])}
    history = from_store(store, BTC, "1m", **span, warmup=100)
    assert (history.begin, len(history.candles), int(history.candles.time[0])) == (100, 1100, int(candles.time[900]))
    assert from_store(store, BTC, "1m", **span, warmup=4000).begin == 1000
    assert history.instrument.step == Decimal("0.001")
    with pytest.raises(InvalidError, match="BTC/USDT 1m: no candles in that time"):
        from_store(store, BTC, "1m", from_ms=int(candles.time[-1]) + 60_000)
    with pytest.raises(NotFoundError, match="no 1m candles of ETH/USDT"):
        from_store(store, "ETH/USDT", "1m")


# -- what is refused, and what is told


@pytest.mark.parametrize(
    ("spoil", "fact"),
    [
        (lambda rows: changed(rows, 7, close=math.nan), "2024-01-01T00:07:00Z has a value that is not a finite number"),
        (lambda rows: changed(rows, 7, high=math.inf), "not a finite number"),
        (lambda rows: changed(rows, 7, high=1.0, low=99.0), "opens or closes outside low and high"),
        (lambda rows: changed(rows, 7, low=-1.0), "has a price that is not above zero"),
        (lambda rows: changed(rows, 7, volume=-1.0), "has a negative volume"),
        (lambda rows: changed(rows, 7, time=int(rows.time[6])), "does not come after the one before"),
        (lambda rows: changed(rows, 7, time=int(rows.time[3])), "does not come after the one before"),
        (lambda rows: changed(rows, 7, time=int(rows.time[7]) + 1), "does not open at a multiple of 1m"),
        (lambda rows: msgspec.structs.replace(rows, time=rows.time * 1000), "has an impossible open time"),
        (lambda rows: msgspec.structs.replace(rows, close=rows.close[:-1]), "the columns have"),
        (lambda rows: Candles.empty("1m"), "0 candles to trade on"),
        (lambda rows: rows.tail(1), "1 candle to trade on"),
    ],
)
def test_what_is_no_candle_is_refused_with_its_time(spoil: Callable[[Candles], Candles], fact: str) -> None:
    with pytest.raises(InvalidError, match=fact):
        from_candles(spoil(walk(20)), BTC)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "the file is empty"),
        ("open_time_ms,open,high,low,close,volume\n", "no candles in it"),
        ("a,b,c\n1,2,3\n", "no column named 'time'"),
        ("time,open,high,low,close,close,volume\n1,2,2,2,2,3,1\n", "the column 'close' is there twice"),
        ("1704067200000,1,2,1,1\n", "5 columns and no header"),
        ("1704067200000,1,2,1,x,1\n1704067260000,1,2,1,1,1\n", "line 1: 'x' is not a number"),
        (
            "1704067200000,1,2,1,1,1\n1704067200000,1,2,1,1,1\n",
            "line 2: the candle of 2024-01-01T00:00:00Z is there twice",
        ),
        (
            "1704067260000,1,2,1,1,1\n1704067200000,1,2,1,1,1\n",
            "line 2: 2024-01-01T00:00:00Z comes after 2024-01-01T00:01:00Z",
        ),
        ("1704067200000,1,1,2,1,1\n1704067260000,1,2,1,1,1\n", "line 1: high is below low"),
        ("1704067200000,1,2,1,nan,1\n1704067260000,1,2,1,1,1\n", "line 1: a value is not a finite number"),
        ("1704067200000,1,2,1,1,1\n1704067500000,1,2,1,1,1\n", "candles are 5 minutes apart, --interval is 1m"),
        ("1704067200000,1,2,1,1,1\n", "1 candle to trade on"),
    ],
)
def test_a_file_that_cannot_be_played_is_refused_with_its_line(tmp_path: Path, text: str, fact: str) -> None:
    path = tmp_path / "some.csv"
    path.write_text(text)
    with pytest.raises(InvalidError, match=fact) as caught:
        from_file(path, BTC, "1m")
    assert "market." not in caught.value.message + caught.value.hint


def test_microseconds_are_read_as_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "micro.csv.gz"
    lines = "".join(f"{(1_704_067_200 + 60 * n) * 10**6},1,2,1,1.5,0.{n + 1}\n" for n in range(9))
    path.write_bytes(gzip.compress(lines.encode()))
    history = from_file(path, BTC, "1m")
    assert (int(history.candles.time[0]), history.instrument.step) == (1_704_067_200_000, Decimal("0.1"))


def test_candles_that_open_off_the_grid_are_set_back_to_it_and_told(tmp_path: Path) -> None:
    path = tmp_path / "off.csv"
    path.write_text("".join(f"{1_704_067_200_000 + 60_000 * n + 17 * (n == 4)},1,2,1,1.5,0.1\n" for n in range(9)))
    history = from_file(path, BTC, "1m")
    assert not (history.candles.time % 60_000).any()
    assert history.notes == ("off the grid of 1m, as outages leave them, and set back to it: 1 of the file's candles",)


def test_holes_and_candles_without_volume_are_played_and_told(candles: Candles) -> None:
    kept = np.ones(5000, bool)
    kept[100:120] = kept[300] = False
    rows = Candles("1m", *(getattr(candles, name)[kept] for name in ("time", "open", "high", "low", "close", "volume")))
    result = run(changed(rows, 5, volume=0.0), Scripted(np.zeros(4979, bool)))
    assert result.notes == (
        "21 candles are missing in 2 holes, the longest from 2024-01-01T01:40:00Z to 2024-01-01T02:00:00Z; "
        "orders and positions span them",
        "1 candles are without volume; orders fill in them as in any other",
    )


def test_fewer_candles_than_the_warm_up_are_told_and_refused_where_they_gave_no_signal(rsi: StrategyInfo) -> None:
    assert run(walk(300), rsi.build({})).notes == (
        "300 candles are fewer than the 501 that mine warms up on: its first signals depend on where the data begin",
    )
    with pytest.raises(InvalidError, match="10 candles are fewer than the 501 that mine warms up on, and they gave no"):
        run(walk(10), rsi.build({}))


@pytest.mark.parametrize(
    ("enter", "fact"),
    [
        (np.zeros(19, bool), r"enter must be an array of 20 booleans, not bool \(19,\)"),
        (np.full(20, np.nan), r"enter must be an array of 20 booleans, not float64 \(20,\)"),
        ([True] * 20, "enter must be an array of 20 booleans, not list"),
        (lambda candles: 1 / 0, "strategy mine: ZeroDivisionError: division by zero"),
    ],
)
def test_a_strategy_that_fails_or_gives_no_signals_is_named(enter: Any, fact: str) -> None:
    with pytest.raises(InvalidError, match=fact):
        run(walk(20), Scripted(enter))


@pytest.mark.parametrize(
    ("terms", "fact"),
    [
        ({"capital": 0}, "capital must be above zero"),
        ({"stop_loss": 1}, "stop_loss must be above 0 and below 1"),
        ({"fraction": "1.1"}, "fraction must be above 0 and at most 1"),
        ({"slippage": "-0.1"}, "slippage must be at least 0"),
        ({"taker_fee": "NaN"}, "taker_fee must be at least 0"),
        ({"break_even": "Infinity"}, "break_even must be above zero"),
        ({"risk_per_trade": "0.01"}, "risk per trade needs a stop"),
        ({"risk_per_trade": "0.01", "fraction": "1", "stop_loss": "0.1"}, "exclude each other"),
    ],
)
def test_terms_that_do_not_fit_are_refused(terms: dict[str, Any], fact: str) -> None:
    with pytest.raises(InvalidError, match=fact):
        Terms(**{key: Decimal(value) for key, value in terms.items()})


def test_candles_and_times_of_candles_are_refused() -> None:
    with pytest.raises(InvalidError, match="time_stop must be a candle at least"):
        Terms(time_stop=0)
    with pytest.raises(InvalidError, match="atr_period must be from 1 to 10000"):
        Terms(atr_period=0)
    with pytest.raises(InvalidError, match="unknown interval '7m'"):
        from_candles(msgspec.structs.replace(walk(5), interval="7m"), BTC)
    with pytest.raises(InvalidError, match="'btc' is not a symbol"):
        from_candles(walk(5), "btc")


def test_a_step_too_fine_for_64_bits_is_still_a_quantity() -> None:
    """Compiled code floors as a float: so many steps are beyond any integer of 64 bits."""
    fine = Instrument(symbol=BTC, base="BTC", quote="USDT", tick=Decimal("1e-8"), step=Decimal("1e-18"))
    result = backtest(from_candles(walk(20), BTC, fine), "mine", Scripted(np.arange(20) == 2), Terms(), VirtualClock())
    assert float(result.trades()[0].quantity) == pytest.approx(99.8, rel=0.02)
