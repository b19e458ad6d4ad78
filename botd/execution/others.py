"""Working orders of the account that are not this botd's: of people and other programs, and of other instances.

It only remembers; orders of people are their business, those of another instance are a refusal until they are gone.
"""

from __future__ import annotations

from collections.abc import Container

from botd.exchange.remote import RemoteOrder
from botd.execution.client_ids import parse_client_order_id


class Others:
    """By client id, as last seen."""

    def __init__(self, instance: str) -> None:
        self.externals: dict[str, RemoteOrder] = {}
        self.foreign: dict[str, dict[str, RemoteOrder]] = {}
        """Of other instances of botd: by instance, by client id."""
        self.without_intent: dict[str, RemoteOrder] = {}
        """With an id of this instance that its ledger does not know."""
        self._instance = instance

    def begin(self, found: Container[str]) -> None:
        """A complete list, of these ids, is about to be noted: at once, for what stands in the way must not lapse
        while the list is looked through. Who has no intent is found out then: one that is still there stays."""
        self.externals, self.foreign = {}, {}
        self.without_intent = {key: order for key, order in self.without_intent.items() if key in found}

    def note(self, order: RemoteOrder) -> bool:
        """Note an order as it is now; False where its id is one of ours."""
        ours = parse_client_order_id(order.client_order_id)
        if ours is not None and ours[0] == self._instance:
            return False
        place = self.externals if ours is None else self.foreign.setdefault(ours[0], {})
        if order.status.is_open:
            place[order.client_order_id] = order
        else:
            place.pop(order.client_order_id, None)
        if ours is not None and not place:
            del self.foreign[ours[0]]
        return True

    def refusals(self) -> list[str]:
        """Return why nothing may be opened, a line each."""
        found = [
            f"{len(orders)} working orders of another botd ({instance}): adopt its ledger, or cancel them"
            for instance, orders in self.foreign.items()
        ]
        if self.without_intent:
            found.append(f"orders with our id and without an intent: {', '.join(self.without_intent)}")
        return found
