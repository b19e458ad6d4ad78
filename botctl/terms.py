"""How a bot sizes its entries and ends its positions: the options that create and the lab share, and their keys.

What they mean, and which need each other, is botd's business.
"""

from __future__ import annotations

from typing import Any

import click

from botctl.arguments import Fraction, together
from botctl.exit_codes import USAGE, Fault

FRACTIONS = ("fraction", "risk_per_trade", "stop_loss", "take_profit", "trailing_stop", "break_even")
HOW = (*FRACTIONS, "atr_stop", "time_stop")
"""The keys on the wire; those of FRACTIONS hold a decimal fraction."""


how_options = together(
    click.option("--fraction", type=Fraction(), help="Buy for this part of its equity [default: 100%]."),
    click.option("--risk-per-trade", type=Fraction(), help="Lose this part of its equity at the stop; needs one."),
    click.option("--stop-loss", type=Fraction(), help="Sell this far below the entry: 2%."),
    click.option("--take-profit", type=Fraction(), help="Sell this far above the entry: 4%."),
    click.option("--trailing-stop", type=Fraction(), help="Sell this far below the highest price since the entry."),
    click.option("--atr-stop", metavar="K[xN]", help="Sell K times ATR(N) below the entry: 3x14, 3 [N: 14]."),
    click.option("--break-even", type=Fraction(), help="Lift the stop to the entry once it gained this: 1%."),
    click.option("--time-stop", type=click.IntRange(1), metavar="N", help="Sell after N candles."),
)


def how_of(options: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of HOW with what was given, None where nothing was."""
    how = {key: options.get(key) for key in HOW}
    if how["fraction"] is not None and how["risk_per_trade"] is not None:
        raise Fault(USAGE, "--fraction and --risk-per-trade exclude each other", "give the one or the other")
    return how
