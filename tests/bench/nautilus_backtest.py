"""nautilus_trader's backtest of the RSI rules on the candles of a file, in a Python of its own; prints one JSON object.

``python nautilus_backtest.py CANDLES.npz``. Its market orders fill at the close that decides (ours at the next open),
its RSI and its order engine are its own: the trades are alike in number, not one by one. Imports nothing of botd.
"""

import json
import sys
import time
from decimal import Decimal

import nautilus_trader
import numpy as np
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.indicators import MovingAverageType, RelativeStrengthIndex
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy


class Rsi(Strategy):
    """In below 30, out above 70, a stop 2 % below the entry, a target 4 % above it."""

    def __init__(self, instrument, kind):
        super().__init__()
        self.instrument, self.kind = instrument, kind
        self.rsi = RelativeStrengthIndex(14, MovingAverageType.WILDER)

    def on_start(self):
        self.register_indicator_for_bars(self.kind, self.rsi)
        self.subscribe_bars(self.kind)

    def on_bar(self, bar):
        if not self.rsi.initialized:
            return
        if self.portfolio.is_flat(self.instrument.id):
            if self.rsi.value < 0.3:
                quantity = self.instrument.make_qty(Decimal(1))
                self.submit_order(self.order_factory.market(self.instrument.id, OrderSide.BUY, quantity))
        elif self.rsi.value > 0.7:
            self.close_all_positions(self.instrument.id)

    def on_position_opened(self, event):
        price, quantity, make = event.avg_px_open, event.quantity, self.instrument.make_price
        orders = self.order_factory
        self.submit_order(
            orders.stop_market(self.instrument.id, OrderSide.SELL, quantity, make(price * 0.98), reduce_only=True)
        )
        self.submit_order(
            orders.limit(self.instrument.id, OrderSide.SELL, quantity, make(price * 1.04), reduce_only=True)
        )

    def on_position_closed(self, event):
        self.cancel_all_orders(self.instrument.id)


def main():
    """Play the file once; ``warm_s`` is the engine's run, without reading and wrapping the candles."""
    with np.load(sys.argv[1]) as file:
        data = {name: file[name] for name in ("time", "open", "high", "low", "close")}
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    cash = [Money(10**9, USDT), Money(0, BTC)]
    engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.CASH, starting_balances=cash)
    instrument = TestInstrumentProvider.btcusdt_binance()
    engine.add_instrument(instrument)
    kind = BarType.from_str("BTCUSDT.BINANCE-1-MINUTE-LAST-EXTERNAL")
    columns = {name: data[name] for name in ("open", "high", "low", "close")}
    frame = pd.DataFrame({**columns, "volume": 1000.0}, index=pd.to_datetime(data["time"], unit="ms", utc=True))
    engine.add_data(BarDataWrangler(kind, instrument).process(frame))
    engine.add_strategy(Rsi(instrument, kind))
    began = time.perf_counter()
    engine.run()
    took = time.perf_counter() - began
    trades = len(engine.trader.generate_positions_report())
    print(json.dumps({"version": nautilus_trader.__version__, "warm_s": took, "count": trades}))


if __name__ == "__main__":
    main()
