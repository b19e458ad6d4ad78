"""What protection knows of positions: what should rest for one, the legs that do, and the rules of moving them.

Plain values; nothing is placed or cancelled here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Protocol

import msgspec

from botd.domain.amounts import short
from botd.domain.instrument import ZERO, Instrument
from botd.domain.order import Order


class ProtectionRules(msgspec.Struct, frozen=True, kw_only=True):
    """What is done when a leg is not proven in time, and how often one is moved."""

    policy: Literal["retry", "bot_side", "flatten"] = "retry"
    verify_s: float = 10
    tries: int = 3
    retry_s: float = 5
    declared_s: float = 600
    """After so long a position guarded by botd is offered to the exchange again."""
    move_every_s: float = 5
    move_by: float = 0.001
    """A level that moved by less, as a share of itself, is not worth a moment without a leg."""
    rest_s: float = 1
    """Once a leg of a pair has acted, it may act on for so long; then what is left of the pair is cancelled."""


class Levels(msgspec.Struct, frozen=True):
    """What should rest for a position: as much at the stop, and at the target where it has one."""

    quantity: Decimal
    stop: Decimal
    target: Decimal | None = None


class Position(Protocol):
    """A position, as far as its protection is concerned: its bot."""

    number: int
    name: str
    symbol: str
    instrument: Instrument

    def stop(self) -> float | None:
        """Return the level that sells on the way down, None where there is none."""
        ...

    def target(self) -> float | None:
        """Return the level that sells on the way up, None where there is none."""
        ...

    def quantity(self) -> Decimal:
        """Return what is held and not offered by other orders than the leg."""
        ...

    def exiting(self) -> bool:
        """Tell whether a sale of everything is under way, or waits for a leg's outcome."""
        ...

    def refusal(self) -> str:
        """Return why its stop cannot rest on the exchange, empty where it can."""
        ...

    def place(self, levels: Levels) -> list[Order]:
        """Place a leg, with a target a pair of them, the stop first; nothing where it was denied."""
        ...

    def cancel(self, order: Order) -> None: ...

    def flatten(self, reason: str) -> None:
        """Sell everything now."""
        ...


class Protected(msgspec.Struct, kw_only=True):
    """What is known of a position's protection. Times are monotonic seconds."""

    seconds: float = 0.0
    """For how long it was neither proven nor declared."""
    leg: Order | None = None
    """The stop."""
    target: Order | None = None
    """The other leg of its pair."""
    placed_s: float = 0.0
    asked: bool = False
    proven: bool = False
    overdue: bool = False
    failures: int = 0
    rests_s: float = 0.0
    declared: str = ""
    """Why botd guards it, empty where a leg does or should."""
    alone: str = ""
    """Why the stop rests without the target, empty where both do or should, or there is no target."""
    alone_s: float = 0.0
    """Until then no pair is tried."""
    acted_s: float | None = None
    """Since when one leg of the pair is known to have acted."""
    seen_s: float | None = None
    beyond: Decimal = ZERO
    """So much of it is more than one order may have."""

    @property
    def place(self) -> str:
        """Where the stop is: exchange, botd, or nowhere proven yet."""
        return "exchange" if self.proven else "botd" if self.declared else "placing"

    @property
    def detail(self) -> str:
        """Why botd guards it, or a part of it; empty where the exchange has all."""
        rest = f"botd guards {short(self.beyond)} beyond what one order may have" if self.beyond else ""
        return self.declared or self.alone or rest

    @property
    def target_place(self) -> str:
        """Where the target is: on the exchange beside a proven stop, or with botd."""
        return "exchange" if self.proven and self.target is not None and self.target.status.is_open else "botd"

    @property
    def working(self) -> list[Order]:
        """The legs that may be working; first the one whose cancel ends what is left of both."""
        legs = [leg for leg in (self.leg, self.target) if leg is not None and leg.status.is_open]
        return sorted(legs, key=lambda leg: -leg.filled)

    @property
    def broken(self) -> bool:
        """True for a pair of which one leg acted, or is gone: the exchange ends the stop with the target's first
        fill."""
        leg, target = self.leg, self.target
        return target is not None and (leg is None or not leg.status.is_open or target.filled > ZERO)

    def leaves_dust(self, instrument: Instrument) -> bool:
        """True where the target alone works, and what is left of it is worth less than an order must be."""
        leg, target = self.leg, self.target
        if target is None or not target.status.is_open or (leg is not None and leg.status.is_open):
            return False
        return target.remaining * (target.price or ZERO) < instrument.min_notional

    @property
    def has_lost_target(self) -> bool:
        """True for a pair whose target ended without a fill, and nobody asked for it, while the stop works."""
        leg, target = self.leg, self.target
        ended = target is not None and not target.status.is_open and not target.filled
        return ended and leg is not None and leg.status.is_open and not leg.cancel_requested


def levels_of(position: Position) -> Levels | None:
    """Return what should rest for a position, None where it has no stop or there is nothing to sell.

    It is no more than one order may have: the rest is sold by botd's guard, at the same levels.
    """
    instrument, stop, target = position.instrument, position.stop(), position.target()
    if stop is None:
        return None
    below = instrument.floor_price(Decimal(repr(stop)))
    above = None if target is None else instrument.ceil_price(Decimal(repr(target)))
    above = above if above is not None and above > below else None
    quantity = instrument.floor_quantity(instrument.most(position.quantity(), above or below))
    return Levels(quantity, below, above) if quantity > ZERO else None
