"""The event engine: strategies over arrays of candles, through the production bot, guard, gate and simulated exchange.

    results = run([history], [spec_of("rsi", history, Terms(...))], Registry.standard(), clock)

The second composition of the production parts (the first is botd's): a virtual clock instead of a player, arrays
instead of a feed, a journal that keeps what the result needs instead of a ledger. Several bots and symbols share one
account and one risk gate. What it gives for signal strategies is what the kernel gives; it is there for event
strategies, for shared accounts, and to prove the kernel right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import msgspec

from botd.backtest.engine_market import EngineMarket, Playback, Track
from botd.backtest.engine_seat import Answers, Limits, Seat
from botd.backtest.history import History
from botd.backtest.run import Result, input_notes, load_kernel
from botd.backtest.terms import OF_BOTS, Terms
from botd.bot.bot import Bot
from botd.bot.desk import Desk
from botd.bot.evaluation import Evaluator
from botd.bot.event_mind import EventMind
from botd.bot.lifecycle import RestartPolicy
from botd.bot.mind import Mind
from botd.bot.signal_mind import SignalMind
from botd.domain.bot_spec import BotSpec
from botd.domain.candle import interval_ms
from botd.domain.candles import Candles
from botd.domain.clock import Clock, MarketClock
from botd.domain.events import Event
from botd.domain.instrument import ZERO
from botd.domain.order import Fill, Order, Purpose
from botd.domain.position import Position, Trade
from botd.exchange.simulated import SimulatedExchange
from botd.execution.gateway import Gateway
from botd.ledger.accounting import BotBook
from botd.ledger.records import BotRecord
from botd.market.ticks import TickRelay
from botd.orchestrator.portfolio import Portfolio
from botd.risk.case import RiskRequest, Verdict
from botd.risk.gate import RiskGate
from botd.risk.monitors import Monitors
from botd.risk.settings import RiskSettings
from botd.risk.trading_state import ACTIVE, MANUAL, StateChange, TradingStates
from botd.strategy.base import EventStrategy, SignalStrategy, Strategy
from botd.strategy.registry import Registry

OFF: Mapping[str, Any] = {"preset": "off"}
ACCOUNT, ACCOUNT_EVERY_MS = 0, 60_000
COSTS = ("maker_fee", "taker_fee", "slippage")


def spec_of(
    strategy: str, history: History, terms: Terms, params: Mapping[str, Any] | None = None, name: str = ""
) -> BotSpec:
    """Return the bot that plays by ``terms`` on the candles of ``history``."""
    how: dict[str, Any] = {key: getattr(terms, key) for key in OF_BOTS}
    how |= {"symbol": history.symbol, "interval": history.candles.interval}
    return BotSpec(name=name or strategy, strategy=strategy, params=dict(params or {}), **how)


def run(
    histories: Sequence[History],
    specs: Sequence[BotSpec],
    registry: Registry,
    clock: Clock,
    *,
    terms: Terms | None = None,
    risk: Mapping[str, Any] = OFF,
    balance: Mapping[str, Decimal] | None = None,
    strategies: Mapping[str, Strategy] | None = None,
) -> list[Result]:
    """Play the bots together; return a result a bot, in their order.

    ``terms`` tells fees and slippage, ``risk`` is the section of the configuration, ``balance`` the account's (all
    capitals, where it is not given), ``strategies`` are given by a bot's name instead of out of the registry.
    InvalidError for a strategy that fails, NotFoundError for a bot without candles. ``clock`` measures ``seconds``.
    """
    load_kernel()
    began = clock.monotonic()
    engine = _Engine(histories, specs, terms or Terms(), risk, balance)
    engine.seat(registry, strategies or {})
    engine.play()
    seconds = clock.monotonic() - began
    costs = {key: getattr(engine.terms, key) for key in COSTS}
    engine.tell_limits()
    return [
        seat.result(engine.history_of(seat.bot.spec), Terms.of(seat.bot.spec, costs), seconds) for seat in engine.seats
    ]


class _Engine:
    """The parts, wired together as :mod:`botd.world` wires them."""

    def __init__(
        self,
        histories: Sequence[History],
        specs: Sequence[BotSpec],
        terms: Terms,
        risk: Mapping[str, Any],
        balance: Mapping[str, Decimal] | None,
    ) -> None:
        self.terms = terms
        self.seats: list[Seat] = []
        self._specs = specs
        self._histories = {(history.symbol, history.candles.interval): history for history in histories}
        self._instruments = {history.symbol: history.instrument for history in histories}
        self._clock = MarketClock(min(int(history.candles.time[history.begin]) for history in histories))
        wanted = {(spec.symbol, spec.interval) for spec in specs}
        tracks = [Track(history) for lane, history in self._histories.items() if lane in wanted]
        self._market = EngineMarket(tracks, self._clock)
        self._journal = _Journal(self)
        self._watchful = dict(risk) != dict(OFF)
        """Whether limits are in force, which look at every candle."""
        self._marked_ms = self._clock.now_ms()
        currency = next(iter(self._instruments.values())).quote
        self._build_exchange(balance if balance is not None else self._capitals(), currency)
        settings = RiskSettings.from_config(dict(risk), "paper")
        self._states = TradingStates(self._on_trading_state)
        self._monitors = Monitors(settings, self._states)
        self._gate = _Gate(settings, self._states, self._monitors)
        self._evaluator = Evaluator(self._market.window, self._clock, inline_all=True)
        self._desk = self._make_desk()

    def history_of(self, spec: BotSpec) -> History:
        """Return the candles that a bot plays on."""
        return self._histories[spec.symbol, spec.interval]

    def seat(self, registry: Registry, given: Mapping[str, Strategy]) -> None:
        """Make the bots, running."""
        answers: dict[tuple[Any, ...], Answers] = {}
        for number, spec in enumerate(self._specs, 1):
            lane = (spec.symbol, spec.interval)
            track = self._market.track(*lane)
            strategy = given.get(spec.name) or registry.load(spec.strategy).build(spec.params)
            key = (spec.name if spec.name in given else spec.strategy, _encoded(spec.params))
            mind_key = (*key, *lane)
            if isinstance(strategy, SignalStrategy) and mind_key not in answers:
                answers[mind_key] = Answers(self.history_of(spec), spec.strategy, strategy)
            bot = self._bot(number, spec, strategy, key)
            evaluation = None
            if isinstance(strategy, SignalStrategy):  # the one that the bot's mind reads
                evaluation = self._evaluator.acquire(mind_key, strategy, lane, needs=strategy.warmup(), trusted=True)
            notes = () if evaluation is not None else self._notes(spec, strategy)
            seat = Seat(bot, track, answers.get(mind_key), evaluation, self._watchful, self._exchange.reaches, notes)
            track.readers.append(seat)
            self.seats.append(seat)

    def play(self) -> None:
        """Play to the end of the data."""
        seats = {track.key: [seat for seat in self.seats if seat.track is track] for track in self._market.tracks}

        def waits(track: Track) -> bool:
            if not self._watchful:
                for seat in seats[track.key]:
                    if seat.acts_on_open():
                        return True
            return self._watchful

        Playback(self._market, self._exchange, self._clock, waits=waits, settle=self._settle).run()

    def tell_limits(self) -> None:
        """Tell each seat what the risk gate did to its orders."""
        for number, seat in enumerate(self.seats, 1):
            seat.limits = self._gate.told.get(number, {})

    def of(self, number: int) -> Seat:
        """Return the seat of a bot."""
        return self.seats[number - 1]

    # -- inside

    def _notes(self, spec: BotSpec, strategy: Strategy) -> tuple[str, ...]:
        """Return what there is to say of what an event strategy reads besides."""
        history = self.history_of(spec)
        return input_notes(history.seen_by(spec.strategy, strategy), history.begin, "decision")

    def _bot(self, number: int, spec: BotSpec, strategy: Strategy, key: tuple[Any, ...]) -> Bot:
        now = self._clock.now_ms()
        record = BotRecord(number=number, spec=spec, desired="running", state="starting", since_ms=now, created_ms=now)
        book = BotBook(number, spec.symbol, spec.capital)
        needs = strategy.warmup()

        def mind_of(bot: Bot) -> Mind:
            if isinstance(strategy, SignalStrategy):
                return SignalMind(bot, strategy, key, needs=needs, trusted=True)
            assert isinstance(strategy, EventStrategy)
            history = self.history_of(spec)
            rows, reads = history.seen_by(spec.strategy, strategy), history.reads(spec.strategy, strategy)
            track, most = self._market.track(*bot.lane), max(1, needs)

            def closed() -> Candles:
                return rows.part(max(0, track.closed - most), track.closed)

            return EventMind(bot, strategy, {}, needs=needs, trusted=True, reads=reads, closed=closed)

        bot = Bot(record, self._instruments[spec.symbol], book, self._desk, mind_of)
        self._gateway.register(number, bot)
        bot.begin()
        return bot

    def _build_exchange(self, balance: Mapping[str, Decimal], currency: str) -> None:
        self._exchange = SimulatedExchange(
            self._instruments,
            clock=self._clock,
            maker_fee=self.terms.maker_fee,
            taker_fee=self.terms.taker_fee,
            slippage=self.terms.slippage,
            balance=balance,
            candle_feed=True,
        )
        self._gateway = Gateway(
            exchange=self._exchange,
            journal=self._journal,
            clock=self._clock,
            mode="paper",
            instance="BACKT",
            send_later=lambda delay_s, call: call(),
        )
        market = cast(Any, self._market)
        self._portfolio = Portfolio(self._exchange, self._gateway, market, self._bots, currency)

    def _make_desk(self) -> Desk:
        return Desk(
            clock=self._clock,
            market=cast(Any, self._market),
            gateway=self._gateway,
            gate=self._gate,
            monitors=self._monitors,
            portfolio=self._portfolio,
            journal=cast(Any, self._journal),
            evaluator=self._evaluator,
            ticks=TickRelay(),
            restart=RestartPolicy(),
            slippage=float(self.terms.slippage),
            taker_fee=float(self.terms.taker_fee),
            freshness_ms=interval_ms,
            minute_volume=self._market.minute_volume,
            not_ready=list,
            soon=lambda call: call(),
        )

    def _capitals(self) -> dict[str, Decimal]:
        found: dict[str, Decimal] = {}
        for spec in self._specs:
            quote = self._instruments[spec.symbol].quote if spec.symbol in self._instruments else ""
            found[quote] = found.get(quote, ZERO) + spec.capital
        return found

    def _bots(self) -> list[Bot]:
        return [seat.bot for seat in self.seats]

    def _settle(self, now_ms: int) -> None:
        """End a moment: the limits of the account look at its equity once a minute, as in the daemon."""
        if not self._watchful or now_ms // ACCOUNT_EVERY_MS == self._marked_ms // ACCOUNT_EVERY_MS:
            return
        self._marked_ms = now_ms
        self._monitors.on_equity(ACCOUNT, self._portfolio.account_equity(), now_ms)

    def _on_trading_state(self, change: StateChange) -> None:
        if not change.changed or change.after == ACTIVE or change.code == MANUAL:
            return
        for order in self._gateway.open_orders():
            scopes = ("account", f"symbol:{order.symbol}", f"bot:{order.bot}")
            if order.purpose is Purpose.ENTRY and change.scope in scopes:
                self.of(order.bot).bot.cancel(order.client_order_id)


class _Gate(RiskGate):
    """The gate, which counts by bot what it denied, and what it let through smaller, by which control."""

    def __init__(self, settings: RiskSettings, states: TradingStates, monitors: Monitors) -> None:
        super().__init__(settings, states, monitors)
        self.told: dict[int, Limits] = {}

    def decide(self, request: RiskRequest) -> Verdict:
        verdict = super().decide(request)
        if not verdict.allowed or verdict.shrunk_by:
            counts = self.told.setdefault(request.intent.bot, {})
            for what in (
                [f"{name} cut" for name in verdict.shrunk_by] if verdict.allowed else [f"{verdict.code} denied"]
            ):
                counts[what] = counts.get(what, 0) + 1
        return verdict


class _Journal:
    """Keeps trades and what each fill left; all else is for a ledger, which there is none of."""

    def __init__(self, engine: _Engine) -> None:
        self._engine = engine

    def trade(self, trade: Trade) -> None:
        self._engine.of(trade.bot).trades.append(trade)

    def fill(self, fill: Fill, realized_pnl: Decimal) -> None:
        seat = self._engine.of(fill.bot)
        seat.traded += fill.notional
        seat.fills.append(fill)
        seat.turns.append((seat.track.row, float(seat.bot.book.cash), float(seat.bot.book.position.quantity)))

    def order(self, order: Order) -> None:
        """Not kept."""

    def position(self, position: Position) -> None:
        """Not kept."""

    def bot(self, record: BotRecord) -> None:
        """Not kept."""

    def book(self, bot: int, cash: Decimal, realized: Decimal, fees: Decimal) -> None:
        """Not kept."""

    def strategy_state(self, bot: int, state: dict[str, Any]) -> None:
        """Not kept."""

    def decision(self, decision: Any) -> None:
        """Not kept."""

    def equity(self, bot: int, time_ms: int, equity: Decimal, cash: Decimal, exposure: Decimal) -> None:
        """The result makes the curve of the fills."""

    def keyed(self, space: str, changes: Mapping[str, str | None]) -> None:
        """Not kept."""

    next_event = 0

    def event(self, event: Event, at: int | None = None) -> None:
        """Nobody follows."""


def _encoded(params: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(dict(params), order="sorted", enc_hook=str)
