"""Start-up: from the start of the process to the first answer, of a new botd and of one killed with full books."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from botd.config import load
from botd.domain.clock import VirtualClock
from botd.domain.order import Fill, Order, OrderStatus, OrderType, Purpose, Side
from botd.execution.client_ids import client_order_id
from botd.ledger.store import Ledger
from tests.bench.figures import Options, Row, median
from tests.bench.fleet import Wire, launch, market, populate, symbols
from tests.bench.peers import Peer, PeersMissingError
from tests.e2e.conftest import Botd

READY_S = 1.0
READY_FULL_S = 3.0
BOTS, SYMBOLS = 200, 50
FILLS = 100_000
BATCH = 500


def run(options: Options) -> list[Row]:
    """Measure all in turns."""
    rounds = 3 if options.quick else 10
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        home = Path(directory)
        fresh, missing = _fresh(home, rounds)
        ours = fresh.pop("botd")
        rows = [
            Row("botd, new, to the first ping", ours, "s", f"{name} to its first status", theirs, READY_S)
            for name, theirs in fresh.items()
        ] or [Row("botd, new, to the first ping", ours, "s", bound=READY_S)]
        if missing:
            rows.append(Row("circus, supervisor", None, note=missing))
        return [*rows, *_killed(home, max(2, rounds // 2), FILLS // 10 if options.quick else FILLS)]


def _fresh(home: Path, rounds: int) -> tuple[dict[str, float], str]:
    """Return the median seconds of botd (each time in a new state directory) and of the peers."""
    taken: dict[str, list[float]] = {"botd": []}
    peers, missing = [], ""
    try:
        peers = [Peer("circus", home / "circus"), Peer("supervisor", home / "supervisor")]
    except PeersMissingError as error:
        missing = str(error)
    for turn in range(rounds + 1):
        botd = Botd(home / f"fresh{turn}", market(2, speed=1, autoplay=True))
        taken["botd"].append(launch(botd))
        botd.stop()
        for peer in peers:
            with peer.run() as seconds:
                taken.setdefault(peer.name, []).append(seconds)
    return {name: median(values[1:]) for name, values in taken.items()}, missing


def _killed(home: Path, rounds: int, fills: int) -> list[Row]:
    """Return how long a botd with full books takes that was killed while it traded."""
    botd = Botd(home / "full", market(SYMBOLS, speed=600, autoplay=True))
    launch(botd)
    with Wire(botd.socket) as wire:
        populate(wire, BOTS, SYMBOLS)
    botd.stop()
    ledger = botd.state_dir / "ledger.db"
    began = time.perf_counter()
    asyncio.run(fill_ledger(botd, fills))
    rate = fills / (time.perf_counter() - began)
    ready, trading = [], []
    try:
        for _ in range(rounds):
            botd.start(wait=False)
            botd.until(lambda: botd.socket.exists(), 30)
            time.sleep(2.0)
            botd.kill()
            ready.append(launch(botd))
            with Wire(botd.socket) as wire:
                began = time.perf_counter()
                while wire.call("health")["bots"].get("running") != BOTS:
                    time.sleep(0.02)
                trading.append(ready[-1] + time.perf_counter() - began)
            botd.kill()
    finally:
        botd.stop()
    told = f"{BOTS} bots and {fills:,} fills ({ledger.stat().st_size / 1e6:.0f} MB)"
    return [
        Row(f"botd after kill -9, {told}, to the first ping", median(ready), "s", bound=READY_FULL_S),
        Row(f"the same, to {BOTS} running bots", median(trading), "s"),
        Row("rows of that ledger written (order + fill)", rate * 2, "/s"),
    ]


async def fill_ledger(botd: Botd, fills: int, bots: int = BOTS) -> None:
    """Write finished orders with their fills into the books of a botd that stands still."""
    config = load(botd.config_file, {})
    ledger = Ledger.open(botd.state_dir / "ledger.db", config.world(), clock=VirtualClock())
    try:
        for number, (order, fill) in enumerate(_history(ledger.instance, fills, bots)):
            ledger.journal.order(order)
            ledger.journal.fill(fill, Decimal(0))
            if number % BATCH == BATCH - 1:
                ledger.commit()
                await ledger.drain(8)
        await ledger.commit()
    finally:
        await ledger.close()


def _history(instance: str, fills: int, bots: int) -> Iterator[tuple[Order, Fill]]:
    """Make up filled orders: bots in turns, buying and selling in turns. None of today's books depends on them."""
    markets, start = symbols(SYMBOLS), VirtualClock().now_ms() - 2 * fills * 1000
    quantity, price = Decimal("0.125"), Decimal("100.25")
    for number in range(fills):
        bot, sequence = number % bots + 1, 1_000_000 + number // bots
        side = (Side.BUY, Side.SELL)[sequence % 2]
        key, now = client_order_id("paper", instance, bot, sequence), start + number * 1000
        common = {"client_order_id": key, "bot": bot, "symbol": markets[number % SYMBOLS], "side": side}
        yield (
            Order(
                **common,
                interval="1m",
                type=OrderType.MARKET,
                quantity=quantity,
                purpose=Purpose.ENTRY if side is Side.BUY else Purpose.EXIT,
                intent_reason="signal",
                status=OrderStatus.FILLED,
                exchange_order_id=f"x{number}",
                filled=quantity,
                filled_notional=quantity * price,
                created_ms=now,
                updated_ms=now,
            ),
            Fill(
                **common,
                trade_id=f"h{number}",
                quantity=quantity,
                price=price,
                fee=Decimal("0.0125"),
                fee_asset="USDT",
                time_ms=now,
            ),
        )
