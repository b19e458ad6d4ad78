"""How many unfilled orders the account has placed in the ten seconds and the day of the clock: -1015."""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes.binance.exchange.orders import Refused

TEN_SECONDS, DAY = 10_000, 86_400_000


class OrderCounts:
    """Windows begin with the clock's. An order that trades is taken out of the windows it was counted in."""

    def __init__(self, now: Callable[[], int], ten_seconds: int = 100, day: int = 200_000) -> None:
        self.limits = {TEN_SECONDS: ten_seconds, DAY: day}
        self._now = now
        self._counts = {TEN_SECONDS: (-1, 0), DAY: (-1, 0)}
        self._placed: dict[int, int] = {}

    def used(self, window: int) -> int:
        number, count = self._counts[window]
        return count if number == self._now() // window else 0

    def take(self, orders: int) -> None:
        """Count orders that are about to be placed, or refuse them all."""
        for window, words in ((TEN_SECONDS, "10 SECOND"), (DAY, "1 DAY")):
            most = self.limits[window]
            if self.used(window) + orders > most:
                raise Refused(-1015, f"Too many new orders; current limit is {most} orders per {words}.", 429)
        for window in self.limits:
            self._counts[window] = (self._now() // window, self.used(window) + orders)

    def placed(self, order_id: int) -> None:
        self._placed[order_id] = self._now()

    def filled(self, order_id: int) -> None:
        """Note an order's first fill."""
        placed = self._placed.pop(order_id, None)
        for window in self.limits:
            if placed is not None and placed // window == self._now() // window:
                self._counts[window] = (self._now() // window, max(0, self.used(window) - 1))

    def retry_after_s(self) -> int:
        """Return when the window that is full ends."""
        full = TEN_SECONDS if self.used(TEN_SECONDS) >= self.limits[TEN_SECONDS] else DAY
        return -(-(full - self._now() % full) // 1000)

    def headers(self) -> dict[str, str]:
        return {
            "x-mbx-order-count-10s": str(self.used(TEN_SECONDS)),
            "x-mbx-order-count-1d": str(self.used(DAY)),
        }

    def described(self) -> list[tuple[dict[str, object], int]]:
        """Return each limit in exchangeInfo's words, with its number."""
        words = ((TEN_SECONDS, "SECOND", 10), (DAY, "DAY", 1))
        return [
            ({"rateLimitType": "ORDERS", "interval": name, "intervalNum": number}, self.limits[window])
            for window, name, number in words
        ]

    def rows(self) -> list[dict[str, object]]:
        """Return the answer of ``rateLimit/order``."""
        used = (self.used(TEN_SECONDS), self.used(DAY))
        return [
            {**limit, "limit": most, "count": count}
            for (limit, most), count in zip(self.described(), used, strict=True)
        ]
