"""Who asks too much: request weights by the minute, 429, bans, and connections in five minutes, for each address."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import NamedTuple

from tests.fakes.binance.clock import FrontClock, Timers
from tests.fakes.binance.rules import Rules

MINUTE = 60_000


class Verdict(NamedTuple):
    """200, 429 or 418; with the last two, when the client may come back. ``told``: it had been told to wait."""

    status: int
    used: int
    until_ms: int
    told: bool


class _Account:
    """What is known of one address."""

    def __init__(self) -> None:
        self.minute = -1
        self.used = 0
        self.until_ms = 0
        self.offences = 0
        self.bans = 0
        self.banned = False


class Limits:
    """Counts weights in windows that begin with the clock's minutes."""

    def __init__(self, rules: Rules, clock: FrontClock, timers: Timers) -> None:
        self._rules = rules
        self._clock = clock
        self._timers = timers
        self._accounts: dict[str, _Account] = defaultdict(_Account)
        self._connections: dict[str, deque[float]] = defaultdict(deque)

    def take(self, address: str, weight: int) -> Verdict:
        """Count a request and tell what becomes of it."""
        account, now = self._accounts[address], self._clock.now_ms()
        if account.minute != now // MINUTE:
            account.minute, account.used = now // MINUTE, 0
        account.used += weight
        told = now < account.until_ms
        if told:
            return self._offence(account, now)
        account.offences, account.banned = 0, False
        if account.used > self._rules.weight:
            account.until_ms = (account.minute + 1) * MINUTE
            return Verdict(429, account.used, account.until_ms, False)
        return Verdict(200, account.used, 0, False)

    def forgive(self) -> None:
        """Forget every ban and everything counted."""
        self._accounts.clear()

    def give_back(self, address: str, weight: int) -> int:
        """Take a request out of the count again; return what is used then."""
        account = self._accounts[address]
        account.used = max(0, account.used - weight)
        return account.used

    def _offence(self, account: _Account, now: int) -> Verdict:
        account.offences += 1
        if not account.banned and account.offences >= self._rules.offences:
            self._ban(account, now, self._rules.ban_s)
        return Verdict(418 if account.banned else 429, account.used, account.until_ms, True)

    def _ban(self, account: _Account, now: int, seconds: float) -> None:
        account.banned = True
        account.until_ms = now + int(min(seconds * 2**account.bans, self._rules.ban_most_s) * 1000)
        account.bans += 1

    def sentence(self, address: str, status: int, seconds: float) -> Verdict:
        """Refuse an address for so long because a fault plan says so, unless it is refused already."""
        account, now = self._accounts[address], self._clock.now_ms()
        told = now < account.until_ms
        if not told or (status == 418 and not account.banned):
            account.until_ms, account.banned = now + int(seconds * 1000), status == 418
        return Verdict(status, account.used, account.until_ms, told)

    def used(self, address: str) -> int:
        return self._accounts[address].used

    def connect(self, address: str) -> bool:
        """Count an attempt to connect; False where it is one too many."""
        attempts, now = self._connections[address], self._timers.monotonic()
        while attempts and attempts[0] <= now - self._rules.connection_window_s:
            attempts.popleft()
        attempts.append(now)
        return len(attempts) <= self._rules.connections
