"""nautilus_trader on the Binance-wire front: a market order at each closing candle. Run by an interpreter of its own.

    python nautilus_client.py PORT SECONDS SYMBOL,SYMBOL...     (key and secret: FRONT_KEY, FRONT_SECRET)

Its adapter is unmodified but for one thing: the user data stream that it asks a listen key for does not exist any
more, so it is given a stream without events. That spares it work; the way from candle to order is its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from decimal import Decimal
from types import SimpleNamespace

from nautilus_trader.adapters.binance import (
    BINANCE,
    BinanceDataClientConfig,
    BinanceExecClientConfig,
    BinanceLiveDataClientFactory,
    BinanceLiveExecClientFactory,
)
from nautilus_trader.adapters.binance.http.user import BinanceUserDataHttpAPI
from nautilus_trader.config import (
    InstrumentProviderConfig,
    LiveExecEngineConfig,
    LiveRiskEngineConfig,
    LoggingConfig,
    StrategyConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy


class EachCandle(Strategy):
    """Buys a little at market at each closed candle."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(StrategyConfig(strategy_id="each", order_id_tag="1"))
        self.names = names

    def on_start(self) -> None:
        for name in self.names:
            self.subscribe_bars(BarType.from_str(f"{name}.{BINANCE}-1-MINUTE-LAST-EXTERNAL"))

    def on_bar(self, bar: Bar) -> None:
        instrument = self.cache.instrument(bar.bar_type.instrument_id)
        quantity = instrument.make_qty(Decimal(20) / bar.close.as_decimal())
        self.submit_order(self.order_factory.market(instrument.id, OrderSide.BUY, quantity))


async def no_listen_key(self: BinanceUserDataHttpAPI) -> SimpleNamespace:
    return SimpleNamespace(listenKey="nothing@miniTicker")


def main() -> None:
    port, seconds, names = sys.argv[1], float(sys.argv[2]), sys.argv[3].split(",")
    BinanceUserDataHttpAPI.create_listen_key = no_listen_key
    common = {
        "api_key": os.environ["FRONT_KEY"],
        "api_secret": os.environ["FRONT_SECRET"],
        "base_url_http": f"http://127.0.0.1:{port}",
        "base_url_ws": f"ws://127.0.0.1:{port}",
        "testnet": True,
        "instrument_provider": InstrumentProviderConfig(
            load_ids=frozenset(InstrumentId.from_str(f"{name}.{BINANCE}") for name in names)
        ),
    }
    node = TradingNode(
        TradingNodeConfig(
            logging=LoggingConfig(log_level="WARNING"),
            exec_engine=LiveExecEngineConfig(reconciliation=False),
            risk_engine=LiveRiskEngineConfig(bypass=True),
            data_clients={BINANCE: BinanceDataClientConfig(**common)},
            exec_clients={BINANCE: BinanceExecClientConfig(**common)},
        )
    )
    node.trader.add_strategy(EachCandle(names))
    node.add_data_client_factory(BINANCE, BinanceLiveDataClientFactory)
    node.add_exec_client_factory(BINANCE, BinanceLiveExecClientFactory)
    node.build()

    async def run() -> None:
        task = asyncio.create_task(node.run_async())
        await asyncio.sleep(seconds)
        await node.stop_async()
        task.cancel()

    node.get_event_loop().run_until_complete(run())
    os._exit(0)


if __name__ == "__main__":
    main()
