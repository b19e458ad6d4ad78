"""Stop and target as a pair over the wire: real client, real ledger, faults, and a daemon that dies in between.

The front's exchange keeps the books. Times of doubt are a twentieth of the real ones (:mod:`.test_order_life_wire`).
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from botd.domain.instrument import Instrument
from botd.domain.order import Intent, Order, OrderStatus, OrderType, Purpose, Side
from botd.execution.explain import Claim
from botd.execution.positions import Levels, ProtectionRules
from botd.execution.protection import ProtectiveOrders
from tests.fakes.binance import BinanceFront
from tests.fakes.binance.exchange import ExchangeFault, named
from tests.fakes.binance.exchange.fault_plan import ExchangeFaults
from tests.fakes.binance.exchange.orders import Order as TrueOrder
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_account import BTC, play, venue
from tests.integration.test_live_exchange_faults import plan
from tests.integration.test_order_life_wire import Daemon, check, settled, until

HELD = Decimal("0.02")
INSTRUMENT = Instrument(symbol=BTC, base="BTC", quote="USDT", tick=Decimal("0.01"), step=Decimal("0.00001"))
SOON = ProtectionRules(verify_s=3, retry_s=0.2, declared_s=60, move_every_s=0.3)
OCO = "/api/v3/orderList/oco"
EXECUTION = "executionReport"


class Guarded(Daemon):
    """A botd whose bot 7 holds 0.02 BTC: its stop is at 58,000, its target at 62,000."""

    def __init__(self, front: BinanceFront, home: Path) -> None:
        super().__init__(front, home)
        self.number, self.name, self.symbol, self.instrument = 7, "alpha", BTC, INSTRUMENT
        self.level, self.goal, self.selling = 58_000.0, 62_000.0, False
        self.sold = Decimal(0)
        exchange = self.exchange
        self.protection = ProtectiveOrders(
            gateway=self.gateway, positions=lambda: [self], journal=self.ledger.journal, clock=self.clock, rules=SOON,
            unpaired=lambda symbol: "" if exchange.capabilities(symbol).pairs else f"takes no pairs of {symbol}",
        )  # fmt: skip
        self.protection.restore(self.ledger.load().kv.get("protection", {}))

    async def start(self) -> None:
        rows = await self.ledger.query("SELECT quantity FROM fills WHERE side = 'sell'", ())
        self.sold = sum((Decimal(row["quantity"]) for row in rows), Decimal(0))
        await super().start()
        self.tasks.append(asyncio.create_task(self._protect()))

    async def _protect(self) -> None:
        while True:
            self.protection.step()
            await asyncio.sleep(0.02)

    def keep(self) -> None:
        self.ledger.journal.keyed("protection", self.protection.drain_changes())
        super().keep()

    def claims(self) -> list[Claim]:
        return [Claim(bot=7, name="alpha", symbol=BTC, quantity=self.quantity())]

    # -- the position

    def stop(self) -> float | None:
        return self.level

    def target(self) -> float | None:
        return self.goal

    def quantity(self) -> Decimal:
        exits = [o.remaining for o in self.gateway.open_orders(bot=7) if o.purpose is Purpose.EXIT]
        return HELD - self.sold - sum((fill.quantity for fill in self.owner.fills), sum(exits, Decimal(0)))

    def exiting(self) -> bool:
        return self.selling

    def refusal(self) -> str:
        return ""

    def place(self, levels: Levels) -> list[Order]:
        stop = self._sale(OrderType.STOP_LOSS, "stop_loss", stop_price=levels.stop)
        if levels.target is None:
            return [self.gateway.submit(stop, levels.quantity)]
        target = self._sale(OrderType.LIMIT_MAKER, "take_profit", price=levels.target)
        return self.gateway.submit_pair(stop, target, levels.quantity)

    def cancel(self, order: Order) -> None:
        self.gateway.cancel(order)

    def flatten(self, reason: str) -> None:
        raise AssertionError(reason)

    def _sale(self, kind: OrderType, reason: str, purpose: Purpose = Purpose.PROTECTION, **prices: Decimal) -> Intent:
        return Intent(bot=7, symbol=BTC, interval="1m", side=Side.SELL, type=kind, purpose=purpose, reason=reason,
                      reference_price=60_000.0, **prices)  # fmt: skip

    # -- what a test asks

    @property
    def known(self) -> Any:
        return self.protection.where(7)

    def rests(self) -> bool:
        """Tell whether both levels are known to rest."""
        return self.known is not None and self.known.place == self.known.target_place == "exchange"

    async def sell_all(self) -> None:
        """Leave the position as a bot does: the legs end, then the rest is sold."""
        self.selling = True
        for leg in self.gateway.open_orders(bot=7):
            self.gateway.cancel(leg)
        await until(lambda: not self.gateway.open_orders(bot=7), 10)
        if left := self.quantity():
            self.gateway.submit(self._sale(OrderType.MARKET, "signal", Purpose.EXIT), left)


def resting(made: Exchange) -> list[TrueOrder]:
    return made.books.open_orders("BTCUSDT")


def true_leg(made: Exchange, kind: str) -> TrueOrder:
    return next(order for order in resting(made) if order.type == kind)


def scene_of(
    home: Path, script: Callable[[BinanceFront, Exchange, Guarded], Any], *faults: ExchangeFault, seconds: float = 40
) -> None:
    """Play a script with a botd that knows its account; ``faults`` hold from then on."""

    async def scene() -> None:
        made = Exchange({"USDT": "1000", "BTC": str(HELD)})
        async with venue(made) as front:
            daemon = Guarded(front, home)
            daemon.selling = True  # nothing is placed before the account is known
            await daemon.start()
            await until(lambda: daemon.reconciler.ready, 10)
            for fault in faults:
                made.inject(fault)
            daemon.selling = False
            last = await script(front, made, daemon) or daemon
            made.mend_all()
            await until(lambda: settled(last, made), 15)
            assert last.told == []
            assert len({order.list_id for order in resting(made)}) <= 1
            await last.end(killed=False)
            await check(made, home)

    play(scene, seconds)


def test_a_pair_rests_seen_and_explained_and_its_coins_are_bound_once(tmp_path: Path) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> None:
        await until(daemon.rests, 5)
        stop, target = true_leg(made, "STOP_LOSS"), true_leg(made, "LIMIT_MAKER")
        assert stop.list_id == target.list_id >= 0 and stop.quantity == target.quantity == HELD
        assert (stop.asked.stop_price, target.price) == (58_000, 62_000)
        await daemon.reconciler.look_now()
        bound = [row for row in daemon.reconciler.explain().rows if row.asset == "BTC" and row.kind == "reserved"]
        assert [(row.quantity, row.detail) for row in bound] == [(HELD, "stop and target")]
        assert daemon.reconciler.explain().match
        assert sum(seen.path == OCO for seen in front.record.requests) == 1

    scene_of(tmp_path, script)


LOST = ("accept_then_timeout", "-1007_with_effect", "200_truncated")


@pytest.mark.parametrize("fault", LOST)
def test_a_pair_whose_answer_is_lost_is_found_by_its_legs_and_never_sent_again(tmp_path: Path, fault: str) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> None:
        await until(daemon.rests, 10)
        assert len(made.books.lists) == 1 and len(resting(made)) == 2

    deaf = named("events_dropped", for_ms=900, event=EXECUTION)
    scene_of(tmp_path, script, named(fault, path=OCO, times=1), deaf)


def test_a_pair_that_never_arrived_is_proved_not_to_be_there_and_another_is_placed(tmp_path: Path) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> None:
        await until(daemon.rests, 15)
        assert len(made.books.lists) == 1
        daemon.keep()
        rows = await daemon.ledger.query("SELECT status, type FROM orders ORDER BY id", ())
        assert sorted(row["status"] for row in rows) == ["not_placed", "not_placed", "open", "open"]
        assert daemon.known.seconds > 1

    scene_of(tmp_path, script, named("lost_request", path=OCO, times=1))


def test_a_pair_beyond_which_the_price_is_leaves_the_stop_alone_and_says_so(tmp_path: Path) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> None:
        await until(lambda: daemon.known is not None and daemon.known.place == "exchange", 5)
        assert [order.type for order in resting(made)] == ["STOP_LOSS"] and daemon.known.target_place == "botd"
        assert "-2010" in daemon.protection.rows()[0]["detail"]

    refuse = named("-2010", path=OCO, message="The relationship of the prices for the orders is not correct.")
    scene_of(tmp_path, script, refuse)


def test_a_symbol_that_takes_no_pairs_has_its_stop_alone(tmp_path: Path) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> None:
        await until(daemon.rests, 5)
        made.venue.rows["BTCUSDT"] = {**made.venue.rows["BTCUSDT"], "ocoAllowed": False}
        daemon.level = 58_500.0  # the listing was read before: the exchange itself says no
        await until(lambda: daemon.known.place == "exchange" and daemon.known.target is None, 10)
        assert "OCO orders are not supported" in daemon.known.alone
        assert [(o.type, o.asked.stop_price) for o in resting(made)] == [("STOP_LOSS", 58_500)]
        pairs = daemon.site.listing.pairs
        daemon.site.listing.pairs = {**pairs, BTC: msgspec.structs.replace(pairs[BTC], oco=False)}
        daemon.level = 58_900.0
        daemon.known.alone_s = 0.0
        await until(lambda: "takes no pairs" in daemon.known.alone and daemon.known.place == "exchange", 10)
        assert [(o.type, o.asked.stop_price) for o in resting(made)] == [("STOP_LOSS", 58_900)]
        assert len(made.books.lists) == 1

    scene_of(tmp_path, script)


@pytest.mark.parametrize(
    ("bid", "ask", "reason"), [("62000.00", "62000.01", "take_profit"), ("57900", "57901", "stop_loss")]
)
@pytest.mark.parametrize("deaf", [False, True])
def test_a_leg_that_fills_ends_the_other_and_no_difference_is_seen(
    tmp_path: Path, bid: str, ask: str, reason: str, deaf: bool
) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> None:
        await until(daemon.rests, 5)
        if deaf:
            made.inject(named("events_dropped"))
            await daemon.reconciler.look_now()
        made.set_price("BTCUSDT", bid, ask)
        await until(lambda: not daemon.quantity() and not daemon.gateway.open_orders(), 10)
        daemon.keep()
        rows = await daemon.ledger.query("SELECT intent_reason, status FROM orders", ())
        ended = {row["intent_reason"]: row["status"] for row in rows}
        assert ended.pop(reason) == "filled" and list(ended.values()) == ["expired"]
        assert [seen.method for seen in front.record.requests if seen.method == "DELETE"] == []

    scene_of(tmp_path, script)


@pytest.mark.parametrize("deaf", [False, True])
def test_what_is_left_of_a_target_that_filled_in_part_is_protected_anew(tmp_path: Path, deaf: bool) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> None:
        await until(daemon.rests, 5)
        before = daemon.known.seconds
        if deaf:
            made.inject(named("events_dropped", for_ms=2000))
        made.venue.engine.fill(true_leg(made, "LIMIT_MAKER"), Decimal("0.005"))
        assert [order.type for order in resting(made)] == ["LIMIT_MAKER"]  # the exchange took its stop away at once
        await until(lambda: daemon.rests() and len(made.books.lists) == 2, 10)
        assert [order.quantity for order in resting(made)] == [Decimal("0.015")] * 2
        assert daemon.known.seconds > before

    scene_of(tmp_path, script)


def test_a_moved_level_and_an_exit_end_both_legs_by_one_cancel_and_sell_once(tmp_path: Path) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> None:
        await until(daemon.rests, 5)
        daemon.level = 59_000.0
        await until(lambda: daemon.rests() and len(made.books.lists) == 2, 10)
        assert true_leg(made, "STOP_LOSS").asked.stop_price == 59_000
        await daemon.sell_all()
        await until(lambda: not daemon.quantity() and not daemon.gateway.open_orders(), 10)
        assert sum(seen.method == "DELETE" for seen in front.record.requests) == 2
        assert made.books.balances["BTC"] == 0

    scene_of(tmp_path, script)


@pytest.mark.parametrize("fault", ["cancel_fill_race", "cancel_partial_race", "-2011", "accept_then_timeout"])
def test_an_exit_that_races_with_a_leg_never_sells_twice(tmp_path: Path, fault: str) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> None:
        await until(daemon.rests, 5)
        made.inject(named(fault, **({} if "race" in fault else {"method": "DELETE", "times": 1})))
        await daemon.sell_all()
        await until(lambda: not daemon.quantity() and not daemon.gateway.open_orders(), 10)
        assert made.books.balances["BTC"] == 0

    scene_of(tmp_path, script)


# -- a kill at any step


def _sent(daemon: Guarded, front: BinanceFront, made: Exchange) -> bool:
    return any(seen.path == OCO for seen in front.record.requests)


STEPS: dict[str, Callable[[Guarded, BinanceFront, Exchange], bool]] = {
    "intended": lambda daemon, front, made: bool(daemon.gateway.open_orders()),
    "sent": _sent,
    "arrived": lambda daemon, front, made: len(resting(made)) == 2,
    "proven": lambda daemon, front, made: daemon.rests(),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_while_a_pair_is_placed_leaves_one_pair(tmp_path: Path, step: str) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> Guarded:
        await until(lambda: STEPS[step](daemon, front, made), 5)
        await daemon.end(killed=True)
        after = Guarded(front, tmp_path)
        await after.start()
        await until(after.rests, 15)
        assert len(resting(made)) == 2
        return after

    scene_of(tmp_path, script)


@pytest.mark.parametrize("what", ["move", "part", "target", "stop"])
def test_a_kill_while_a_pair_changes_ends_in_one_pair_or_none(tmp_path: Path, what: str) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> Guarded:
        await until(daemon.rests, 5)
        await asyncio.sleep(SOON.move_every_s)
        if what == "move":
            daemon.level = 58_500.0
            await until(lambda: any(seen.method == "DELETE" for seen in front.record.requests), 5)
        await daemon.end(killed=True)
        if what == "part":
            made.venue.engine.fill(true_leg(made, "LIMIT_MAKER"), Decimal("0.005"))
        elif what != "move":
            price = {"target": ("62000", "62001"), "stop": ("57900", "57901")}[what]
            made.set_price("BTCUSDT", *price)
        after = Guarded(front, tmp_path)
        await after.start()
        if what in ("target", "stop"):  # both work with botd dead
            await until(lambda: not after.quantity() and not after.gateway.open_orders(), 10)
            assert resting(made) == [] and made.books.balances["BTC"] == 0
        else:
            await until(lambda: after.rests() and settled(after, made), 15)
            assert {order.left for order in resting(made)} == {after.quantity()} and len(resting(made)) == 2
        return after

    scene_of(tmp_path, script)


@pytest.mark.parametrize("seed", range(int(os.environ.get("BOTD_SEEDS", "2"))))
def test_levels_that_move_through_seeded_faults_and_a_kill_never_leave_two_pairs(tmp_path: Path, seed: int) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> Guarded:
        dice = random.Random(f"pairs {seed}")
        made.venue.faults.entries = ExchangeFaults(plan(seed + 100), seed).entries
        for turn in range(24):
            daemon.level = 58_000.0 + dice.randrange(12) * 100
            daemon.goal = dice.choice((62_000.0, 63_000.0))
            await asyncio.sleep(dice.random() * 0.3)
            units = {order.list_id if order.list_id >= 0 else -order.id for order in resting(made)}
            assert len(units) <= 1, "two live legs that could both sell"
            if turn == 12:
                await daemon.end(killed=True)
                held = made.venue.faults.entries
                made.venue.faults.entries = []  # signing in is not what is tried here
                daemon = Guarded(front, tmp_path)
                await daemon.start()
                made.venue.faults.entries = held
        made.mend_all()
        await until(lambda: daemon.known is not None and daemon.known.place == "exchange", 20)
        return daemon

    scene_of(tmp_path, script, seconds=60)


def test_a_rejected_reason_is_kept_with_both_legs(tmp_path: Path) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> None:
        await until(lambda: daemon.known is not None and daemon.known.place == "exchange", 5)
        daemon.keep()
        rows = await daemon.ledger.query("SELECT status, reason FROM orders ORDER BY id LIMIT 2", ())
        assert [row["status"] for row in rows] == [OrderStatus.REJECTED] * 2
        assert all("insufficient balance" in row["reason"] for row in rows)

    scene_of(tmp_path, script, named("-2010", path=OCO, times=1))


def test_of_more_than_a_market_order_may_have_that_much_rests_once_and_stays(tmp_path: Path) -> None:
    async def script(front: BinanceFront, made: Exchange, daemon: Guarded) -> None:
        daemon.instrument = msgspec.structs.replace(INSTRUMENT, max_quantity=Decimal("0.015"))
        await until(daemon.rests, 5)
        await asyncio.sleep(1)
        assert daemon.rests() and [order.quantity for order in resting(made)] == [Decimal("0.015")] * 2
        assert len(made.books.lists) == 1 and "botd guards 0.005" in daemon.protection.rows()[0]["detail"]

    most = {"MARKET_LOT_SIZE": {"maxQty": "0.015"}}
    scene_of(tmp_path, script, ExchangeFault(kind="filters", filters=most))
