"""Hands the ticks of a symbol to those who follow it: event strategies that act on each price."""

from __future__ import annotations

from collections.abc import Callable

from botd.domain.candle import Candle
from botd.market.feed import Quote

OnTick = Callable[[float], None]


class TickRelay:
    """A market sink behind the exchange's; on candle feeds there are no ticks and nobody is called."""

    def __init__(self) -> None:
        self._followers: dict[str, tuple[OnTick, ...]] = {}

    def follow(self, symbol: str, call: OnTick) -> Callable[[], None]:
        """Call ``call(last price)`` at each tick of ``symbol``; the function returned ends that."""
        self._followers[symbol] = (*self._followers.get(symbol, ()), call)

        def leave() -> None:
            self._followers[symbol] = tuple(c for c in self._followers.get(symbol, ()) if c is not call)

        return leave

    def on_open(self, symbol: str, interval: str, open_time: int, price: float) -> None:
        """Not a tick."""

    def on_closed(self, symbol: str, interval: str, candle: Candle) -> None:
        """Not a tick."""

    def after_levels(self, symbol: str, interval: str, candle: Candle) -> None:
        """Not a tick."""

    def on_tick(self, symbol: str, quote: Quote) -> None:
        """Tell the followers of the symbol."""
        for call in self._followers.get(symbol, ()):
            call(quote.last)
