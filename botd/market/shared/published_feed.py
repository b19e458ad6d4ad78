"""A feed whose market is published too: the two run side by side, and the feed needs nothing of the publisher."""

from __future__ import annotations

import asyncio
from typing import Any

from botd.domain.instrument import Instrument
from botd.market.shared.publisher import Publisher


class PublishedFeed:
    """Stands in for ``feed``. Its health is the feed's; that others get nothing is said, and degrades it."""

    def __init__(self, feed: Any, publisher: Publisher) -> None:
        self.governor = getattr(feed, "governor", None)
        self._feed = feed
        self._publisher = publisher

    async def start(self) -> None:
        """Start the feed; may be called again after it raised."""
        await self._feed.start()

    async def run(self) -> None:
        """Feed for ever, and publish."""
        publishing = asyncio.get_running_loop().create_task(self._publisher.run(), name="market-publisher")
        try:
            await self._feed.run()
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

    async def close(self) -> None:
        """Let another publish, and let go of all connections."""
        await self._publisher.close()
        await self._feed.close()

    def instruments(self) -> dict[str, Instrument]:
        """Return what may be traded."""
        found: dict[str, Instrument] = self._feed.instruments()
        return found

    @property
    def status(self) -> str:
        """``ok`` or ``degraded``."""
        return "degraded" if self._feed.status != "ok" or self._publisher.trouble else "ok"

    @property
    def detail(self) -> str:
        """What is wrong with the feed, if anything, and who publishes."""
        return "; ".join(said for said in (self._feed.detail, self._publisher.detail) if said)

    def statistics(self) -> dict[str, Any]:
        """Return the feed's, and as ``shared`` those of publishing."""
        return {
            **self._feed.statistics(),
            "status": self.status,
            "detail": self.detail,
            "shared": self._publisher.statistics(),
        }
