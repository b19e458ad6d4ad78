"""What a backtest plays by, beside strategy and candles: capital, size, stops, fees.

The fields are those of ``create`` and of the ``paper`` section of the configuration; exact decimals, fractions as
fractions (0.02 is 2 %). What the stops mean is told in :mod:`botd.backtest.kernel`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from botd.domain.bot_spec import BotSpec
from botd.domain.errors import InvalidError
from botd.strategy.warmup import wilder_warmup

OF_BOTS = (
    *("capital", "fraction", "risk_per_trade", "stop_loss", "take_profit", "trailing_stop"),
    *("atr_stop", "atr_period", "break_even", "time_stop"),
)
"""The terms that a bot's specification has, under the same names; the others are costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """``risk_per_trade`` excludes ``fraction`` and needs a stop; neither is all the cash.

    ``atr_stop`` is how many ATR(``atr_period``) the stop lies below the entry, ``break_even`` the gain that lifts the
    stop to the entry, ``time_stop`` after how many candles a position is sold. InvalidError says what does not fit.
    """

    capital: Decimal = Decimal(10_000)
    fraction: Decimal | None = None
    risk_per_trade: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_stop: Decimal | None = None
    atr_stop: Decimal | None = None
    atr_period: int = 14
    break_even: Decimal | None = None
    time_stop: int | None = None
    maker_fee: Decimal = Decimal("0.001")
    taker_fee: Decimal = Decimal("0.001")
    slippage: Decimal = Decimal("0.0005")

    @classmethod
    def of(cls, spec: BotSpec, costs: Mapping[str, Any]) -> Terms:
        """Return what a bot plays by; ``costs`` are its account's: maker_fee, taker_fee, slippage."""
        return cls(**{name: getattr(spec, name) for name in OF_BOTS}, **costs)

    @property
    def warmup(self) -> int:
        """How many candles the range of the ATR stop needs before where they began no longer matters, as a bot's."""
        return 0 if self.atr_stop is None else wilder_warmup(self.atr_period)

    def __post_init__(self) -> None:
        above_zero = {"capital": self.capital, "take_profit": self.take_profit}
        above_zero |= {"atr_stop": self.atr_stop, "break_even": self.break_even}
        _check(above_zero, "above zero", lambda value: value > 0)
        stops = {"stop_loss": self.stop_loss, "trailing_stop": self.trailing_stop}
        _check(stops, "above 0 and below 1 (100%)", lambda value: 0 < value < 1)
        sizes = {"fraction": self.fraction, "risk_per_trade": self.risk_per_trade}
        _check(sizes, "above 0 and at most 1 (100%)", lambda value: 0 < value <= 1)
        costs = {"maker_fee": self.maker_fee, "taker_fee": self.taker_fee, "slippage": self.slippage}
        _check(costs, "at least 0 and below 1 (100%)", lambda value: 0 <= value < 1)
        if self.time_stop is not None and self.time_stop < 1:
            raise InvalidError(f"time_stop must be a candle at least, not {self.time_stop}")
        if not 1 <= self.atr_period <= 10_000:
            raise InvalidError(f"atr_period must be from 1 to 10000 candles, not {self.atr_period}")
        self._check_size()

    def _check_size(self) -> None:
        if self.risk_per_trade is None:
            return
        if self.fraction is not None:
            raise InvalidError("fraction and risk_per_trade exclude each other", "give one of them")
        if self.stop_loss is None and self.trailing_stop is None and self.atr_stop is None:
            raise InvalidError(
                "risk per trade needs a stop", "give --stop-loss, --trailing-stop or --atr-stop, or use --fraction"
            )


def _check(values: Mapping[str, Decimal | None], expected: str, fits: Callable[[Decimal], bool]) -> None:
    for name, value in values.items():
        if value is not None and not (value.is_finite() and fits(value)):
            raise InvalidError(f"{name} must be {expected}, not {value}")
