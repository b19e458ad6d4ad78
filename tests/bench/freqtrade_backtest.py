"""freqtrade's backtest of the RSI rules on the candles of a file, in a Python of its own; prints one JSON object.

``python freqtrade_backtest.py HOME SYMBOL CANDLES.npz``: in HOME are its ``config.json`` and its strategy, and the
candles are put there as its own files. Imports nothing of botd.
"""

import json
import sys
import time
from pathlib import Path

import freqtrade
import numpy as np
import pandas as pd
from freqtrade.configuration import setup_utils_configuration
from freqtrade.enums import RunMode
from freqtrade.optimize.backtesting import Backtesting


def main():
    """Play the file once; ``warm_s`` is the strategy's and the loop's time, without loading and the report."""
    home, symbol = Path(sys.argv[1]), sys.argv[2]
    with np.load(sys.argv[3]) as file:
        data = {name: file[name] for name in ("time", "open", "high", "low", "close")}
    folder = home / "data" / "binance"
    folder.mkdir(parents=True)
    date = pd.to_datetime(data.pop("time"), unit="ms", utc=True)
    frame = pd.DataFrame({"date": date, **data, "volume": 1000.0})
    frame.to_feather(folder / f"{symbol.replace('/', '_')}-1m.feather")
    arguments = {"config": [str(home / "config.json")], "user_data_dir": str(home), "strategy": "Rsi", "fee": 0.001}
    engine = Backtesting(setup_utils_configuration({**arguments, "export": "none"}, RunMode.BACKTEST))
    candles, span = engine.load_bt_data()
    began = time.perf_counter()
    engine.backtest_one_strategy(engine.strategylist[0], candles, span)
    took = time.perf_counter() - began
    trades = engine.all_bt_content["Rsi"]["results"]
    pairs = [date.searchsorted(trades[column]).tolist() for column in ("open_date", "close_date")]
    told = {"version": freqtrade.__version__, "warm_s": took, "trades": list(zip(*pairs, strict=True))}
    print(json.dumps({**told, "reasons": trades["exit_reason"].value_counts().to_dict()}))


if __name__ == "__main__":
    main()
