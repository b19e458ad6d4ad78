"""What the account holds of each asset, by the most recent word of the exchange.

The stream tells of single assets, a question is answered with all of them, and either may be the older one: an answer
comes from a copy that lags, an event over two connections. So words are ordered by the exchange's own time of the
account's last change. It asks nothing, and what an answer says is evidence to others whether it is the latest or not.
"""

from __future__ import annotations

from botd.exchange.binance.order_wire import WireAccount
from botd.exchange.binance.user_events import AccountPosition
from botd.exchange.remote import RemoteBalance

LAG_MS = 30_000
"""No answer is further behind its question than that, whatever time it names."""


class Holdings:
    """See the module."""

    def __init__(self) -> None:
        self.rows: dict[str, RemoteBalance] = {}
        self._answered_ms = 0
        self._told_ms: dict[str, int] = {}
        """By asset: when it changed as the stream told it, where that is later than the last answer."""

    def on_answer(self, account: WireAccount, now_ms: int) -> None:
        """Take all assets, but those that the stream has told a later change of; ``now_ms`` is the exchange's time."""
        as_of = max(account.update_time, now_ms - LAG_MS)
        if as_of < self._answered_ms:
            return
        self._answered_ms = account.update_time
        self._told_ms = {asset: told for asset, told in self._told_ms.items() if told > as_of}
        self.rows = account.holdings() | {asset: self.rows[asset] for asset in self._told_ms}

    def on_event(self, event: AccountPosition) -> None:
        """Take the assets of an event, where nothing later is known of them."""
        for asset, held in event.holdings().items():
            if event.changed_ms >= max(self._answered_ms, self._told_ms.get(asset, 0)):
                self.rows[asset], self._told_ms[asset] = held, event.changed_ms
