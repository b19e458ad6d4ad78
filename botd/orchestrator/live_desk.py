"""The account at the exchange, as the verbs about it see it: arming, budgets, orders in doubt, whose is what.

On paper the account is the simulated exchange's: there is nothing to arm, no budget and no doubt, and the books can
still be explained. It decides nothing by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botd.bot.bot import Bot
from botd.domain.errors import NotFoundError, UnavailableError
from botd.exchange.governor import Governor
from botd.execution.explain import Explained
from botd.execution.reconcile import Reconciler
from botd.execution.resolver import Resolver
from botd.orchestrator.arming import Arming

_NOT_HERE = "this exchange is botd's own"
_NO_DOUBT = "on paper the exchange answers at once: no order is in doubt"


class LiveDesk:
    """See the module."""

    def __init__(
        self,
        arming: Arming,
        *,
        explain: Callable[[], Explained],
        name_of: Callable[[int], str],
        governor: Governor | None = None,
        reconciler: Reconciler | None = None,
        resolver: Resolver | None = None,
        stop_refusal: Callable[[Bot], str] = lambda bot: "",
    ) -> None:
        """``explain`` says whose is what just now; ``name_of`` a bot's name by its number; ``stop_refusal`` why a bot's
        stop would not rest on the exchange."""
        self.arming = arming
        self._explain = explain
        self._name_of = name_of
        self._governor = governor
        self._reconciler = reconciler
        self._resolver = resolver
        self.stop_refusal = stop_refusal

    def limits(self) -> dict[str, Any]:
        """Return the object of ``limits``: the exchange's budgets, and every bot's bill."""
        if self._governor is None:
            return {"budgets": [], "bots": []}
        found = self._governor.limits()
        weight, orders = found["weight"], found["orders"]
        blocked = max(weight["blocked_s"], orders["blocked_s"])
        rows = [{"budget": "weight 1m", "used": weight["used"], "limit": weight["limit"]}]
        for name, window in orders.items():
            if isinstance(window, dict):
                rows.append({"budget": f"orders {name.lower()}", "used": window["used"], "limit": window["limit"]})
        detail = f"nothing is sent for {blocked:g} s more" if blocked else ""
        bots = [{"bot": self._name_of(number) or "(account)", **bill} for number, bill in found["bots"].items()]
        return {"budgets": [{**row, "detail": detail} for row in rows], "bots": bots, "blocked_s": blocked}

    def resolve(self, client_order_id: str, by: str) -> dict[str, Any]:
        """End an order in doubt by a person's decision; return its row."""
        if self._resolver is None:
            raise NotFoundError(f"{client_order_id}: no such order in doubt", _NO_DOUBT)
        order = self._resolver.resolve(client_order_id, by)
        return {"client_order_id": order.client_order_id, "status": order.status.value, "reason": order.reason}

    def accept(self, asset: str, by: str) -> None:
        """Take an asset's unexplained difference for a transfer: a person says it is one."""
        if self._reconciler is None:
            raise UnavailableError(_NOT_HERE, "the books are the account")
        self._reconciler.accept_difference(asset, by)

    def cancel_foreign(self, instance: str) -> None:
        """Cancel the working orders of another instance of botd on this account."""
        if self._reconciler is None:
            raise UnavailableError(_NOT_HERE, "nobody else trades on it")
        if not self._reconciler.cancel_foreign(instance):
            raise NotFoundError(f"{instance}: no orders of such an instance", "see: botctl reconcile")

    async def reconcile(self, *, accept_reset: bool, by: str) -> dict[str, Any]:
        """Hold the books against the exchange now; return match, rows, differences and the orders in doubt.

        UnavailableError: the exchange could not be asked since the start.
        """
        ended: list[str] = []
        if self._reconciler is not None:
            if accept_reset:
                ended = [order.client_order_id for order in await self._reconciler.accept_reset(by)]
            await self._reconciler.look_now()
            if "balances" not in self._reconciler.looked:
                raise UnavailableError("the account was not read yet, so nothing is known of it", "see: botctl health")
        elif accept_reset:
            raise UnavailableError("this exchange is botd's own: it never begins anew", "another state_dir does")
        found = self._explain().as_dict()
        refusals = self._reconciler.refusals() if self._reconciler is not None else []
        doubts = self._resolver.rows() if self._resolver is not None else []
        return {**found, "ended": ended, "refusals": refusals, "doubts": doubts}
