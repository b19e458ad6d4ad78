"""Verbs that stop, reduce and close, and those that steer risk and the simulated market."""

from __future__ import annotations

import asyncio
from typing import Any

from botd.control.services import Services
from botd.domain.clock import rfc3339
from botd.domain.errors import BotdError, UnavailableError
from botd.orchestrator.fleet import action_row

FLAT_POLL_S = 0.05
FLAT_WAIT_S = 8.0


class TradingHandlers:
    """One method a verb."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def halt(self, args: Any, caller: Any) -> dict[str, Any]:
        return await self._state(args, caller, "halted")

    async def reduce(self, args: Any, caller: Any) -> dict[str, Any]:
        return await self._state(args, caller, "reduce")

    async def release(self, args: Any, caller: Any) -> dict[str, Any]:
        return await self._state(args, caller, "active")

    async def close(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        services.require_bots()
        services.require_market()
        async with services.lock:
            bot = services.orchestrator.get(args.name)
            before = bot.book.position.quantity
            services.kill_switch.close(bot, keep_running=args.keep_running)
            await services.commit()
        await self._flat([bot])
        row = services.kill_switch.closed_row(bot, before)
        return {"rows": [row], "done": not bot.holds}

    async def flatten(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        services.require_bots()
        services.require_symbols(args.symbol)
        try:
            services.require_market()
        except UnavailableError as error:  # what cannot be sold now may at least not grow
            await self._put(services.kill_switch.scopes((), args.symbol), "halted", caller)
            raise UnavailableError(f"{error.message}: entries are halted, nothing is sold", error.hint) from None
        async with services.lock:
            held_before = {b.name: b.book.position.quantity for b in services.orchestrator.bots.values()}
            bots = services.kill_switch.flatten(args.symbol, caller.told)
            await services.commit()
        await self._flat(bots)
        rows = [services.kill_switch.closed_row(bot, held_before[bot.name]) for bot in bots]
        return {"rows": rows, "done": not any(bot.holds for bot in bots)}

    async def risk_show(self, args: Any, caller: Any) -> dict[str, Any]:
        return {"rows": self._services.risk.rows(), "held": self._services.risk.held()}

    async def risk_set(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        bot = services.orchestrator.get(args.name) if args.name else None
        async with services.lock:
            rows = services.risk.change(bot, args.changes, caller.told)
            await services.commit()
        return {"rows": rows}

    async def market_play(self, args: Any, caller: Any) -> dict[str, Any]:
        return await self._market("play")

    async def market_pause(self, args: Any, caller: Any) -> dict[str, Any]:
        return await self._market("pause")

    async def market_status(self, args: Any, caller: Any) -> dict[str, Any]:
        return self._services.market_status()

    # -- inside

    async def _state(self, args: Any, caller: Any, state: str) -> dict[str, Any]:
        services = self._services
        if state != "active":
            services.require_symbols(args.symbol)
        named = bool(args.names or args.all or args.labels)
        names = services.names(args) if named else []
        rows, scopes = [], []
        for name in names:
            try:
                scopes += services.kill_switch.scopes([name], None)
            except BotdError as error:
                rows.append({"scope": name, **action_row(name, "", "", error=error)})
        if args.symbol or not named:
            scopes += services.kill_switch.scopes((), args.symbol)
        rows += await self._put(scopes, state, caller)
        return {"rows": rows}

    async def _put(self, scopes: list[tuple[str, str]], state: str, caller: Any) -> list[dict[str, Any]]:
        services = self._services
        rows = services.kill_switch.set(scopes, state, caller.told)
        try:
            await services.halt_now()
        finally:  # entries go also where the disk refuses to keep why
            if state != "active":
                services.kill_switch.cancel_entries(scopes)
        if not services.lock.locked():  # else the moment under way takes the cancels along
            await services.commit()
        return rows

    async def _market(self, verb: str) -> dict[str, Any]:
        services = self._services
        if services.player is None:
            fact = "this market is the exchange's: it cannot be played or paused"
            raise UnavailableError(fact, "botctl halt stops entries, botctl pause a bot")
        async with services.lock:
            getattr(services.player, verb)()
            await services.commit()
        status = services.market_status()
        if status.get("state") == "ended":
            at = rfc3339(status["time"])
            status["detail"] = f"the market has ended at {at}: nothing more plays; another run wants another state_dir"
        return status

    async def _flat(self, bots: list[Any]) -> None:
        """Wait until the bots are flat, within what a caller waits for."""
        for _ in range(int(FLAT_WAIT_S / FLAT_POLL_S)):
            if not any(bot.holds for bot in bots):
                break
            await asyncio.sleep(FLAT_POLL_S)
        async with self._services.lock:
            await self._services.commit()
