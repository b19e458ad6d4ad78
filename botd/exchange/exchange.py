"""The seam between botd and any exchange: orders go in, reports come out.

An exchange never raises for what happens to an order and never waits: the outcome of ``submit`` and
``cancel`` is a :class:`~botd.domain.order.Report` to the listener. The simulated exchange reports from
within the call or from within a market event; an exchange over the network reports later, from its own
tasks, on the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from botd.domain.instrument import Instrument
from botd.domain.order import Order, Report

ReportListener = Callable[[Report], None]


class Balance(msgspec.Struct, frozen=True):
    """What the account holds of an asset. ``free`` excludes what open orders reserve."""

    total: Decimal
    free: Decimal


class Exchange(Protocol):
    """An account on an exchange."""

    in_process: bool
    """True where reports belong to the transaction that caused them (the simulated exchange): no separate
    commit of the intent before sending, no unknown outcomes."""

    def listen(self, listener: ReportListener) -> None:
        """Send every report to ``listener`` (one listener: the execution gateway)."""
        ...

    def submit(self, order: Order) -> None:
        """Send the order once. The exchange keeps no reference to ``order``."""
        ...

    def cancel(self, client_order_id: str) -> None:
        """Ask for an order's end; the report says what became of it."""
        ...

    def instruments(self) -> Mapping[str, Instrument]:
        """Return what may be traded, by symbol."""
        ...

    def balances(self) -> Mapping[str, Balance]:
        """Return the account's balances as last known, by asset."""
        ...

    def statistics(self) -> dict[str, Any]:
        """Return counters for ``health``."""
        ...
