"""Kills of a botd that trades live on a Binance front, around every step of an order's way.

The front's exchange keeps its own books. After each round they and the ledger must tell the same: every order of ours
has one intent, no intent two orders, every trade one fill, and ``reconcile`` matches to the last unit.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from botctl.client import Client
from botctl.exit_codes import Fault
from tests.e2e.conftest import Botd
from tests.fakes.binance import CandleMarket, FrontThread, Pace, RunningClock
from tests.fakes.binance.exchange import DEFAULT_KEY
from tests.fakes.binance.exchange.calls import Call
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_daemon import HOLDER
from tests.kill.worlds import rows, unsound

POINTS = {
    "order.before_send": 4,
    "order.after_send": 6,
    "exchange.on_event": 12,
    "reconcile.before_look": 3,
    "reconcile.after_look": 3,
    "ledger.before_commit": 30,
    "ledger.after_commit": 30,
}
"""Failpoints, and at which passage at most."""
ARRIVAL = "the exchange has the request"
CHURNER = '''
from decimal import Decimal

from botd.strategy.base import EventStrategy


class Churner(EventStrategy):
    """Buys at market when it holds nothing, sells when it holds; every third time it waits in the book first."""

    def on_candle(self, context, candle):
        pass

    def on_tick(self, context, price):
        turn = context.state["turn"] = context.state.get("turn", 0) + 1
        working = context.orders()
        if working:
            if turn % 5 == 0:
                context.cancel(working[0].client_order_id)
            return
        price = Decimal(repr(price))
        held = context.instrument.floor_quantity(context.quantity())
        quantity = context.instrument.floor_quantity(context.capital / 10 / price)
        limit = context.instrument.floor_price(price * Decimal("0.9995")) if turn % 3 == 0 else None
        if held * price > 20:
            context.sell(held)
        else:
            context.buy(quantity, limit)
'''
OFF = (
    *("price_collar", "max_order_value", "max_order_size", "max_position", "max_exposure", "rate_limit"),
    *("duplicate_order", "repeated_execution", "daily_loss", "max_drawdown", "consecutive_losses", "volatility_halt"),
)


PAIRED_FROM = 10
"""A round of so many kills is worth the wait for a pair."""


class LiveCampaign:
    """Rounds of kills; ``wrong`` is empty where everything held."""

    def __init__(self, home: Path, seed: int, report: Callable[[str], None]) -> None:
        self.home = home
        self.dice = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest_s = 0.0
        self.orders = self.trades = self.pairs = self.starts = 0
        self._report = report
        self._rounds = 0

    @property
    def kills(self) -> int:
        return self.counts.total()

    def round(self, kills: int) -> None:
        """Kill a live botd so often, then let it settle and compare with the exchange."""
        self._rounds += 1
        venue = Exchange({"USDT": "100000"})
        market = CandleMarket(["BTCUSDT", "ETHUSDT"], pace=Pace(kline_ms=1000, book_ms=100))
        with FrontThread(market, clock=RunningClock(), exchange=venue) as front:
            victim = LiveVictim(self.home / f"live{self._rounds}", front, venue, self)
            try:
                victim.populate(paired=kills >= PAIRED_FROM)
                for _ in range(kills):
                    victim.cycle()
                for said in victim.settle():
                    self.say(f"round {self._rounds}: {said}")
            finally:
                victim.end()
            self.orders += len(venue.books.orders)
            self.trades += len(venue.books.trades)
            self.pairs += len(venue.books.lists)

    def say(self, what: str) -> None:
        """Keep a finding."""
        self.wrong.append(what)
        self._report(what)


class LiveVictim:
    """One botd over many lives, and the exchange it trades on."""

    def __init__(self, home: Path, front: FrontThread, venue: Exchange, campaign: LiveCampaign) -> None:
        self._front, self._venue, self._campaign, self._dice = front, venue, campaign, campaign.dice
        ends = {"rest": front.rest_url, "stream": front.ws_url, "ws_api": front.ws_url}
        keys = home / "keys"
        self._config = {
            "mode": "live",
            "market": {"source": "exchange"},
            "endpoints": ends,
            "keys_file": str(keys),
            "risk": {"preset": "live", **dict.fromkeys(OFF, False)},
        }
        self.botd = Botd(home, self._config)
        keys.write_text(f"BINANCE_API_KEY={DEFAULT_KEY.key}\nBINANCE_API_SECRET={DEFAULT_KEY.secret}\n")
        keys.chmod(0o600)
        strategies = home / "strategies"
        strategies.mkdir(mode=0o700)
        (strategies / "churner.py").write_text(CHURNER)
        (strategies / "holder.py").write_text(HOLDER)
        self._client = Client(str(self.botd.socket))

    def populate(self, *, paired: bool) -> None:
        """Arm it, and start three bots; where ``paired`` another one too, whose stop and target rest as a pair."""
        self._start()
        self._until(self._reconciled, 40)
        self.botd.run("live", "arm", "--max-capital", "50000", "--for", "1d", "--yes")
        for name, symbol in (("alpha", "BTC/USDT"), ("beta", "ETH/USDT"), ("gamma", "BTC/USDT")):
            what = ("--strategy", "churner", "--symbol", symbol, "--interval", "1m", "--capital", "1000")
            self.botd.run("create", name, *what, "--start", "--live")
        self._until(lambda: len(self._venue.books.trades) > 5, 60)
        if paired:
            what = ("--strategy", "holder", "--symbol", "ETH/USDT", "--interval", "1m", "--capital", "1000")
            self.botd.run("create", "delta", *what, "--stop-loss", "1%", "--take-profit", "1%", "--start", "--live")
            self._until(lambda: bool(self._venue.books.lists), 90)  # it enters when a minute ends

    def cycle(self) -> None:
        """One life that ends in a kill."""
        self.end()
        kind = self._dice.random()
        if kind < 0.2:
            self._start()
            time.sleep(self._dice.uniform(0.05, 3.0))
            self._kill("at random")
        elif kind < 0.4:
            self._die_when_a_request_arrives()
        else:
            point = self._dice.choice(list(POINTS))
            self.botd.environment["BOTD_FAILPOINT"] = f"{point}:{self._dice.randint(1, POINTS[point])}"
            try:
                self._start(may_die=True)
                reached = self._dies(8)
            finally:
                del self.botd.environment["BOTD_FAILPOINT"]
            self._kill(point if reached else f"{point} (not reached)")

    def settle(self) -> list[str]:
        """Let it be, sell everything, and return what the ledger and the exchange tell differently."""
        if not self.lives():
            self._start()
        self._until(self._reconciled, 60)
        seen = len(self._venue.books.trades)
        self._until(lambda: len(self._venue.books.trades) > seen, 60)  # all by itself
        self.botd.run("halt")
        for name in ("alpha", "beta", "gamma", "delta"):
            self.botd.run("close", name, check=False, timeout=90)  # there is not always a delta
        self._until(lambda: not self._venue.books.open_orders(), 30)
        self._until(lambda: not self._unsettled(), 60)
        match = self.botd.json("reconcile", "--explain")
        said = [] if match["match"] else [f"reconcile does not match: {match}"]
        self._client.close()
        if (code := self.botd.stop()) != 0:
            said.append(f"botd ended with {code}: {self.botd.log()[-500:]}")
        path = self.botd.state_dir / "ledger.db"
        self._front.call(self._venue.venue.check)
        return said + unsound(path) + self._compare(path)

    def end(self) -> None:
        """Kill it if it lives."""
        if self.lives():
            self._kill("at random")

    # -- the oracle

    def _compare(self, path: Path) -> list[str]:
        books = self._venue.books
        made = Counter(order.client_id for order in books.orders.values())
        known = {row[0]: row[1] for row in rows(path, "SELECT client_order_id, filled FROM orders")}
        said = [f"order {name}: {count} orders on the exchange" for name, count in made.items() if count > 1]
        said += [f"orphan: {name} is on the exchange, the ledger has no intent" for name in made if name not in known]
        for order in books.orders.values():
            if Decimal(known.get(order.client_id, "0")) != order.executed:
                said.append(f"order {order.client_id}: filled {known.get(order.client_id)} and {order.executed}")
        theirs = sorted((trade.symbol, str(trade.id), trade.quantity, trade.price) for trade in books.trades)
        found = rows(path, "SELECT symbol, trade_id, quantity, price FROM fills")
        ours = sorted((s.replace("/", ""), trade, Decimal(q), Decimal(p)) for s, trade, q, p in found)
        if ours != theirs:
            said.append(f"{len(ours)} fills, {len(theirs)} trades; differing: {sorted(set(ours) ^ set(theirs))[:3]}")
        return said

    def _unsettled(self) -> list[Any]:
        return [row for row in self.botd.json("orders") if row["status"] in ("unknown", "intent")]

    def _reconciled(self) -> bool:
        try:
            return not self._client.call("reconcile", {}, timeout_s=10).get("refusals")
        except Fault:
            self._client.close()
            return False

    # -- process

    def _die_when_a_request_arrives(self) -> None:
        """It is killed the moment the exchange takes an order or a cancel, before any answer."""
        left, venue = self._dice.randint(1, 5), self._venue.venue
        taken = venue.call

        def call(request: Call, done: Callable[[Any], None]) -> None:
            nonlocal left
            if request.method in ("POST", "DELETE") and "order" in request.path.lower() and self.botd.process:
                left -= 1
                if left == 0:
                    os.kill(self.botd.process.pid, signal.SIGKILL)
            taken(request, done)

        self._start()
        venue.call = call
        try:
            reached = self._dies(10)
        finally:
            venue.call = taken
        self._kill(ARRIVAL if reached else f"{ARRIVAL} (not reached)")

    def _start(self, may_die: bool = False) -> None:
        began = time.monotonic()
        self.botd.start(wait=False)
        assert self.botd.process is not None
        while self.botd.process.poll() is None:
            try:
                self._client.call("ping", {})
            except Fault:
                time.sleep(0.01)
                continue
            took = time.monotonic() - began
            self._campaign.starts += 1
            self._campaign.slowest_s = max(self._campaign.slowest_s, took)
            self._reconciled()  # now, and not when it is due: an order that was under way holds everything up till then
            return
        if not may_die or self.botd.process.returncode != -9:
            self._campaign.say(f"botd ended with {self.botd.process.returncode}:\n{self.botd.log()[-800:]}")

    def lives(self) -> bool:
        """Is it running?"""
        return self.botd.process is not None and self.botd.process.poll() is None

    def _dies(self, patience_s: float) -> bool:
        assert self.botd.process is not None
        try:
            self.botd.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _kill(self, how: str) -> None:
        self._client.close()
        self.botd.kill()
        self._campaign.counts[how] += 1

    def _until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        self.botd.until(condition, timeout_s)
