"""Who trades in the simulation, and what goes wrong there: both drawn from the seed."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from tests.fakes.binance.exchange.fault_plan import NAMED, ExchangeFaults, seeded
from tests.simulation.trading.market import SYMBOLS

MINUTE_S = 60.0
NAMES = tuple(name for name in NAMED if name != "403")
"""403 says to stay away for half an hour: a plan with it tries little else."""


def fleet(seed: int, count: int, prices: dict[str, float]) -> list[dict[str, Any]]:
    """Return so many bots: signals with stops of all kinds, grids, cost averaging, on several symbols."""
    dice = random.Random(f"fleet {seed}")
    return [_bot(number, dice, prices) for number in range(count)]


def _bot(number: int, dice: random.Random, prices: dict[str, float]) -> dict[str, Any]:
    symbol = dice.choice(list(SYMBOLS))
    kind = dice.choice(("rsi", "rsi", "rsi", "macd", "breakout", "grid", "dca"))
    bot: dict[str, Any] = {
        "name": f"{kind}{number}", "strategy": kind, "symbol": symbol, "interval": "1m", "mode": "live",
        "capital": str(dice.choice((300, 1000, 3000))),
    }  # fmt: skip
    price = prices[symbol]
    if kind == "rsi":
        period = dice.randint(2, 6)
        bot["params"] = {"period": period, "oversold": dice.randint(35, 48), "overbought": dice.randint(52, 65)}
    elif kind == "breakout":
        bot["params"] = {"entry": dice.randint(2, 5), "exit": dice.randint(2, 4)}
    elif kind == "macd":
        bot["params"] = {"fast": 3, "slow": 6, "signal": 3}
    elif kind == "grid":
        width = dice.uniform(0.005, 0.02)
        levels = dice.randint(3, 6)
        low, high = (f"{price * (1 + side * width):.2f}" for side in (-1, 1))
        bot["params"] = {"lower": low, "upper": high, "levels": levels}
    else:
        profit = dice.choice((0.002, 0.004))
        bot["params"] = {"every": dice.choice(("1m", "3m")), "amount": "20", "take_profit": profit}
    if kind in ("rsi", "breakout", "macd"):
        bot["stop_loss"] = dice.choice(("0.005", "0.01", "0.02"))
        if dice.random() < 0.3:
            bot["trailing_stop"] = "0.008"
        if dice.random() < 0.6:
            bot["take_profit"] = dice.choice(("0.002", "0.004", "0.006"))  # with the stop: a pair on the exchange
    return bot


def faults(seed: int, minutes: float, names: tuple[str, ...] = NAMES) -> ExchangeFaults:
    """Return the exchange's faults: about one a minute, of all kinds or of ``names``, then more."""
    count = round(minutes) if names == NAMES else round(minutes) * 4
    return seeded(seed, round(minutes * 60_000), max(4, count), names=names)


class Blow(msgspec.Struct, frozen=True):
    """Something that happens to botd itself at a time. ``kind``: steps, before, after, before_commit, after_commit
    (crashes), stop (in order), network, silence, clock, deposit, halt, release."""

    at_s: float
    kind: str
    number: int = 0
    """Steps until a crash; thousandths of what lasts."""


CRASHES = ("steps", "steps", "before", "after", "before_commit", "after_commit", "stop")
TROUBLES = ("network", "silence", "clock", "deposit", "halt")


def blows(seed: int, minutes: float) -> list[Blow]:
    """Return the crashes (one in about four minutes) and other troubles of a run, in their order."""
    dice = random.Random(f"blows {seed}")
    span = minutes * MINUTE_S
    found = [
        Blow(dice.uniform(10, span), dice.choice(CRASHES), dice.randrange(400))
        for _ in range(max(1, round(minutes / 4)))
    ]
    found += [
        Blow(dice.uniform(30, span), dice.choice(TROUBLES), dice.randrange(1000))
        for _ in range(max(1, round(minutes / 6)))
    ]
    return sorted(found, key=lambda blow: blow.at_s)
