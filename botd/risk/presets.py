"""The presets: which controls are on to begin with, and the limits in which they differ from the table.

``live`` is the table as it stands. ``paper`` leaves out what would only get in the way of a trial.
``off`` keeps what no exchange and no purse would let pass; it is refused for live trading.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from botd.risk.controls import BY_NAME, CONTROLS, Value


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """``values`` replace defaults, by control and part. ``own_equity``: order value and budget are shares
    of the bot's current equity; else of the account's equity, and of the bot's capital or its equity,
    whichever is less."""

    name: str
    own_equity: bool
    values: dict[str, dict[str, Value]] = {}

    def defaults(self, control: str) -> dict[str, Value]:
        """Return the limits that ``control`` has in this preset where it is on."""
        return {part.name: part.default for part in BY_NAME[control].parts} | self.values.get(control, {})

    def switches_on(self, control: str) -> bool:
        """Tell whether the control is on without being asked for."""
        return self.name in BY_NAME[control].presets

    def resolved(self) -> dict[str, dict[str, Value | None]]:
        """Return every control's limits, None where off."""
        return {
            control.name: dict(self.defaults(control.name))
            if self.switches_on(control.name)
            else {part.name: None for part in control.parts}
            for control in CONTROLS
        }


_OWN_EQUITY: dict[str, dict[str, Value]] = {"max_order_value": {"value": Decimal(1)}, "funds": {"margin": Decimal(0)}}

PRESETS: dict[str, Preset] = {
    "paper": Preset(name="paper", own_equity=True, values=_OWN_EQUITY),
    "live": Preset(name="live", own_equity=False),
    "off": Preset(name="off", own_equity=True, values=_OWN_EQUITY),
}
