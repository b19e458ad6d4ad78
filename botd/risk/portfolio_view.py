"""What the risk gate may ask about the account; answered by the orchestrator."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol

from botd.domain.order import Order


class PortfolioView(Protocol):
    """The account and its bots as they stand now. None where a price is missing: unknown, never zero."""

    def account_equity(self) -> Decimal | None:
        """Account cash plus all holdings at market, in quote."""
        ...

    def free(self, asset: str) -> Decimal:
        """What the account holds of ``asset`` and no open order reserves."""
        ...

    def gross_exposure(self) -> Decimal | None:
        """The market value of all positions plus the open remainders of entries, in quote."""
        ...

    def symbol_exposure(self, symbol: str) -> Decimal | None:
        """The same for one symbol, over all bots."""
        ...

    def open_orders(self, symbol: str | None = None, bot: int | None = None) -> Iterable[Order]:
        """The working orders of ours, of a symbol or a bot if given."""
        ...
