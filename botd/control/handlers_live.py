"""Verbs of the account at the exchange: arming, budgets, orders in doubt, reconciliation."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from botd.control.services import Services
from botd.domain.errors import InvalidError


class LiveHandlers:
    """One method a verb."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def arm(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        services.require_bots()
        most = None if args.max_capital is None else _amount(args.max_capital)
        async with services.lock:
            status = services.live.arming.arm(max_capital=most, for_ms=args.for_ms, by=caller.told)
            await services.commit()
        return status

    async def disarm(self, args: Any, caller: Any) -> dict[str, Any]:
        async with self._services.lock:
            status = self._services.live.arming.disarm(by=caller.told)
            await self._services.commit()
        return status

    async def status(self, args: Any, caller: Any) -> dict[str, Any]:
        return self._services.live.arming.status()

    async def limits(self, args: Any, caller: Any) -> dict[str, Any]:
        return self._services.live.limits()

    async def resolve(self, args: Any, caller: Any) -> dict[str, Any]:
        async with self._services.lock:
            row = self._services.live.resolve(args.order, caller.told)
            await self._services.commit()
        return row

    async def reconcile(self, args: Any, caller: Any) -> dict[str, Any]:
        live, who = self._services.live, caller.told
        if args.accept:
            live.accept(args.accept, who)
        if args.cancel_foreign:
            live.cancel_foreign(args.cancel_foreign)
        found = await live.reconcile(accept_reset=args.accept_reset, by=who)
        async with self._services.lock:
            await self._services.commit()
        return found


def _amount(value: Any) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount <= 0:
        raise InvalidError(f"max_capital: {value!r} is not an amount above zero", "write it like 500")
    return amount
