"""Live trading armed by a person: for one key, up to an amount of money, until a time. It binds entries only.

Durable: it lives on over restarts, and lapses by itself at its time or when the key is another one. Testnet money is
nobody's, so a testnet needs no arming. It knows no exchange and sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.clock import Clock, rfc3339
from botd.domain.errors import UnavailableError
from botd.domain.events import Event
from botd.ledger.records import amount

SPACE = "live"
_ROW = "armed"
NO_KEY = "give one by keys_file or a systemd credential, botd.yaml(5)"
HINT = "a person arms it: botctl live arm [--max-capital N] [--for 30d]"


class Armed(msgspec.Struct, frozen=True, kw_only=True):
    """What a person allowed: for the key of this fingerprint."""

    key: str
    since_ms: int
    by: str = ""
    until_ms: int | None = None
    max_capital: Decimal | None = None


class Arming:
    """Whether entries may go out with real money."""

    def __init__(
        self, clock: Clock, journal: Callable[[Event], None], *, mode: str, testnet: bool, key: str, paper: str = ""
    ) -> None:
        """``key`` is the fingerprint of the API key, empty without one; ``journal`` writes an event; ``paper`` says why
        mode is paper where live is configured."""
        self._clock = clock
        self._journal = journal
        self._mode = mode
        self._testnet = testnet
        self._key = key
        self._paper = paper
        self._armed: Armed | None = None
        self._changes: dict[str, str | None] = {}

    def refusal(self) -> str:
        """Return why live entries may not go now, empty where they may."""
        if self._mode != "live":
            return f"this botd trades on paper{', not live: ' + self._paper if self._paper else ' (mode: paper)'}"
        if self._testnet:
            return ""
        armed = self._armed
        if armed is None:
            return f"live trading is not armed; {HINT}"
        if armed.key != self._key:
            return f"live trading was armed for another key ({armed.key}); {HINT}"
        if armed.until_ms is not None and self._clock.now_ms() >= armed.until_ms:
            return f"live trading was armed until {rfc3339(armed.until_ms)}; {HINT}"
        return ""

    @property
    def most(self) -> Decimal | None:
        """What all positions together may be worth, in quote; None: no limit but the risk controls'."""
        return self._armed.max_capital if self._armed is not None and not self._testnet else None

    def arm(self, *, max_capital: Decimal | None, for_ms: int | None, by: str) -> dict[str, Any]:
        """Arm for the present key; UnavailableError where there is nothing to arm."""
        if self._mode != "live" and self._paper:
            remedy = NO_KEY if self._paper == "no key" else "unset it"
            raise UnavailableError(self.refusal(), f"{remedy}; live also wants a state_dir that no botd on paper used")
        if self._mode != "live":
            raise UnavailableError("this botd trades on paper", "live wants mode: live and a state_dir of its own")
        if not self._key:
            raise UnavailableError("there is no API key to arm", NO_KEY)
        now = self._clock.now_ms()
        until = None if for_ms is None else now + for_ms
        self._set(Armed(key=self._key, since_ms=now, by=by, until_ms=until, max_capital=max_capital), "live.armed")
        return self.status()

    def disarm(self, *, by: str) -> dict[str, Any]:
        """No more live entries; exits and stops go on."""
        if self._armed is not None:
            self._set(None, "live.disarmed", by)
        return self.status()

    def status(self) -> dict[str, Any]:
        """Return the object of ``live status``."""
        armed, refusal = self._armed, self.refusal()
        until = armed.until_ms if armed else None
        limit = armed.max_capital if armed else None
        return {
            "armed": not refusal,
            "mode": self._mode,
            "testnet": self._testnet,
            "key": self._key or None,
            "armed_key": armed.key if armed else None,
            "since": rfc3339(armed.since_ms) if armed else None,
            "until": rfc3339(until) if until is not None else None,
            "max_capital": amount(limit) if limit is not None else None,
            "by": armed.by if armed else None,
            "detail": refusal,
        }

    def drain_changes(self) -> dict[str, str | None]:
        """Return the changed row since the last call."""
        changes, self._changes = self._changes, {}
        return changes

    def restore(self, rows: Mapping[str, str]) -> None:
        """Take the row back."""
        self._armed = msgspec.json.decode(rows[_ROW], type=Armed) if _ROW in rows else None

    def _set(self, armed: Armed | None, topic: str, by: str = "") -> None:
        self._armed = armed
        self._changes[_ROW] = None if armed is None else msgspec.json.encode(armed).decode()
        data = {key: str(value) for key, value in self.status().items() if value not in (None, "", False)}
        self._journal(Event(topic=topic, time_ms=self._clock.now_ms(), data=data | ({"by": by} if by else {})))
