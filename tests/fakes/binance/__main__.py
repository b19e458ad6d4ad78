"""``python -m tests.fakes.binance``: the front as a process, for benches. Prints ``port N`` when it listens.

SIGTERM ends it; then it prints what it saw as one line of JSON. ``/_front/...`` (:mod:`.steering`) tells the same
while it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
from pathlib import Path

from tests.fakes.binance.candle_market import CandleMarket
from tests.fakes.binance.capture import ReplayMarket
from tests.fakes.binance.clock import ManualClock, RunningClock
from tests.fakes.binance.exchange.fault_plan import of_json
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.binance.faults import FaultPlan
from tests.fakes.binance.front import BinanceFront
from tests.fakes.binance.market import Market
from tests.fakes.binance.rules import Rules
from tests.fakes.binance.streams import Pace
from tests.fakes.binance.tables import TableBars

_KLINE_MS = 1500


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.binance", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--symbols", default="200", help="how many synthetic ones, or names: BTCUSDT,ETHUSDT")
    parser.add_argument("--rate", type=float, default=400.0, help="messages a second over the klines and books of all")
    parser.add_argument("--kline-ms", type=int, default=_KLINE_MS, help="between updates of a candle; 0: closing ones")
    parser.add_argument("--trades", type=int, default=60, help="mean trades a minute and symbol")
    parser.add_argument("--speed", type=float, default=1.0, help="0: manual, moved by POST /_front/advance?ms=")
    parser.add_argument("--start-ms", type=int, help="where the market's time begins [default: now]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--capture", type=Path, help="play a recorded capture from its first subscription on")
    parser.add_argument("--candles", action="append", default=[], metavar="SYMBOL=FILE", help="candles of a file")
    parser.add_argument("--faults", type=Path, help="a JSON array of faults")
    parser.add_argument("--exchange", action="store_true", help="an account that trades, with its usual key")
    parser.add_argument("--balance", action="append", default=[], metavar="ASSET=AMOUNT", help="what it starts with")
    parser.add_argument("--exchange-faults", type=Path, help="a JSON array of faults of the exchange")
    parser.add_argument("--orders-10s", type=int, default=100, help="how many orders an account may place")
    parser.add_argument("--close-ms", default="5,150", help="when closing klines come after the close: first,last")
    parser.add_argument("--stamp", action="store_true", help="update ids are the monotonic clock in ns at the send")
    return parser.parse_args(given)


def front_of(options: argparse.Namespace) -> BinanceFront:
    """Return the front that the options describe."""
    files = {symbol: Path(path) for symbol, _, path in (pair.partition("=") for pair in options.candles)}
    market: Market
    start, held = options.start_ms, False
    if options.capture:
        market = ReplayMarket(options.capture, files or None)
        start, held = market.start_ms if start is None else start, True
    elif files:
        source = TableBars.of_files(files)
        market, start = CandleMarket(source=source), source.span()[0] if start is None else start
    else:
        symbols = int(options.symbols) if options.symbols.isdigit() else options.symbols.split(",")
        count = symbols if isinstance(symbols, int) else len(symbols)
        market = CandleMarket(symbols, seed=options.seed, trades=options.trades, pace=pace_for(options, count))
    clock = (
        RunningClock(start, options.speed, held=held) if options.speed else ManualClock(*[start] * (start is not None))
    )
    plan = FaultPlan.of_json(options.faults.read_bytes(), options.seed) if options.faults else FaultPlan()
    rules = Rules(stamped=options.stamp)
    return BinanceFront(
        market, clock=clock, faults=plan, rules=rules, port=options.port, release_at=1 if held else None,
        exchange=exchange_of(options),
    )  # fmt: skip


def exchange_of(options: argparse.Namespace) -> Exchange | None:
    if not options.exchange:
        return None
    data = options.exchange_faults.read_bytes() if options.exchange_faults else b"[]"
    balances = dict(pair.split("=") for pair in options.balance)
    faults = of_json(data, options.seed)
    return Exchange(balances or None, faults=faults, seed=options.seed, orders_10s=options.orders_10s)


def pace_for(options: argparse.Namespace, symbols: int) -> Pace:
    """Return a pace at which one kline and one bookTicker stream a symbol make the rate, in real seconds."""
    klines = symbols * min(options.trades / 60, 1000 / options.kline_ms) if options.kline_ms else symbols / 60
    books = max(options.rate / (options.speed or 1.0) - klines, symbols / 60)
    first, last = options.close_ms.split(",")
    return Pace(kline_ms=options.kline_ms, book_ms=symbols * 1000 / books, close_ms=(int(first), int(last)))


async def serve(options: argparse.Namespace) -> None:
    front = front_of(options)
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    if isinstance(front.market, CandleMarket):
        front.market.prepare(front.clock.now_ms())
    await front.start()
    gc.freeze()
    print(f"port {front.port}", flush=True)
    await done.wait()
    summary = front.record.summary() | front.steering.statistics()
    await front.stop()
    print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
