"""Seeded candles of no real market: what a strategy is examined on where no other candles are given.

The same for everybody and for ever, so the answer is too. Nothing is traded on them.
"""

from __future__ import annotations

from botd.domain.candle import interval_ms
from botd.domain.candles import Candles
from botd.domain.errors import InvalidError
from botd.market.simulated.synthetic import SyntheticSource

_SYMBOL, _START_MS, _SEED = "BTC/USDT", 1_704_067_200_000, 1
_LEAST, _MOST = 5_000, 1_000_000


def sample_candles(interval: str, warmup: int, symbol: str = "") -> Candles:
    """Return candles of ``interval``, more than enough for the warm-up; beside ``symbol``'s there are nobody's."""
    count = max(_LEAST, 4 * warmup)
    if count > _MOST:
        raise InvalidError(f"a warm-up of {warmup} candles is more than can be examined")
    source = SyntheticSource([symbol or _SYMBOL], interval, _START_MS, seed=_SEED + bool(symbol))
    return source.history(symbol or _SYMBOL, interval, _START_MS + count * interval_ms(interval), count)
