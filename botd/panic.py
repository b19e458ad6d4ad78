"""Panic: cancel our working orders on the exchange, and sell what our bots hold, without a daemon.

    ledger (read only) + keys -> the account's open orders -> ours are cancelled -> [sales] -> read back

It depends on nothing that can hang or be damaged but the exchange: the ledger gives this instance's id, and what is
held where it can be read. Orders of people and of other instances are left alone. A sale has an id of our own, so the
next botd books it as that bot's exit. It writes nothing here; what it could not do it says, row by row.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from botd.config import Config
from botd.domain.clock import Clock, WallClock
from botd.domain.errors import BotdError, NotFoundError, UnavailableError, WrongStateError
from botd.domain.instrument import ZERO, split_symbol
from botd.domain.order import PANIC_SEQUENCE, Order, OrderStatus, OrderType, Purpose, Report, Side
from botd.domain.position import Position
from botd.exchange.ban_memory import BanMemory
from botd.exchange.binance.order_desk import RECV_WINDOW_MS, OrderDesk
from botd.exchange.binance.questions import PAGE, Questions
from botd.exchange.binance.signing import make_signer
from botd.exchange.binance.site import Site
from botd.exchange.remote import RemoteOrder
from botd.execution.client_ids import client_order_id, parse_client_order_id
from botd.ledger import failures, schema
from botd.ledger.load import load
from botd.ledger.records import amount
from botd.locks import holder

BUDGET_S = 60.0
ANSWER_S = 15.0
AGAIN_S = 0.5
OUT_OF_REACH = "what was cancelled before stays so; run it again, or cancel at the exchange's own site"
KEY_REFUSED = (-2008, -2014, -2015)
_CENTS = Decimal("1e-8")
_SALES = "SELECT client_order_id FROM orders WHERE sequence >= ?"
_UNSENT = (OrderStatus.INTENT, OrderStatus.UNKNOWN)

Answer = TypeVar("Answer")


class Books(msgspec.Struct):
    """What the ledger says: whose orders are ours, and what our bots hold."""

    instance: str
    names: dict[int, str] = {}
    orders: list[Order] = []
    """Those that may be working."""
    held: list[Position] = []
    booked: set[str] = set()
    """The ids of earlier panic's sales that the ledger knows."""
    bans: dict[str, str] = {}
    """Until when the exchange does not want to hear from us, as botd was told."""
    trouble: str = ""
    """Why the positions are not known; empty where they are."""


def place(checked: Config, named: bool) -> dict[str, Any]:
    """Return what panic would work on: ledger, the socket of its botd, the pid of one that runs, warnings.

    ``named``: somebody gave this very configuration.
    """
    _refuse_paper(checked, named)
    pid = holder(checked.state_dir)
    return {
        "ledger": str(checked.state_dir / "ledger.db"),
        "socket": str(checked.socket),
        "pid": pid,
        "testnet": checked.testnet,
        "warnings": list(checked.warnings),
    }


def panic(checked: Config, *, sell: bool, budget_s: float = BUDGET_S, site: Site | None = None) -> dict[str, Any]:
    """Cancel, and sell if asked; return ``rows``, ``left`` (our orders still open), ``others``, ``done``.

    UnavailableError where the exchange could not be reached within the budget, ConfigError without a key.
    """
    _refuse_paper(checked)
    return asyncio.run(_run(checked, read_books(checked.state_dir / "ledger.db"), sell, budget_s, site))


def read_books(path: Path) -> Books:
    """Read the ledger without writing. NotFoundError where there is none; of a damaged one the instance is enough."""
    if not path.exists():
        raise NotFoundError(f"{path}: no ledger there", "name the configuration whose ledger is meant with --config")
    try:
        connection = schema.connect(path, write=False)
        try:
            books = Books(instance=schema.meta(connection, "instance") or "")
            with suppress(sqlite3.Error):
                books.names = dict(connection.execute("SELECT number, name FROM bots").fetchall())
            try:
                booked = connection.execute(_SALES, (PANIC_SEQUENCE,)).fetchall()
                loaded = load(connection)
            except (sqlite3.Error, msgspec.MsgspecError, ArithmeticError, ValueError, TypeError) as error:
                books.trouble = f"the ledger is damaged: {error}"
                return books
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise failures.on_open(path, error) from error
    present = {bot.number for bot in loaded.bots}
    books.orders, books.booked = loaded.open_orders, {row[0] for row in booked}
    books.bans = loaded.kv.get("bans", {})
    books.held = [position for position in loaded.positions if position.bot in present]
    return books


def _refuse_paper(checked: Config, named: bool = True) -> None:
    if checked.mode == "live":
        return
    if checked.paper_reason:  # it may have traded live with a key that is missing here
        fact = f"this configuration trades on paper ({checked.paper_reason}): nothing can be done at the exchange"
        raise WrongStateError(fact, checked.warnings[-1])
    hint = "botctl flatten halts and sells on paper" + ("" if named else "; give --config FILE where another is meant")
    raise WrongStateError("this configuration trades on paper: no order is on an exchange", hint)


async def _run(checked: Config, books: Books, sell: bool, budget_s: float, site: Site | None) -> dict[str, Any]:
    clock, ends, keys = WallClock(), checked.endpoints, checked.keys
    assert keys is not None  # without a key the configuration is one of paper
    signer = make_signer(keys.api_key.reveal(), keys.api_secret.reveal())
    site = site or Site(clock, testnet=checked.testnet, rest=ends.rest, stream=ends.stream, ws_api=ends.ws_api)
    try:
        return await Panic(site, Questions(site, signer), clock, books, budget_s).run(
            sell, lambda **hooks: OrderDesk(site, signer, clock=clock, **hooks)
        )
    finally:
        await site.close()


class Panic:
    """One run. It may be run again at any time."""

    def __init__(self, site: Site, questions: Questions, clock: Clock, books: Books, budget_s: float) -> None:
        self._site = site
        self._questions = questions
        self._clock = clock
        self._books = books
        self._began_s = clock.monotonic()
        self._until_s = self._began_s + budget_s
        self._reports: dict[str, Report] = {}
        self._doubts: dict[str, str] = {}
        self._others = 0
        BanMemory(site.governor, clock).restore(books.bans)

    async def run(self, sell: bool, make_desk: Callable[..., OrderDesk]) -> dict[str, Any]:
        """Do it all; see :func:`panic`."""
        self._desk = make_desk(owner_of=self._bot_of, tell=self._on_report, doubt=self._doubts.__setitem__)
        await self._patiently(self._site.load_listing)
        await self._patiently(self._site.measure_time)
        seen, left = await self._cancel_ours()
        rows = [await self._order_row(order, order.client_order_id in left) for order in seen.values()]
        if sell:
            rows += await self._sell_all()
            seen, left = await self._cancel_ours()  # a botd that runs may have placed others meanwhile
            rows += [await self._order_row(order, order.client_order_id in left) for order in seen.values()]
        failed = any(row["result"] in ("failed", "unknown") for row in rows)
        return {"rows": rows, "left": sorted(left), "others": self._others, "done": not left and not failed}

    # -- cancelling

    async def _cancel_ours(self) -> tuple[dict[str, RemoteOrder], set[str]]:
        """Cancel until none of ours is open; return all that were seen, and what is left at the end of the budget.

        Where an order may have been on its way when botd died, the last look is later than it can arrive.
        """
        seen: dict[str, RemoteOrder] = {}
        under_way = any(order.status in _UNSENT for order in self._books.orders)
        settled_s = self._began_s + (RECV_WINDOW_MS / 1000 + 1 if under_way else 0)
        while True:
            ours = await self._patiently(self._read_ours)
            seen |= ours
            if not ours and self._clock.monotonic() >= settled_s:
                return seen, set()
            if ours and self._clock.monotonic() >= self._until_s:
                return seen, set(ours)
            self._desk.know({key: order.symbol for key, order in ours.items()})
            for key in ours:
                self._desk.cancel(key)
            await self._desk.close(ANSWER_S)  # waits for the answers under way
            await self._clock.sleep(AGAIN_S)

    async def _read_ours(self) -> dict[str, RemoteOrder]:
        found = await self._questions.find_open_orders()
        ours = {order.client_order_id: order for order in found if self._bot_of(order.client_order_id) is not None}
        self._others = len(found) - len(ours)
        return ours

    async def _order_row(self, order: RemoteOrder, left: bool) -> dict[str, Any]:
        key, report = order.client_order_id, self._reports.get(order.client_order_id)
        row = {**self._named("order", key, order.symbol), "side": order.side.value, "type": order.type.value}
        row["quantity"] = amount(order.quantity)
        if left:
            return {**row, "result": "left", "detail": self._doubts.get(key, "the exchange still has it")}
        status = report.status if report is not None and not report.status.is_open else None
        if status is None:  # it ended, and not by an answer to our cancel
            with suppress(BotdError):
                found = await self._questions.find_order(order.symbol, key)
                status = found.status if found is not None else None
        return {**row, "result": status.value if status is not None else "gone", "detail": ""}

    # -- selling

    async def _sell_all(self) -> list[dict[str, Any]]:
        """Sell what the positions hold, as the exchange knows them by now; a row each."""
        if self._books.trouble:
            row = {**self._named("position", "", ""), "result": "failed", "detail": self._books.trouble}
            return [row]
        held: dict[tuple[int, str], Decimal] = {}
        rows: list[dict[str, Any]] = []
        for position in self._books.held:
            held[position.bot, position.symbol] = position.quantity - await self._sold_before(position)
        for order in self._books.orders:
            try:
                moved = await self._not_booked(order)
            except BotdError as error:
                row = {**self._named("order", order.client_order_id, order.symbol), "side": order.side.value}
                row |= {"type": order.type.value, "quantity": amount(order.quantity), "result": "unknown"}
                rows.append({**row, "detail": f"what it moved is not known: {error.message}"})
                continue
            if moved:
                place = (order.bot, order.symbol)
                held[place] = held.get(place, ZERO) + moved
        balances = (await self._patiently(self._questions.find_account)).holdings()
        free = {asset: balance.free for asset, balance in balances.items()}
        sales: list[tuple[Order, dict[str, Any]]] = []
        first = PANIC_SEQUENCE + self._clock.wall_ms()
        for (bot, symbol), quantity in sorted(held.items()):
            while quantity > 0:
                sale, row = self._sale(bot, symbol, quantity, free, first + len(rows))
                rows.append(row)
                if sale is None:
                    break
                self._desk.place(sale)
                sales.append((sale, row))
                quantity -= Decimal(row["quantity"])  # what is more than one order may have: the next
        await self._desk.close(ANSWER_S)
        for sale, row in sales:
            await self._settle(sale, row)
        return rows

    async def _sold_before(self, position: Position) -> Decimal:
        """Return what earlier panics sold of a position, and no botd has booked: the same coins are not sold twice."""
        total, first = ZERO, ""
        while True:
            page = await self._patiently(functools.partial(self._orders_since, position, first))
            for order in page:
                made = parse_client_order_id(order.client_order_id)
                if made is None or made[:2] != (self._books.instance, position.bot) or made[2] < PANIC_SEQUENCE:
                    continue
                total += ZERO if order.client_order_id in self._books.booked else order.filled
            if len(page) < PAGE:
                return total
            first = str(int(page[-1].exchange_order_id) + 1)

    async def _orders_since(self, position: Position, first: str) -> list[RemoteOrder]:
        if first:
            return await self._questions.find_orders(position.symbol, from_id=first)
        return await self._questions.find_orders(position.symbol, since_ms=position.entry_time_ms)

    async def _not_booked(self, order: Order) -> Decimal:
        """Return what an order of ours moved that the ledger has not booked."""
        found = await self._patiently(lambda: self._questions.find_order(order.symbol, order.client_order_id))
        if found is None:
            return ZERO
        return (found.filled - order.filled) * (1 if order.side is Side.BUY else -1)

    def _sale(
        self, bot: int, symbol: str, quantity: Decimal, free: dict[str, Decimal], sequence: int
    ) -> tuple[Order | None, dict[str, Any]]:
        row = {**self._named("position", client_order_id("live", self._books.instance, bot, sequence), symbol)}
        row |= {"side": "sell", "type": "market", "quantity": amount(quantity)}
        instrument = self._site.listing.instruments.get(symbol)
        if instrument is None:
            return None, {**row, "result": "failed", "detail": f"{symbol} is not listed any more"}
        base, _ = split_symbol(symbol)
        if (most := instrument.floor_quantity(instrument.most(quantity, None))) < instrument.floor_quantity(quantity):
            quantity, row["quantity"] = most, amount(most)
        sold = instrument.floor_quantity(min(quantity, free.get(base, ZERO)))
        if sold <= 0 or sold < instrument.min_quantity:
            short = quantity >= instrument.step and sold < instrument.floor_quantity(quantity)
            why = f"only {free.get(base, ZERO):f} {base} are free" if short else "less than may be sold"
            return None, {**row, "result": "failed" if short else "dust", "detail": why}
        free[base] -= sold
        order = Order(
            client_order_id=row["client_order_id"],
            bot=bot,
            symbol=symbol,
            interval="",
            side=Side.SELL,
            type=OrderType.MARKET,
            quantity=sold,
            purpose=Purpose.EXIT,
            intent_reason="panic",
        )
        return order, row

    async def _settle(self, order: Order, row: dict[str, Any]) -> None:
        """Say what became of a sale; it is sent once, so what was not answered is asked for."""
        report, key = self._reports.get(order.client_order_id), order.client_order_id
        row["result"], row["detail"] = "unknown", report.reason if report is not None else "no answer"
        if report is not None and report.status is OrderStatus.REJECTED:
            row["result"] = "dust" if "NOTIONAL" in report.reason else "failed"
            return
        try:
            found = await self._patiently(lambda: self._questions.find_order(order.symbol, key))
        except BotdError as error:
            row["detail"] = error.message
            return
        if found is None:
            return
        filled, rest = found.filled, order.quantity - found.filled
        row["result"], row["detail"] = "failed" if rest > 0 else "sold", found.status.value
        if filled:
            row["detail"] = f"sold {amount(filled)} at {amount((found.filled_notional / filled).quantize(_CENTS))}"
        if filled and rest > 0:
            row["detail"] += f", {amount(rest)} remain: {found.status.value}"

    # -- small things

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask until there is an answer or the budget is used up; a key that is refused is not asked with again."""
        while True:
            try:
                if self._site.time.offset_ms is not None and self._site.time.age_s > BUDGET_S * 10:
                    await self._site.measure_time()  # the exchange said that our time is wrong
                return await ask()
            except BotdError as error:
                refused = getattr(error, "exchange_code", 0) in KEY_REFUSED
                if refused or not isinstance(error, UnavailableError):
                    raise
                if self._clock.monotonic() >= self._until_s:
                    fact = f"the exchange was not reached for {self._until_s - self._began_s:.0f} s: {error.message}"
                    raise UnavailableError(fact, OUT_OF_REACH) from None
                await self._clock.sleep(AGAIN_S)

    def _bot_of(self, text: str) -> int | None:
        made = parse_client_order_id(text)
        return made[1] if made is not None and made[0] == self._books.instance else None

    def _on_report(self, report: Report) -> None:
        self._reports[report.client_order_id] = report

    def _named(self, kind: str, key: str, symbol: str) -> dict[str, Any]:
        bot = self._bot_of(key) if key else None
        name = self._books.names.get(bot, f"bot {bot}") if bot is not None else ""
        return {"kind": kind, "bot": name, "symbol": symbol, "client_order_id": key}
