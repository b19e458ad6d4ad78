"""The account on Binance: :class:`~botd.exchange.remote.RemoteExchange` over REST and the user data stream.

It composes: :mod:`.order_desk` sends, :mod:`.questions` asks, :mod:`.user_stream` listens, and a task of its own keeps
time, listing and connection fresh. Money is refused to a key that could move it away. What an order's history
means, and what to ask when a doubt or a gap of the stream is told, is the business of who listens.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.clock import Clock, seeded_random
from botd.domain.errors import BotdError, ConfigError, said
from botd.domain.failpoints import failpoint
from botd.domain.instrument import Instrument
from botd.domain.order import Order, OrderType, Report
from botd.exchange.binance import user_events
from botd.exchange.binance.holdings import Holdings
from botd.exchange.binance.order_desk import OrderDesk, OwnerOf
from botd.exchange.binance.questions import Commission, Questions, RefusedError
from botd.exchange.binance.signing import Signer
from botd.exchange.binance.site import Site
from botd.exchange.binance.stream_rules import StreamRules
from botd.exchange.binance.user_stream import UserStream
from botd.exchange.binance.weights import weight_of
from botd.exchange.exchange import Balance, ReportListener
from botd.exchange.governor import Lane
from botd.exchange.remote import AccountListener, RemoteBalance, RemoteOrder, RemoteTrade

TIME_S = 600.0  # the exchange's time is measured so often
LISTING_S = 300.0  # what is in use is looked up so often
WARM_S = 10.0
"""An order never waits for a handshake: the connection is used at least so often."""
STOP_S = 12.0
"""An answer under way at the end is waited for so long: the engine answers within ten seconds."""
_TURN_S = 1.0
_STREAM, _UPKEEP = "user stream", "exchange upkeep"
_ERRORS = 0.5  # share of failed requests from which on nothing should be opened
_TRANSFERS = 256
"""So many of the last ones are remembered."""
_KEY_REFUSALS = (-1022, -2008, -2014, -2015)

logger = logging.getLogger("botd.exchange")


class Capabilities(msgspec.Struct, frozen=True):
    """What kinds of orders a pair takes at the moment."""

    order_types: frozenset[OrderType] = frozenset()
    pairs: bool = False
    """One-cancels-the-other."""
    stops: int = 0
    """How many orders with a trigger the account may have on it."""


class BinanceExchange:
    """See the module. :meth:`start` until it succeeds; listeners before that; :meth:`close` at the end.

    ``owner_of`` tells the bot's number of a client order id of ours, None for anybody else's.
    """

    in_process = False

    def __init__(
        self,
        *,
        site: Site,
        signer: Signer,
        clock: Clock,
        owner_of: OwnerOf,
        rules: StreamRules | None = None,
        seed: int | str = "user-stream",
    ) -> None:
        self.site = site
        self.warnings: tuple[str, ...] = ()
        """What is allowed, but unwise: filled by :meth:`start`."""
        self._clock = clock
        self._owner_of = owner_of
        self._report: ReportListener | None = None
        self._account: AccountListener | None = None
        self._holdings = Holdings()
        self._transfers: collections.deque[tuple[str, Decimal, int]] = collections.deque(maxlen=_TRANSFERS)
        self._started = False
        self._can_trade = True
        self._troubles: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.questions = Questions(site, signer)
        self._desk = OrderDesk(site, signer, clock=clock, owner_of=owner_of, tell=self._tell, doubt=self._on_doubt)
        self._stream = UserStream(
            site,
            signer,
            clock=clock,
            rng=seeded_random(seed),
            on_event=self._on_event,
            on_up=self._on_up,
            rules=rules,
        )

    # -- life

    async def start(self) -> None:
        """Sign in: listing, time, what the key may do, balances; then listen to the account. May be called again after
        it raised UnavailableError; ConfigError for a key that is refused, by the exchange or by us."""
        if self._started:
            return
        try:
            await self.site.load_listing()
            if self.site.time.age_s > TIME_S:
                await self.site.measure_time()
            self.warnings = await self._judge_key()
            await self._load_account()
        except RefusedError as refusal:
            self._troubles["start"] = refusal.message
            if refusal.exchange_code in _KEY_REFUSALS:
                remedy = "look at keys_file, and at the key's rights and IP addresses on the exchange"
                raise ConfigError(f"binance refuses the API key: {refusal.message}", remedy) from None
            raise
        except BotdError as error:
            self._troubles["start"] = error.message
            raise
        self._troubles.pop("start", None)
        for warning in self.warnings:
            logger.warning("%s", warning)
        self._started = True
        for name, work in ((_STREAM, self._stream.run), (_UPKEEP, self._keep)):
            self._tasks.append(asyncio.create_task(self._supervise(name, work), name=name))

    async def close(self, budget_s: float = STOP_S) -> None:
        """Stop listening; wait for orders under way, so long at most: then they are UNKNOWN. The site stays open."""
        self._started = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._desk.close(budget_s)

    def is_ready(self) -> bool:
        """True while orders may be sent: signed in, the clock known, not banned."""
        return self._started and not self.site.governor.blocked_s and self.site.time.offset_ms is not None

    @property
    def status(self) -> str:
        """``ok`` or ``degraded``."""
        return "degraded" if self.detail else "ok"

    @property
    def detail(self) -> str:
        """What is wrong now, in one line; empty when nothing is."""
        if not self._started and not self._troubles:
            return "not started"
        found = [f"{name}: {trouble}" for name, trouble in self._troubles.items()]
        found += [self.unreliable] if self.unreliable else []
        found += [] if self._can_trade else ["the exchange has disabled trading on this account"]
        if self._started and not self._stream.is_up:
            found.append(f"user stream: {self._stream.trouble}")
        return "; ".join(found)

    @property
    def unreliable(self) -> str:
        """Why no position should be opened now: a ban, a firewall, most requests failing. Empty: no reason."""
        if blocked := self.site.governor.detail:
            return blocked
        share = self.site.client.errors.share
        return f"{share:.0%} of the requests of the last minute failed" if share > _ERRORS else ""

    @property
    def stream_is_up(self) -> bool:
        """True while events of the account come by themselves."""
        return self._stream.is_up

    def statistics(self) -> dict[str, Any]:
        """Return status and counters; the limits used are ``botctl limits``'s."""
        return {
            "status": self.status,
            "detail": self.detail,
            "orders": self._desk.statistics(),
            "orders_known": self._desk.known,
            "stream": self._stream.statistics(),
            "rest": dict(self.site.client.counts),
            "server_offset_ms": self.site.time.offset_ms,
        }

    # -- the seam: orders

    def listen(self, listener: ReportListener) -> None:
        self._report = listener

    def listen_account(self, listener: AccountListener) -> None:
        self._account = listener
        self.site.time.on_step.append(listener.on_clock_step)

    def know(self, symbols: Mapping[str, str]) -> None:
        self._desk.know(symbols)

    def now_ms(self) -> int:
        return self.site.time.now_ms()

    def submit(self, order: Order) -> None:
        self._desk.place(order)

    def submit_pair(self, first: Order, second: Order, list_id: str) -> None:
        self._desk.place(first, second, list_id=list_id)

    def cancel(self, client_order_id: str) -> None:
        self._desk.cancel(client_order_id)

    async def cancel_all(self, symbol: str) -> int:
        """End all working orders of a symbol, everybody's, in one request; QueryFailedError where it is not certain."""
        return await self._desk.cancel_all(symbol)

    # -- the seam: questions

    def instruments(self) -> Mapping[str, Instrument]:
        return self.site.listing.instruments

    def capabilities(self, symbol: str) -> Capabilities:
        """Return what kinds of orders a pair takes; none for one that is not listed."""
        listed = self.site.listing.pairs.get(symbol)
        if listed is None or not self._can_trade:
            return Capabilities()
        return Capabilities(listed.order_types, listed.oco, listed.instrument.max_algo_orders)

    def balances(self) -> Mapping[str, Balance]:
        return {asset: Balance(row.total, row.free) for asset, row in self._holdings.rows.items()}

    async def find_order(self, symbol: str, client_order_id: str) -> RemoteOrder | None:
        found = await self.questions.find_order(symbol, client_order_id)
        self._desk.learn(client_order_id, found)
        return found

    async def find_numbered(self, symbol: str, exchange_order_id: str) -> RemoteOrder | None:
        found = await self.questions.find_numbered(symbol, exchange_order_id)
        if found is not None:
            self._desk.learn(found.client_order_id, found)
        return found

    async def find_open_orders(self, symbol: str | None = None) -> list[RemoteOrder]:
        found = await self.questions.find_open_orders(symbol)
        ours = {row.client_order_id: row.symbol for row in found if self._owner_of(row.client_order_id) is not None}
        self._desk.know(ours)
        return found

    async def find_trades(self, symbol: str, *, from_id: str | None = None, order_id: str | None = None,
                          since_ms: int | None = None) -> list[RemoteTrade]:  # fmt: skip
        return await self.questions.find_trades(symbol, from_id=from_id, order_id=order_id, since_ms=since_ms)

    async def find_balances(self) -> dict[str, RemoteBalance]:
        return await self._load_account()

    async def find_commission(self, symbol: str) -> Commission:
        """Return what the account pays on a symbol."""
        return await self.questions.find_commission(symbol)

    # -- inside

    async def _load_account(self) -> dict[str, RemoteBalance]:
        account = await self.questions.find_account()
        self._can_trade = account.can_trade
        self._holdings.on_answer(account, self.site.time.now_ms())
        return account.holdings()

    async def _judge_key(self) -> tuple[str, ...]:
        """Refuse a key that may do more than trade; the test network has no such question."""
        if self.site.testnet:
            return ()
        key = await self.questions.find_permissions()
        if too_much := key.takes_money_out:
            remedy = "make a key that may read and trade on spot, nothing else"
            raise ConfigError(f"the API key may do {', '.join(too_much)}: it is not used for live trading", remedy)
        if not key.enable_spot_and_margin_trading:
            raise ConfigError("the API key may not trade", "allow spot trading for it on the exchange")
        if not key.ip_restrict:
            return ("the API key is not bound to an IP address: who gets hold of it can trade with it from anywhere",)
        return ()

    async def _keep(self) -> None:
        """Keep the time, the listing and a connection fresh; for ever."""
        warm_s = tried_s = self._clock.monotonic()
        while True:
            await self._clock.sleep(_TURN_S)
            if step := self.site.time.notice_step():
                logger.warning("our clock stepped by %d ms", step)
                self.site.time.distrust()
            if self.site.time.age_s >= TIME_S:
                await self._try("time", self.site.measure_time)
            now = self._clock.monotonic()
            if self.site.listing_age_s >= LISTING_S and now - tried_s >= WARM_S:
                tried_s = now
                await self._try("listing", self.site.refresh_listing)
            if now - warm_s >= WARM_S:
                warm_s = now
                await self._try("connection", self._warm)
            self._troubles.pop(_UPKEEP, None)

    async def _try(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except BotdError as error:
            if name not in self._troubles:
                logger.warning("exchange %s: %s; trying again", name, error)
            self._troubles[name] = error.message
        else:
            self._troubles.pop(name, None)

    async def _warm(self) -> None:
        weight = weight_of("ping")
        await self.site.client.call("GET", "/api/v3/ping", {}, weight=weight, lane=Lane.MARKET, patience_s=1.0)

    async def _supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run a part again when it fails: a mistake of ours, or of who listens, must not leave the account unheard."""
        while True:
            try:
                await work()
            except Exception as error:  # the boundary of a part: the exchange goes on
                logger.exception("%s failed; trying again", name)
                self._troubles[name] = said(error)
            await self._clock.sleep(_TURN_S)

    # -- what comes by itself

    def _tell(self, report: Report) -> None:
        if self._report is not None:
            self._report(report)

    def _on_doubt(self, client_order_id: str, reason: str) -> None:
        if self._account is not None:
            self._account.on_doubt(client_order_id, reason[:200])

    def _on_up(self, up: bool) -> None:
        if self._account is not None:
            self._account.on_stream(up)
        self._troubles.pop(_STREAM, None)

    def _on_event(self, event: user_events.Event) -> None:
        failpoint("exchange.on_event")
        if isinstance(event, user_events.ExecutionReport):
            self._on_order(event)
        elif isinstance(event, user_events.AccountPosition):
            self._holdings.on_event(event)
        elif isinstance(event, user_events.BalanceUpdate):
            self._on_transfer(event)
        elif isinstance(event, user_events.ListStatus) and event.status == "REJECT":
            for member in event.orders:
                if self._owner_of(member.client_id) is not None:
                    self._on_doubt(member.client_id, f"its order list was refused: {event.reason}")

    def _on_transfer(self, event: user_events.BalanceUpdate) -> None:
        """Tell of a transfer once: the stream may say everything twice, and a transfer has no number of its own."""
        told = (event.asset, event.amount, event.time_ms)
        if told not in self._transfers:
            self._transfers.append(told)
            if self._account is not None:
                self._account.on_transfer(*told)

    def _on_order(self, event: user_events.ExecutionReport) -> None:
        bot = self._owner_of(event.id)
        try:
            if bot is not None:
                report = event.report(self.site.listing.symbol(event.symbol), bot)
                self._desk.forget(report.client_order_id, report.status)
                self._tell(report)
            elif self._account is not None:
                self._account.on_foreign(event.remote(self.site.listing.symbol))
        except ValueError as error:  # a word that is new to us: ask instead
            logger.warning("user stream: %s", error)
            if bot is not None:
                self._on_doubt(event.id, str(error))
