"""One seed: many bots on a faulty exchange, crashes and restarts, then calm; every rule held all the time.

Run(seed, minutes=60, bots=20).play()        # raises Broken; Run.digest is the hash of all that came of it
"""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

import msgspec

from tests.fakes.binance.exchange.order_counts import OrderCounts
from tests.fakes.binance.exchange.venue import Venue
from tests.simulation.trading import disk
from tests.simulation.trading.fleet import NAMES, Blow, blows, faults, fleet
from tests.simulation.trading.life import Life, configuration
from tests.simulation.trading.market import Market
from tests.simulation.trading.network import Network
from tests.simulation.trading.rules import Broken, Rules, reading
from tests.simulation.trading.timeline import LoopClock, Timeline

CALM_S = 60.0
LISTED_S = 90.0
"""A symbol that traded not is looked up again every minute."""
HALTED = "SYMBOL_NOT_ALLOWED"
_TURN_S = 1.0
_HASHED = {
    "orders": "client_order_id, bot, side, type, quantity, price, stop_price, status, filled, reason, updated_ms",
    "fills": "symbol, trade_id, client_order_id, quantity, price, fee, realized_pnl, time_ms",
    "books": "bot, cash, realized, fees",
    "positions": "bot, quantity, cost, stop",
    "events": "topic, time_ms, bot, data",
    "keyed": "space, key, value",
}


class Run:
    """See the module. ``counts`` says what happened; ``digest`` is set at the end."""

    def __init__(self, seed: int, *, minutes: float, bots: int, names: tuple[str, ...] = NAMES) -> None:
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.digest = ""
        self.settled_s = 0.0
        """How long after the faults' end the ledger and the exchange said the same."""
        self.trading_s = 0.0
        """How long after it every bot might trade again."""
        self._minutes = minutes
        shared = Path("/dev/shm")
        self.home = Path(tempfile.mkdtemp(prefix="sim", dir=shared if shared.is_dir() else None))
        self.timeline = Timeline()
        self._clock = LoopClock(self.timeline)
        self.market = Market(self.timeline, seed)
        plan = faults(seed, minutes, names)
        self.venue = Venue(
            self.market.rows, now=self.timeline.now_ms, at=self.timeline.at, seed=seed, faults=plan,
            balances={"USDT": Decimal(100_000), "BNB": Decimal(3)}, counts=OrderCounts(self.timeline.now_ms),
        )  # fmt: skip
        self.network = Network(self.timeline, self.venue, seed)
        self.disk = disk.Disk(seed)
        self.rules = Rules(self.network, self.home / "ledger.db")
        self._plan = plan
        self._dice = random.Random(f"run {seed}")
        self._fleet = fleet(seed, bots, {symbol: walk.price for symbol, walk in self.market.walks.items()})
        self._config = configuration(self.home)
        self._armed = ""
        self._troubled = True
        self.life: Life | None = None
        self.network.struck = self._struck
        self.disk.struck = self._struck

    def play(self) -> None:
        """Play the seed to its end; Broken where a rule does not hold."""
        with disk.simulated(self.disk, random.Random(f"tokens {self.seed}")):
            try:
                self.market.begin(self.venue)
                self._trouble()
                self._calm()
                self._reconcile()
                self._end()
            except Broken as broken:
                raise Broken(f"seed {self.seed} at {self.timeline.now_s:.1f} s: {broken}") from None
            finally:
                if self.life is not None and not self.life.ended:
                    self.life.drop()
                self._count()
                shutil.rmtree(self.home, ignore_errors=True)

    # -- the parts of a run

    def _trouble(self) -> None:
        self._live_until(0.5)
        for blow in blows(self.seed, self._minutes):
            self._live_until(blow.at_s)
            self._strike(blow)
        self._live_until(self._minutes * 60)

    def _calm(self) -> None:
        """End the faults; what is left of a ban has to be waited for."""
        self._troubled, self._armed = False, ""
        if self.life is not None:
            self.life.loop.steps.left = None
        self.venue.mend_all()
        self.network.door.limits.forgive()
        self.network.down_until_s = self.market.silent_until_s = 0.0
        self._live_until(self.timeline.now_s + 1)
        assert self.life is not None
        self._live_until(self.timeline.now_s + self.life.world.account.site.governor.blocked_s)
        self._release()
        began, why = self.timeline.now_s, "?"
        while why and self.timeline.now_s - began < CALM_S:
            self._live_until(self.timeline.now_s + 0.25)
            why = self.rules.unsettled(self.life)
        self.rules.hold(not why, f"I5: {CALM_S:.0f} s after the faults: {why}")
        self.settled_s = self.timeline.now_s - began
        idle = self.rules.idle(self.life)
        while idle and self.timeline.now_s - began < (LISTED_S if all(HALTED in bot for bot in idle) else CALM_S):
            self._live_until(self.timeline.now_s + 1)
            idle = self.rules.idle(self.life)
        self.rules.hold(not idle, f"not trading {self.timeline.now_s - began:.0f} s after the faults: {idle}")
        self.trading_s = self.timeline.now_s - began

    def _reconcile(self) -> None:
        """Let botd itself say that its books match, as ``botctl reconcile`` asks it."""
        life = self.life
        assert life is not None
        for _ in range(int(CALM_S)):
            life.look()
            self._live_until(self.timeline.now_s + 1)
            found = life.world.account.explain()
            if found.match:
                return
        self.rules.hold(False, f"the books do not match: {found.differences}")

    def _end(self) -> None:
        """Stop in order, then hold the file against the exchange, and against itself."""
        assert self.life is not None
        for _ in range(240):
            if not self.rules.unsettled(self.life):
                break
            self._live_until(self.timeline.now_s + 0.25)
        stopped_ms = self.timeline.now_ms()
        self._stop()
        self.rules.durable(whole=True)
        with reading(self.home / "ledger.db") as ledger:
            booked = set(ledger.execute("SELECT symbol, trade_id FROM fills").fetchall())
            known = {row[0] for row in ledger.execute("SELECT client_order_id FROM orders").fetchall()}
            self.digest = _digest(ledger, self.venue)
        true = {(f"{t.symbol[:-4]}/USDT", str(t.id)): t.time_ms for t in self.venue.books.trades}
        late = {key for key, time_ms in true.items() if time_ms >= stopped_ms}  # the next start would book them
        self.rules.hold(
            booked | late == true.keys(), f"A7: fills that differ: {sorted((booked | late) ^ true.keys())[:4]}"
        )
        orphans = [o.client_id for o in self.venue.books.orders.values() if o.client_id not in known]
        self.rules.hold(not orphans, f"I1: orphans: {orphans}")

    # -- life and death

    def _live_until(self, until_s: float) -> None:
        """Let time pass, second by second; botd is begun again whenever it has ended."""
        while self.timeline.now_s < until_s:
            if self.life is None:
                self._begin()
            assert self.life is not None
            was_built = self.life.built
            alive = self.life.play(min(until_s, self.timeline.now_s + _TURN_S))
            if self.life.built and not was_built and alive:
                self.rules.built(self.life)
            self.rules.look()
            self.rules.acknowledged.update(self.life.acknowledged)
            if not alive:
                self._crashed()

    def _begin(self) -> None:
        self.counts["lives"] += 1
        self.life = Life(self._config, self.network, self.market, self._clock, self._fleet)
        self.rules.begin(self.life)

    def _crashed(self) -> None:
        assert self.life is not None
        self.counts["crashes"] += 1
        self.life.drop()
        self.network.lost()
        self.life, self._armed = None, ""
        self._away(self._dice.choice((0.2, 1.0, 5.0, 30.0, 90.0)))

    def _away(self, seconds: float) -> None:
        self.rules.begin_none()
        self.rules.durable()
        self.timeline.pass_to(self.timeline.now_s + seconds)

    def _stop(self) -> bool:
        """End botd in order; False where it crashed in the midst of that."""
        assert self.life is not None
        self.life.stop()
        for _ in range(120):
            if self.life.ended:
                break
            if not self.life.play(self.timeline.now_s + 0.5):
                return False
        self.rules.hold(self.life.ended, "botd did not stop within a minute")
        self.life.drop()
        self.counts["stops"] += 1
        return True

    # -- blows

    def _strike(self, blow: Blow) -> None:
        life = self.life
        self.counts[blow.kind] += 1
        if life is None:
            return
        if blow.kind == "steps":
            life.loop.crash_after(blow.number)
        elif blow.kind in ("before", "after", "before_commit", "after_commit"):
            self._armed = blow.kind
        elif blow.kind == "stop" and life.built:
            if self._stop():
                self.life = None
                self._away(1.0)
            else:
                self._crashed()
        elif blow.kind == "network":
            self.network.down_until_s = self.timeline.now_s + blow.number / 20
        elif blow.kind == "silence":
            self.market.silent_until_s = self.timeline.now_s + blow.number / 20
        elif blow.kind == "clock":
            life.clock.step_ms += (blow.number - 500) * 6
        elif blow.kind == "deposit":
            self.venue.deposit("USDT", Decimal(blow.number + 1))
        elif blow.kind == "halt" and life.built:
            life.command(lambda: self._switch(life, "halted"))

    def _switch(self, life: Life, state: str) -> None:
        scopes = [("account", "account")]
        life.world.kill_switch.set(scopes, state, "simulation")
        if state == "halted":
            life.world.kill_switch.cancel_entries(scopes)
            life.loop.call_later(45, lambda: life.command(lambda: self._switch(life, "active")))

    def _release(self) -> None:
        life = self.life
        assert life is not None
        life.command(lambda: self._switch(life, "active"))

    def _struck(self, place: str) -> bool:
        """Tell whether botd ends at this place, now."""
        if not self._troubled or place.removeprefix("ledger.") != self._armed:
            return False
        self._armed = ""
        return True

    def _count(self) -> None:
        books = self.venue.books
        self.counts["seeds"] += 1
        self.counts["orders"] += len(books.orders)
        self.counts["fills"] += len(books.trades)
        targets = [o for o in books.orders.values() if o.list_id >= 0 and o.type == "LIMIT_MAKER"]
        self.counts["pairs"] += len(books.lists)
        self.counts["pairs' targets filled"] += sum(order.status == "FILLED" for order in targets)
        self.counts["pairs' targets filled in part"] += sum(0 < order.executed < order.quantity for order in targets)
        self.counts["pairs' stops filled"] += sum(
            order.status == "FILLED" for order in books.orders.values() if order.list_id >= 0 and order not in targets
        )
        self.counts["requests"] += sum(self.network.counts.values())
        self.counts["commits"] += self.disk.commits
        self.counts.update(self.rules.counts)
        for fault, _ in [(fault, 0) for fault in self._plan._planned]:
            hits = self._plan.hits(fault)
            if hits:
                self.counts[f"fault {fault.kind}"] += hits


def _digest(ledger: object, venue: Venue) -> str:
    """Return the hash of what the ledger and the exchange say in the end."""
    sums = hashlib.sha256()
    for table, columns in _HASHED.items():
        rows = ledger.execute(f"SELECT {columns} FROM {table} ORDER BY {columns}").fetchall()  # type: ignore[attr-defined]
        sums.update(msgspec.json.encode([table, rows]))
    books = venue.books
    trades = [(t.symbol, t.id, t.order_id, str(t.price), str(t.quantity)) for t in books.trades]
    sums.update(msgspec.json.encode([trades, sorted((a, str(v)) for a, v in books.balances.items())]))
    return sums.hexdigest()
