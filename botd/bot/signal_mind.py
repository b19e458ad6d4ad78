"""The mind of a signal strategy: reads the shared evaluation at each closed candle and decides by the rules."""

from __future__ import annotations

from typing import Any

from botd.bot.bot import Bot
from botd.bot.evaluation import Effort, Evaluation
from botd.bot.exits import offered_elsewhere
from botd.bot.inputs import awaited
from botd.bot.intents import market_entry
from botd.bot.lifecycle import BotState
from botd.bot.stops import range_now
from botd.domain import rules
from botd.domain.candle import Candle
from botd.domain.decision import GateCheck
from botd.domain.order import Fill
from botd.strategy.base import SignalStrategy
from botd.strategy.inputs import Read

OLD_MS = 90_000
"""A candle that closed longer ago was delivered late, after an outage: its signal may end a position, not begin one."""


class SignalMind:
    """Enter on ``enter`` while flat, sell on ``exit`` while holding; if both, exit wins."""

    places_sales = False
    order_value = None

    def __init__(
        self,
        bot: Bot,
        strategy: SignalStrategy,
        key: tuple[Any, ...],
        *,
        needs: int,
        trusted: bool,
        reads: tuple[Read, ...] = (),
    ) -> None:
        """``key`` identifies the evaluation: bots with an equal one share it. ``needs`` is the strategy's warm-up,
        ``reads`` its inputs."""
        self._bot = bot
        self._strategy = strategy
        self._key = (*key, *bot.lane)
        self._trusted = trusted
        self._in_words = strategy.in_words()
        self._evaluation: Evaluation | None = None
        self.needs = needs
        self.reads = reads
        self.declared_entries = strategy.declared_entries
        self.effort = Effort()

    @property
    def memory(self) -> dict[str, Any]:
        """Nothing: signals come from the candles alone."""
        return {}

    def attach(self) -> None:
        self._evaluation = self._bot.desk.evaluator.acquire(
            self._key, self._strategy, self._bot.lane, needs=self.needs, trusted=self._trusted, reads=self.reads
        )
        self.effort = self._evaluation.effort

    def detach(self) -> None:
        self._evaluation = None
        self._bot.desk.evaluator.release(self._key)

    def on_open(self) -> None:
        """Nothing: signals are read at the close."""

    def on_fill(self, fill: Fill) -> None:
        """Nothing: the next signal decides."""

    def on_closed(self, candle: Candle) -> None:
        evaluation = self._evaluation
        if evaluation is None or evaluation.candle_time != candle.open_time:
            return  # joined while this candle was being evaluated: the next one is the first
        if evaluation.error is not None:
            raise evaluation.error
        bot = self._bot
        signal = "exit" if evaluation.exit else "enter" if evaluation.enter else "none"
        gates = [
            GateCheck(gate="signal", passed=signal != "none", value=signal, detail=self._in_words),
            GateCheck(gate="position", passed=True, value=float(bot.book.position.quantity)),
        ]
        notes = dict(evaluation.notes)
        if waits := awaited(bot, self.reads, evaluation.waits):
            gates.append(waits)
            outcome = "waiting"
        elif notes and all(value is None for value in notes.values()):
            gates.append(self._warm_up(evaluation, "the indicators are"))
            outcome = "warming_up"
        elif bot.holds:
            outcome = self._exit(candle, gates) if evaluation.exit else "hold"
        elif evaluation.enter and not evaluation.exit:
            outcome = self._enter(candle, gates)
        else:
            outcome = "hold"
            if evaluation.lacks:
                names = [name for name, value in notes.items() if value is None]
                gates.append(self._warm_up(evaluation, f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"))
            gates += bot.held_back()
        bot.decided(outcome, gates, notes)

    def _warm_up(self, evaluation: Evaluation, what: str) -> GateCheck:
        """Return the gate that says what is not defined yet, and how many candles there are and must be."""
        seen = len(self._bot.desk.market.window(*self._bot.lane, self.needs))
        detail = f"{evaluation.lacks or f'{seen} candles so far'}: {what} not defined yet"
        return GateCheck(gate="warm_up", passed=False, value=seen, limit=evaluation.defined_from or None, detail=detail)

    def _exit(self, candle: Candle, gates: list[GateCheck]) -> str:
        bot = self._bot
        if offered_elsewhere(bot):
            gates.append(GateCheck(gate="pending", passed=False, detail="an exit is already working"))
            return "hold"
        if bot.sell_all("signal", candle.close) is None and not bot.exit.under_way:
            gates.append(GateCheck(gate="filters", passed=False, detail="the holding is too small to sell"))
            return "hold"
        return "exited"

    def _enter(self, candle: Candle, gates: list[GateCheck]) -> str:
        bot = self._bot
        if bot.state is BotState.PAUSED:
            gates.append(GateCheck(gate="state", passed=False, value="paused", detail="paused: no entries"))
            return "hold"
        age_ms = bot.desk.clock.now_ms() - candle.open_time - bot.length_ms
        if age_ms > OLD_MS:
            gates.append(
                GateCheck(gate="candle_age", passed=False, value=age_ms / 1000, limit=OLD_MS / 1000, detail="caught up")
            )
            return "stale"
        if bot.orders():
            gates.append(GateCheck(gate="pending", passed=False, detail="an entry is already working"))
            return "hold"
        if bot.spec.atr_stop is not None and not rules.measures(range_now(bot), candle.close):
            gates.append(GateCheck(gate="atr", passed=False, detail="the ATR of its stop is not defined yet, or zero"))
            return "hold"
        sized = bot.size(candle.close)
        gates.append(
            GateCheck(
                gate="sizing",
                passed=not sized.skipped_min_notional,
                value=float(sized.quantity),
                limit=float(bot.instrument.min_notional),
                detail=sized.detail,
            )
        )
        if sized.skipped_min_notional or sized.quantity <= 0:
            return "skipped_min_notional"
        order, verdict = bot.place(market_entry(bot, candle.close), sized.quantity)
        gates.extend(verdict.checks)
        return "entered" if order is not None else "denied"
