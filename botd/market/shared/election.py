"""Who of several publishers leads: a lease in Redis, renewed while its holder lives, with an epoch that only rises.

The epoch is the fence. Redis writes nothing for a lease that is not current (:data:`.scripts.FENCED`), and who reads
passes over what an older epoch wrote. A holder that cannot renew stops by itself before the lease ends.
"""

from __future__ import annotations

from typing import Any

from botd.domain.clock import Clock, random_token
from botd.market.cache.redis_link import RedisLink
from botd.market.shared.messages import EPOCH_AHEAD_MS, Keys
from botd.market.shared.scripts import BEAT, RELEASE

_SURE = 2 / 3
"""The share of the lease after its last renewal in which its holder is sure of it."""


class Election:
    """See the module. ``name`` tells the others who leads."""

    def __init__(self, link: RedisLink, keys: Keys, clock: Clock, name: str, lease_s: float) -> None:
        self.name = "".join(name.split()) or "botd"
        self.leader = ""
        """The name of who leads, as far as known; empty when nobody does."""
        self.epoch = 0
        """The epoch in which we lead or led."""
        self.lease = ""
        """Our lease as it stands in Redis; empty while it is not ours."""
        self._link = link
        self._keys = keys
        self._clock = clock
        self._lease_s = lease_s
        self._nonce = random_token("abcdefghijklmnopqrstuvwxyz234567", 16)
        self._highest = 0
        self._sure_until_s = 0.0

    @property
    def leads(self) -> bool:
        """Whether the lease is certainly ours."""
        return bool(self.lease) and self._clock.monotonic() < self._sure_until_s

    async def beat(self, *, stands: bool) -> list[bytes] | None:
        """Renew the lease, or take it if it is free and we stand for it; return what is wanted, None without Redis."""
        began = self._clock.monotonic()
        lowest = max(self._clock.wall_ms(), self._highest + 1)
        keys = [self._keys.leader, self._keys.epoch, self._keys.wanted]
        given = [f"{self._nonce} {self.name}", round(self._lease_s * 1000), lowest, int(stands)]
        answer: Any = await self._link.attempt(lambda client: client.register_script(BEAT)(keys, given))
        if answer is None:
            return None
        holder, wanted = answer
        self._take(holder.decode(errors="replace"), began)
        return wanted  # type: ignore[no-any-return]

    def lost(self) -> None:
        """Redis says that the lease is not ours any more."""
        self.lease = ""

    async def release(self) -> None:
        """Give the lease up, so that another need not wait for its end."""
        lease, self.lease = self.lease, ""
        if lease and not self._link.is_open:
            await self._link.attempt(lambda client: client.register_script(RELEASE)([self._keys.leader], [lease]))

    def _take(self, holder: str, began: float) -> None:
        parts = holder.split(" ")
        known = len(parts) == 3 and parts[0].isascii() and parts[0].isdigit() and len(parts[0]) < 16
        epoch = int(parts[0]) if known else 0
        if epoch < self._clock.wall_ms() + EPOCH_AHEAD_MS:
            self._highest = max(self._highest, epoch)
        self.leader = parts[2][:64] if known else ""
        if known and parts[1] == self._nonce:
            self.lease, self.epoch = holder, epoch
            self._sure_until_s = began + self._lease_s * _SURE
        else:
            self.lease = ""
