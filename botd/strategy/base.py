"""What a strategy is.

A *signal strategy* is one vectorised function of candles; an *event strategy* places and cancels its own
orders. A strategy is a class in a file of its own name; its parameters are declared once, as class
attributes (see :mod:`botd.strategy.parameters`), and are plain values on the instance::

    class Momentum(SignalStrategy):
        period = integer(14, low=2, high=500, help="candles looked back")

        def warmup(self) -> int:
            return self.period + 1

        def signals(self, candles: Candles) -> Signals:
            ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from botd.domain.candle import Candle
from botd.domain.candles import Candles
from botd.domain.instrument import Instrument
from botd.domain.order import Fill, Order
from botd.strategy.parameters import Parameter


@dataclass(frozen=True, slots=True)
class Signals:
    """Where to enter and to exit: boolean arrays as long as the candles.

    ``notes`` are the numbers behind them (arrays of the same length, or scalars), shown by ``botctl why``.
    """

    enter: NDArray[np.bool_]
    exit: NDArray[np.bool_]
    notes: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Input:
    """Candles that a strategy reads beside its own: of a larger interval, or of another symbol.

    ``interval`` is a multiple of the bot's; ``candles`` is how many of them it needs to see, its warm-up there;
    ``symbol`` None is the bot's own.
    """

    interval: str
    candles: int
    symbol: str | None = None


class Strategy:
    """The common part of both kinds: parameters, as attributes of the instance."""

    parameters: ClassVar[Mapping[str, Parameter]] = {}
    declared_entries: ClassVar[tuple[int, int]] = (0, 0)
    """Entries (an hour, a day) that are normal for the strategy, where they are more than the risk limit."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Parameter)}
        cls.parameters = {**cls.parameters, **own}

    def __init__(self, **values: Any) -> None:
        """Take checked values, by parameter name; what is not given has its default."""
        for name, parameter in self.parameters.items():
            setattr(self, name, values.get(name, parameter.default))

    def validate(self) -> str:
        """Return what is wrong with the parameters taken together, or an empty string."""
        return ""

    def in_words(self) -> str:
        """Return in one line when it buys and sells with these parameters, in the words of its notes (for ``why``)."""
        return ""

    def warmup(self) -> int:
        """Return how many candles the strategy needs to see (signal strategies: see their base)."""
        return 1

    def inputs(self) -> Sequence[Input]:
        """Return what it reads besides: ``candles.at("1h")`` has the closed ones, ``.align()`` brings a result back.

        While an input's latest candle is missing the strategy is not asked.
        """
        return ()


class SignalStrategy(Strategy, ABC):
    """One function of the candles: the same over a trailing window and over the whole history."""

    @abstractmethod
    def warmup(self) -> int:
        """Return the window length that makes the last signal equal to that over the whole history."""

    @abstractmethod
    def signals(self, candles: Candles) -> Signals:
        """Return the signals of every candle; NaN indicators must give False. May look back only."""


class Context(Protocol):
    """What an event strategy sees and can do. Orders it places work from the next market event on."""

    state: dict[str, Any]
    """JSON-able memory of the strategy, kept in the ledger and restored after a restart."""

    instrument: Instrument
    capital: Decimal
    """The starting value."""

    @property
    def candles(self) -> Candles:
        """The last ``warmup()`` closed candles, and by ``.at()`` those of ``inputs()``: as they were at the latest
        close that missed none. LookupError for a strategy that declares neither."""
        ...

    def now_ms(self) -> int: ...

    def price(self) -> float:
        """The latest price."""
        ...

    def cash(self) -> Decimal:
        """The bot's own cash, in quote."""
        ...

    def quantity(self) -> Decimal:
        """What the bot holds."""
        ...

    def entry_price(self) -> Decimal | None:
        """The average cost of what it holds."""
        ...

    def orders(self) -> list[Order]:
        """The bot's working orders."""
        ...

    def buy(self, quantity: Decimal, price: Decimal | None = None, tag: str = "") -> str | None:
        """Buy at ``price`` (a limit order) or at market; returns the client order id, None when denied."""
        ...

    def sell(self, quantity: Decimal, price: Decimal | None = None, tag: str = "") -> str | None:
        """Sell likewise."""
        ...

    def cancel(self, client_order_id: str) -> None: ...

    def note(self, **values: float | str) -> None:
        """Record the numbers behind a decision for ``botctl why``."""
        ...


class EventStrategy(Strategy, ABC):
    """A strategy that places and cancels its own orders."""

    def order_value(self, capital: Decimal) -> Decimal | None:
        """Return what each of its purchases is worth, in quote, with that capital; None where that varies. Who makes a
        bot is told where the exchange takes no order as small, or the capital does not last for one."""
        return None

    def on_start(self, context: Context) -> None:
        """Called once when the bot begins, with the first price known; not after a restart."""

    @abstractmethod
    def on_candle(self, context: Context, candle: Candle) -> None:
        """Called at each closed candle of the bot's interval, once ``context.candles`` has all inputs."""

    def on_tick(self, context: Context, price: float) -> None:
        """Called at each tick, on tick feeds only."""

    def on_fill(self, context: Context, fill: Fill) -> None:
        """Called for each fill of the bot's own orders."""
