"""vectorbt and backtesting.py on the candles of a file, in a Python of their own; prints one JSON object.

``python lab_peers.py PEER CANDLES.npz [SETS]``: with SETS the sweep of so many parameter sets, else one run of RSI(14)
30/70, 2 % stop, 4 % target, 0.1 % fee, decided at the close and filled at the next open. Imports nothing of botd.
"""

import json
import sys
import time

BEGAN = time.perf_counter()
ROUNDS = 5


def main() -> None:
    import numpy as np

    peer, path, sets = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0
    with np.load(path) as file:
        data = {name: file[name] for name in ("time", "open", "high", "low", "close")}
    told = {"vectorbt": vectorbt, "backtesting": backtesting}[peer](data, sets)
    told["memory_mb"] = peak_mb()
    told["whole_s"] = time.perf_counter() - BEGAN
    print(json.dumps(told))


def peak_mb() -> float:
    """Return the most memory that this process had (``getrusage`` counts that of the process it was forked from)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def grid(sets: int) -> list[tuple[int, float, float]]:
    """Return the parameter sets of the sweep: ten periods, ten pairs of levels each."""
    return [(10 + 2 * (n // 10), 20.0 + n % 10 * 2, 80.0 - n % 10 * 2) for n in range(sets)]


def vectorbt(data: dict, sets: int) -> dict:
    import numpy as np
    import pandas as pd
    import talib
    import vectorbt as vbt

    index = pd.to_datetime(data["time"], unit="ms")
    frame = {name: pd.Series(data[name], index=index) for name in ("open", "high", "low", "close")}

    def once() -> object:
        if sets:
            lines = {period: talib.RSI(data["close"], period) for period in {period for period, _, _ in grid(sets)}}
            enter = np.column_stack([lines[period] < low for period, low, _ in grid(sets)])
            leave = np.column_stack([lines[period] > high for period, _, high in grid(sets)])
        else:
            rsi = talib.RSI(data["close"], 14)
            enter, leave = rsi < 30, rsi > 70
        # What a close decides fills at the next open.
        shift = np.zeros_like(enter[:1])
        portfolio = vbt.Portfolio.from_signals(
            frame["close"],
            pd.DataFrame(np.concatenate((shift, enter[:-1])), index=index),
            pd.DataFrame(np.concatenate((shift, leave[:-1])), index=index),
            price=frame["open"],
            open=frame["open"],
            high=frame["high"],
            low=frame["low"],
            sl_stop=0.02,
            tp_stop=0.04,
            stop_entry_price="fillprice",
            fees=0.001,
            init_cash=1e9,
            freq="1min",
        )
        portfolio.final_value()
        return portfolio

    began = time.perf_counter()
    portfolio = once()
    cold = time.perf_counter() - began
    warm = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        portfolio = once()
        warm.append(time.perf_counter() - began)
    told = {"version": vbt.__version__, "cold_s": cold, "warm_s": sorted(warm)[ROUNDS // 2]}
    if not sets:
        records = portfolio.trades.records
        told["trades"] = list(zip(records["entry_idx"].tolist(), records["exit_idx"].tolist(), strict=True))
    return told


def backtesting(data: dict, sets: int) -> dict:
    import backtesting
    import pandas as pd
    import talib

    class Rsi(backtesting.Strategy):
        def init(self) -> None:
            self.rsi = self.I(talib.RSI, self.data.Close, 14)

        def next(self) -> None:
            if self.position:
                if self.rsi[-1] > 70:
                    self.position.close()
            elif self.rsi[-1] < 30 and not self.rsi[-1] > 70:
                close = self.data.Close[-1]
                self.buy(sl=close * (1 - 0.02), tp=close * (1 + 0.04), size=0.9)

    index = pd.to_datetime(data["time"], unit="ms")
    frame = pd.DataFrame({name.capitalize(): data[name] for name in ("open", "high", "low", "close")}, index=index)
    test = backtesting.Backtest(frame, Rsi, cash=1e12, commission=0.001, finalize_trades=True)
    began = time.perf_counter()
    result = test.run()
    took = time.perf_counter() - began
    trades = result["_trades"]
    pairs = sorted(zip(trades["EntryBar"].tolist(), trades["ExitBar"].tolist(), strict=True))
    return {"version": backtesting.__version__, "warm_s": took, "trades": pairs}


if __name__ == "__main__":
    main()
