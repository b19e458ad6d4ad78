"""What one message costs the whole market room, beside ccxt.pro; and how old a price is when a bot hears of it.

Another process (:mod:`.flat_exchange`) sends over a real WebSocket on loopback. Ours is everything: frames, decoding,
gates, candle arrays, armed price levels, wake-up of listeners, and whatever runs beside by the clock; all processor
time of the process, divided by the messages. ccxt's is ``watch_ohlcv_for_symbols`` in the loop that its documentation
shows, on candles alone. *Each alone*: one message a packet, and each wakes the loop. *Bursts*: ten a packet, as a busy
exchange sends. *Flood*: as many as the client can take; then waking up costs nothing, and what is left is the room's
own work. uvloop saves nothing to a sixth of what is sent alone: too little for one more dependency.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from botd.domain.candle import Candle
from botd.domain.clock import WallClock
from tests.bench.figures import Options, Row, quantile
from tests.bench.flat_exchange import STAMP, name_of
from tests.bench.processes import end

SYMBOLS = (1, 10, 50, 200)
RATE = 2_000
BURST = 10
FLOOD = 60_000
LEVELS = 5
"""Owners armed on each symbol, none of them near the price."""
SETTLE_S = 1.0
COST_US, LATENCY_MS = 15.0, 2.0
PEER = "ccxt.pro"


def run(options: Options) -> list[Row]:
    """Return microseconds a message at 1 to 200 symbols in each shape, and the age of prices."""
    seconds, counts = (2.0, (1, 200)) if options.quick else (6.0, SYMBOLS)
    rows: list[Row] = []
    for count in counts:
        found = _measured(count, FLOOD, 400, ("ours", "ccxt"), seconds)
        costs = (found["ours"]["cpu_us"], "us/message", PEER, found["ccxt"]["cpu_us"], COST_US)
        rows.append(Row(f"flood, {count} symbols", *costs))
    for count in counts:
        found = _measured(count, RATE, BURST, ("ours", "ccxt", "bare"), seconds)
        at = f"{RATE}/s, {BURST} a packet, {count} symbols"
        rows.append(Row(at, found["ours"]["cpu_us"], "us/message", PEER, found["ccxt"]["cpu_us"]))
        rows.append(_own(at, found))
    for count in (1, 200):
        rows += _each_alone(count, _measured(count, RATE, 1, ("ours", "uvloop", "bare"), seconds))
    return rows


def _own(at: str, found: dict[str, dict[str, float]]) -> Row:
    """Return what is left without the waking and the reading, which a client that does nothing has too."""
    bare = found["bare"]["cpu_us"]
    note = f"waking and socket alone: {bare:.3g}"
    return Row(f"{at}: the room's own", found["ours"]["cpu_us"] - bare, "us/message", bound=COST_US, note=note)


def _each_alone(count: int, found: dict[str, dict[str, float]]) -> list[Row]:
    ours, uvloop = found["ours"], found["uvloop"]
    at = f"{RATE}/s, each alone, {count} symbols"
    return [
        Row(at, ours["cpu_us"], "us/message", "on uvloop", uvloop["cpu_us"]),
        _own(at, found),
        Row(f"{at}: socket to bot, p50", ours["p50_ms"], "ms", "on uvloop", uvloop["p50_ms"]),
        Row(f"{at}: socket to bot, p99", ours["p99_ms"], "ms", "on uvloop", uvloop["p99_ms"], LATENCY_MS),
    ]


def _measured(
    symbols: int, rate: float, burst: int, clients: tuple[str, ...], seconds: float
) -> dict[str, dict[str, float]]:
    """Return each client's figures, against one exchange."""
    with exchange(symbols, rate, burst) as ports:
        return {client: _child(client, symbols, ports, seconds) for client in clients}


@contextlib.contextmanager
def exchange(symbols: int, rate: float, burst: int) -> Iterator[tuple[str, str]]:
    """Run the exchange; give its ports for REST and streams."""
    command = [sys.executable, "-m", "tests.bench.flat_exchange", f"--symbols={symbols}"]
    process = subprocess.Popen(
        [*command, f"--rate={rate}", f"--burst={burst}"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        rest, stream = process.stdout.readline().split()
        yield rest, stream
    finally:
        end(process)
        process.stdout.close()


def _child(client: str, symbols: int, ports: tuple[str, str], seconds: float) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.market_manager", client, str(symbols), *ports, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 2 * seconds)
    if done.returncode:
        raise RuntimeError(f"{client}: {done.stderr[-800:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


# -- ours


class Ears:
    """A bot's: hears candles and prices, and how old the prices are."""

    def __init__(self) -> None:
        self.candles = 0
        self.ages_ns: list[int] = []

    def on_closed(self, candle: Candle) -> None:
        self.candles += 1

    def on_open(self, open_time: int, price: float) -> None:
        """Not on live markets."""

    def on_level(self, kind: str, price: float) -> None:
        raise AssertionError("no level is near the price")


async def ours(symbols: int, rest: str, stream: str, seconds: float) -> dict[str, float]:
    """Run the whole market room as botd does, with a listener on every symbol."""
    from botd.market.binance.binance_feed import BinanceFeed
    from botd.market.cache.cache import MemoryCache
    from botd.market.levels import TICK_LANE
    from botd.market.manager import MarketManager
    from botd.market.ticks import TickRelay

    clock = WallClock()
    manager = MarketManager(
        clock=clock, cache=MemoryCache(), base_interval=None, on_event=lambda event: None, candle_feed=False
    )
    ticks, ears = TickRelay(), Ears()
    manager.add_sink(ticks)
    feed = BinanceFeed(market=manager, clock=clock, rest=f"http://127.0.0.1:{rest}", stream=f"ws://127.0.0.1:{stream}")
    await feed.start()
    for number in range(symbols):
        symbol = f"{name_of(number)[:4]}/USDT"
        manager.subscribe(symbol, "1m", ears, 100)
        for owner in range(LEVELS):
            manager.levels.arm((symbol, TICK_LANE), 10 * number + owner, ears, 50.0 - owner, 1000.0 + owner)
    running = asyncio.create_task(feed.run())
    while not feed.states() or set(feed.states().values()) != {"LIVE"}:
        await asyncio.sleep(0.05)
    await asyncio.sleep(SETTLE_S)
    for number in range(symbols):
        watch = feed._prices.watches[name_of(number)]

        def hear(price: float, watch: Any = watch) -> None:
            ears.ages_ns.append(time.monotonic_ns() + STAMP - watch.update)

        ticks.follow(f"{name_of(number)[:4]}/USDT", hear)
    before, cpu = feed._counts["frames"], time.process_time()
    await asyncio.sleep(seconds)
    cpu, frames = time.process_time() - cpu, feed._counts["frames"] - before
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await feed.close()
    return {"cpu_us": cpu / frames * 1e6, "rate": frames / seconds, "candles": ears.candles, **_ages(ears.ages_ns)}


def _ages(ages_ns: list[int]) -> dict[str, float]:
    return {f"p{share}_ms": quantile(ages_ns, share / 100) / 1e6 for share in (50, 99)}


# -- others


async def bare(symbols: int, rest: str, stream: str, seconds: float) -> dict[str, float]:
    """The same connection with nobody behind it: what the loop and the socket cost by themselves."""
    import picows

    count = 0

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            nonlocal count
            count += 1

    transport, _ = await picows.ws_connect(Listener, f"ws://127.0.0.1:{stream}/stream")
    names = [name_of(number).lower() for number in range(symbols)]
    params = [f"{name}@{topic}" for name in names for topic in ("bookTicker", "kline_1m")]
    transport.send(picows.WSMsgType.TEXT, json.dumps({"method": "SUBSCRIBE", "params": params, "id": 1}).encode())
    await asyncio.sleep(SETTLE_S)
    before, cpu = count, time.process_time()
    await asyncio.sleep(seconds)
    cpu, frames = time.process_time() - cpu, count - before
    transport.disconnect()
    return {"cpu_us": cpu / frames * 1e6, "rate": frames / seconds}


async def ccxt(symbols: int, rest: str, stream: str, seconds: float) -> dict[str, float]:
    """ccxt.pro's candles of many symbols; its messages are counted where it hands them to its parser."""
    from botd.market.by_ccxt.ccxt_client import make_client

    client = await make_client(
        "binance", testnet=False, rest=f"http://127.0.0.1:{rest}", stream=f"ws://127.0.0.1:{stream}/stream"
    )
    count = 0
    handle = client.handle_message

    def counted(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return handle(*arguments)

    client.handle_message = counted
    await client.load_markets()
    wanted = [[f"{name_of(number)[:4]}/USDT", "1m"] for number in range(symbols)]

    async def watch() -> None:
        while True:
            await client.watch_ohlcv_for_symbols(wanted)

    task = asyncio.create_task(watch())
    await asyncio.sleep(2 * SETTLE_S)
    before, cpu = count, time.process_time()
    await asyncio.sleep(seconds)
    cpu, frames = time.process_time() - cpu, count - before
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await client.close()
    return {"cpu_us": cpu / frames * 1e6, "rate": frames / seconds}


CLIENTS = {"ours": ours, "uvloop": ours, "bare": bare, "ccxt": ccxt}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("symbols", type=int)
    parser.add_argument("rest")
    parser.add_argument("stream")
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    factory = importlib.import_module("uvloop").new_event_loop if given.client == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        found = runner.run(CLIENTS[given.client](given.symbols, given.rest, given.stream, given.seconds))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
