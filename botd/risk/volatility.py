"""How violent a minute was: its move against a fixed share and against the symbol's own spread.

The spread is an exponentially weighted standard deviation of one-minute returns around zero, half of its
weight in the last 41 minutes, taken *before* the minute that is judged. It speaks only after an hour of
candles, and never claims to be below one basis point: else the first tick after a flat stretch would be
any number of deviations.
"""

from __future__ import annotations

import math

import msgspec

from botd.domain.candle import Candle

_WEIGHT = 1 / 60
_WARM_UP = 60
_LEAST_SIGMA = 0.0001
_ROUNDING = 1e-9  # 105 / 100 - 1 is not above 5 %
_LARGEST = 1e6  # keeps the variance finite


class _Spread(msgspec.Struct):
    close: float
    variance: float = 0.0
    count: int = 0


class Moves:
    """The running spread of each symbol."""

    def __init__(self) -> None:
        self._spreads: dict[str, _Spread] = {}

    def take(self, symbol: str, candle: Candle, most: float | None, sigmas: float | None) -> str:
        """Take a closed 1m candle and return what was violent about it, or an empty string.

        The move runs from the close before to this close. A candle that is no number is violent.
        """
        spread = self._spreads.get(symbol)
        before = candle.open if spread is None else spread.close
        if not (math.isfinite(before) and before > 0 and math.isfinite(candle.close) and candle.close > 0):
            return f"1m close {candle.close!r} after {before!r}"
        if spread is None:
            spread = self._spreads[symbol] = _Spread(before)
        move = min(abs(candle.close / before - 1.0), _LARGEST)
        verdict = _judge(move, spread, most, sigmas)
        weight = max(_WEIGHT, 1 / (spread.count + 1))
        spread.variance += weight * (move * move - spread.variance)
        spread.count = min(spread.count + 1, _WARM_UP)
        spread.close = candle.close
        return verdict

    def row(self, symbol: str) -> list[float] | None:
        """Return what to keep of a symbol."""
        spread = self._spreads.get(symbol)
        return None if spread is None else [spread.close, spread.variance, spread.count]

    def restore(self, symbol: str, row: list[float]) -> None:
        """Take a row back."""
        self._spreads[symbol] = _Spread(row[0], row[1], int(row[2]))


def _judge(move: float, spread: _Spread, most: float | None, sigmas: float | None) -> str:
    if most is not None and move > most + _ROUNDING:
        return f"1m move {move:.2%}, limit {most:.2%}"
    sigma = max(math.sqrt(spread.variance), _LEAST_SIGMA)
    if sigmas is not None and spread.count >= _WARM_UP and move > sigmas * sigma:
        return f"1m move {move:.2%} is {move / sigma:.1f} sigma, limit {sigmas:g}"
    return ""
