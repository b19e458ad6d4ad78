"""Verbs that say which bots there are and what they should do."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from botd.bot.bot import Bot
from botd.bot.lifecycle import BotState, Desired
from botd.control.services import Services
from botd.domain.bot_spec import BotSpec
from botd.domain.errors import BotdError, InvalidError
from botd.orchestrator.fleet import action_row, in_document
from botd.orchestrator.specs import SETTABLE, as_mapping
from botd.orchestrator.views import text


class LifecycleHandlers:
    """One method a verb; ``caller`` is who asks."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def create(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        services.require_bots()
        services.require_market()
        spec = services.parser.parse(_given(args.spec))
        existing = services.orchestrator.bots.get(spec.name)
        await services.examiner.require(spec, existing.spec if existing else None)
        async with services.lock:
            bot, result = services.orchestrator.create(spec, start=False, replace=args.replace)
            problem = self._try_start(bot.name) if args.start else None
            await services.commit()
        bot = services.orchestrator.get(spec.name)
        row: dict[str, Any] = {
            "name": bot.name,
            "number": bot.number,
            "result": result,
            "state": bot.state.value,
            "warnings": self._warnings(bot),
            "largest_order": self._largest_order(bot),
            "guard": self._guard(bot),
            "detail": bot.record.reason,
            "start_error": None,
        }
        if problem is not None:
            why = problem.message.removeprefix(f"{bot.name}: ")
            row["warnings"].append(f"not started: {why}")
            row["start_error"] = {"code": problem.code, "message": why, "hint": problem.hint}
        return row

    async def start(self, args: Any, caller: Any) -> dict[str, Any]:
        refused = await self._examine_changed(args, lambda bot: not bot.attached)

        def start(bot: Bot) -> str:
            if bot.name in refused:
                raise refused[bot.name]
            return self._detail(self._services.orchestrator.start, bot)

        return await self._each(args, start)

    async def stop(self, args: Any, caller: Any) -> dict[str, Any]:
        def stop(bot: Bot) -> str:
            before = bot.book.position.quantity
            self._services.orchestrator.stop(bot)
            if args.close and bot.holds:
                row = self._services.kill_switch.close(bot, keep_running=True)
                return f"sold {text(Decimal(row['sold']))} {bot.instrument.base}"
            return self._holds(bot) if before else ""

        return await self._each(args, stop, market=args.close)

    async def restart(self, args: Any, caller: Any) -> dict[str, Any]:
        refused = await self._examine_changed(args, lambda bot: True)

        def restart(bot: Bot) -> str:
            if bot.name in refused:
                raise refused[bot.name]
            failed = bot.record.reason if bot.state in (BotState.FAILED, BotState.BACKOFF) else ""
            self._services.orchestrator.restart(bot)
            return f"restarted; it had failed: {failed}" if failed else "restarted"

        return await self._each(args, restart)

    async def pause(self, args: Any, caller: Any) -> dict[str, Any]:
        return await self._each(args, lambda bot: self._detail(self._services.orchestrator.pause, bot))

    async def resume(self, args: Any, caller: Any) -> dict[str, Any]:
        return await self._each(args, lambda bot: self._detail(self._services.orchestrator.resume, bot))

    async def remove(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        services.require_bots()
        rows = []
        async with services.lock:
            for name in services.names(args):
                before = ""
                try:
                    if name in services.orchestrator.broken:
                        services.orchestrator.remove_broken(name)
                        rows.append(action_row(name, "failed", "removed"))
                        continue
                    bot = services.orchestrator.get(name)
                    before = bot.state.value
                    left = services.orchestrator.remove(bot, force=args.force)
                    services.close_log(name)
                    rows.append(action_row(name, before, "removed", left))
                except BotdError as error:
                    rows.append(action_row(name, before, before, error=error))
            await services.commit()
        return {"rows": rows}

    async def set(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        services.require_bots()
        services.require_market()
        bot = services.orchestrator.get(args.name)
        services.parser.require_parameters(bot.name, *_parameters(bot, args.changes))
        await services.examiner.require(services.parser.parse(_changed(bot, args.changes)), bot.spec)
        async with services.lock:
            bot = services.orchestrator.get(args.name)
            spec = services.parser.parse(_changed(bot, args.changes))
            before, old = bot.state.value, bot.spec
            bot = services.orchestrator.change(bot, spec)
            await services.commit()
        changed = spec != old
        told = [f"{key}-" if _takes_label(key, value) else f"{key}={value}" for key, value in args.changes.items()]
        row = action_row(bot.name, before, bot.state.value, ", ".join(told))
        row["result"] = "changed" if changed else "unchanged"
        row["warnings"] = self._warnings_of_change(bot, old)
        return {"rows": [row]}

    async def apply(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        services.require_bots()
        services.require_market()
        documents = [_given(bot) for bot in args.bots]
        await self._examine_fleet(documents)
        async with services.lock:
            planned = services.fleet.plan(documents)
            if not args.plan:
                services.fleet.apply(planned)
                await services.commit()
        return {"changes": [change for _, change in planned], "applied": not args.plan}

    async def export(self, args: Any, caller: Any) -> dict[str, Any]:
        return {"bots": self._services.fleet.export()}

    # -- inside

    async def _examine_fleet(self, documents: list[dict[str, Any]]) -> None:
        services = self._services
        for spec, _ in services.fleet.plan(documents):
            existing = services.orchestrator.bots.get(spec.name)
            try:
                await services.examiner.require(spec, existing.spec if existing else None)
            except BotdError as error:
                raise in_document(spec.name, error) from None

    async def _examine_changed(self, args: Any, reads: Callable[[Bot], bool]) -> dict[str, BotdError]:
        """Examine the changed files that bots are about to read again; return what refuses it, by bot."""
        services, refused = self._services, dict[str, BotdError]()
        services.require_bots()
        for name in services.names(args):
            bot = services.orchestrator.bots.get(name)
            if bot is not None and reads(bot) and services.orchestrator.runs_old_code(bot):
                try:
                    await services.examiner.require(bot.spec)
                except BotdError as error:
                    refused[name] = error
        return refused

    async def _each(self, args: Any, verb: Any, *, market: bool = False) -> dict[str, Any]:
        services = self._services
        services.require_bots()
        if market:
            services.require_market()
        async with services.lock:
            rows = services.each(args, verb)
            await services.commit()
        return {"rows": rows}

    @staticmethod
    def _detail(verb: Any, bot: Bot) -> str:
        verb(bot)
        return bot.record.reason

    def _try_start(self, name: str) -> BotdError | None:
        try:
            self._services.orchestrator.start(self._services.orchestrator.get(name))
        except BotdError as error:
            return error
        return None

    @staticmethod
    def _holds(bot: Bot) -> str:
        stop, target = bot.guard.stop(), bot.book.position.target
        levels = [(word, level) for word, level in (("stop", stop), ("target", target)) if level is not None]
        guard = [f"{word} {text(Decimal(repr(level)))}" for word, level in levels]
        held = f"holds {text(bot.book.position.quantity)} {bot.instrument.base}"
        return f"{held}, {' and '.join(guard)} still guarded" if guard else f"{held}, no stop"

    def _warnings(self, bot: Bot) -> list[str]:
        warnings = self._money_warnings(bot)
        if bot.record.desired != Desired.STOPPED and not bot.spec.has_stop:
            warnings.append("no stop: a position is held until the strategy sells it")
        quote = self._services.desk.market.quote(bot.spec.symbol)
        if quote is not None and not bot.holds:
            least, (largest, control) = bot.instrument.min_notional, bot.largest_entry(quote.last)
            if float(largest) * quote.last < float(least):
                unit = bot.instrument.quote
                free = f", the account has {text(self._services.portfolio.free(unit))} {unit} free"
                cause = free if control == "funds" else f", {control} allows less" if control else ""
                warnings.append(f"it cannot buy: an order is worth at least {text(least)} {unit}{cause}")
            elif problem := _order_problem(bot, Decimal(repr(quote.last))):
                warnings.append(f"it cannot buy: {problem}")
        return warnings

    def _money_warnings(self, bot: Bot) -> list[str]:
        """Return what the account says to the bots' capitals."""
        portfolio, warnings = self._services.portfolio, []
        if bot.instrument.quote != portfolio.currency:
            rate = portfolio.price(bot.instrument.quote)
            counted = "" if rate is not None else f", and not counted in its {portfolio.currency}"
            warnings.append(
                f"its capital is in {bot.instrument.quote}: it buys with what the account holds of it{counted}"
            )
        rates = [
            (other, portfolio.price(other.instrument.quote)) for other in self._services.orchestrator.bots.values()
        ]
        promised = sum((other.spec.capital * rate for other, rate in rates if rate is not None), Decimal(0))
        equity = portfolio.account_equity()
        if equity is not None and promised > equity:
            warnings.append(
                f"the bots' capitals sum to {text(promised)} {portfolio.currency}, "
                f"the account is worth {text(equity)}: the gate decides at each order"
            )
        return warnings

    def _warnings_of_change(self, bot: Bot, old: BotSpec) -> list[str]:
        """Return what ``set`` did that deserves a second look."""
        warnings = self._money_warnings(bot) if bot.spec.capital > old.capital else []
        guarded = [spec.has_stop for spec in (old, bot.spec)]
        if guarded == [True, False]:
            held = (
                f"the {text(bot.book.position.quantity)} {bot.instrument.base} it holds is"
                if bot.holds
                else "what it buys is"
            )
            warnings.append(f"no stop any more: {held} held until the strategy sells it")
        return warnings

    def _guard(self, bot: Bot) -> str:
        """Return where the stop of what a live bot buys will be kept, empty where there is no such thing."""
        if bot.spec.mode != "live" or not bot.spec.has_stop:
            return ""
        why = self._services.live.stop_refusal(bot)
        return f"botd will guard its stop: {why}" if why else "its stop will rest on the exchange"

    def _largest_order(self, bot: Bot) -> str | None:
        quote = self._services.desk.market.quote(bot.spec.symbol)
        if quote is None or bot.holds:  # one that holds buys nothing: its size is told when it is flat
            return None
        quantity, control = bot.largest_entry(quote.last)
        value = float(quantity) * quote.last
        by = f", by {control}" if control else ""
        return f"{text(quantity)} {bot.instrument.base} ({value:.2f} {bot.instrument.quote}{by})"


def _changed(bot: Bot, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the bot's spec as a document, with what ``set`` changes in it."""
    document = as_mapping(bot.spec)
    for key, value in changes.items():
        if key in ("name", "mode"):
            raise InvalidError(f"{bot.name}: {key} cannot be set", "create another bot")
        if key in SETTABLE:
            document[key] = None if str(value).lower() in ("off", "none", "") else value
            if key in ("fraction", "risk_per_trade") and document[key] is not None:
                document.pop("risk_per_trade" if key == "fraction" else "fraction", None)
        elif key.startswith("label."):
            labels, label = document.setdefault("labels", {}), key.removeprefix("label.")
            labels[label] = value
            if _takes_label(key, value):
                del labels[label]
        else:
            document.setdefault("params", {})[key] = value
    return document


def _parameters(bot: Bot, changes: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the strategy that the bot is to have, and which of the changes must be its parameters."""
    beside = ("name", "mode", *SETTABLE)
    return str(changes.get("strategy", bot.spec.strategy)), [
        key for key in changes if key not in beside and not key.startswith("label.")
    ]


def _takes_label(key: str, value: Any) -> bool:
    return key.startswith("label.") and value in ("", None)


def _given(spec: Any) -> dict[str, Any]:
    """Return what a request's spec says, without the keys it leaves out."""
    raw = spec if isinstance(spec, dict) else msgspec.to_builtins(spec)
    return {key: value for key, value in raw.items() if key == "capital" or value not in (None, "", {})}


def _order_problem(bot: Bot, price: Decimal) -> str:
    """Return why no purchase of a strategy that says what they are worth can be made; empty where it can."""
    value, instrument = bot.order_value, bot.instrument
    if value is None:
        return ""
    each = f"each of its orders is worth {text(round(value, 8))} {instrument.quote}"
    least = max(instrument.min_notional, instrument.step * price)
    if value < least:
        return f"{each}, the exchange takes none below {text(round(least, 8))}"
    return f"{each}, its capital is {text(bot.spec.capital)}" if value > bot.spec.capital else ""
