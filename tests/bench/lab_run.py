"""Our side of the backtest bench as a process of its own; prints one JSON object.

``python -m tests.bench.lab_run STORE``: one backtest of all stored candles, from the start of Python to the figures;
``python -m tests.bench.lab_run STORE SETS``: the sweep of so many parameter sets over the first 100,000 of them.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from botd.backtest.history import from_store
from botd.backtest.run import backtest, load_kernel
from botd.backtest.sweep import Set, sweep
from botd.backtest.terms import Terms
from botd.domain.clock import WallClock
from botd.market.store.candle_store import CandleStore
from botd.strategy.base import SignalStrategy
from botd.strategy.registry import Registry
from tests.bench.lab_peers import grid, peak_mb

SYMBOL = "BTC/USDT"
TERMS = Terms(
    capital=Decimal(10**9), stop_loss=Decimal("0.02"), take_profit=Decimal("0.04"), slippage=Decimal(0)
)  # so much that fees never bring it to the minimum notional
SWEEP_CANDLES, ROUNDS = 100_000, 7


def main() -> None:
    """Run what the arguments ask for."""
    store, sets = CandleStore(Path(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    told = swept(store, sets) if sets else played(store)
    told["memory_mb"] = peak_mb()
    print(json.dumps(told))


def played(store: CandleStore) -> dict[str, Any]:
    """Return the row of one backtest."""
    strategy = Registry.standard().load("rsi").build({})
    assert isinstance(strategy, SignalStrategy)
    return backtest(from_store(store, SYMBOL, "1m"), "rsi", strategy, TERMS, WallClock()).row()


def swept(store: CandleStore, count: int) -> dict[str, Any]:
    """Return the median time of a sweep."""
    first = store.lanes()[0].first_ms
    assert first is not None
    history = from_store(store, SYMBOL, "1m", to_ms=first + SWEEP_CANDLES * 60_000)
    info, clock, taken = Registry.standard().load("rsi"), WallClock(), []
    sets = [Set({"period": p, "oversold": low, "overbought": high}, TERMS) for p, low, high in grid(count)]
    load_kernel()
    for _ in range(ROUNDS):
        began = clock.monotonic()
        outcomes = sweep(history, info, sets)
        taken.append(clock.monotonic() - began)
    assert all(outcome.statistics for outcome in outcomes)
    return {"seconds": sorted(taken)[ROUNDS // 2], "best_s": min(taken), "candles": len(history.candles)}


if __name__ == "__main__":
    main()
