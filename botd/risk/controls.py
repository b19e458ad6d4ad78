"""The table of risk controls: every name, code, limit and default, in the order of the gate.

This page is data. It decides nothing: presets say which controls are on, settings say with which limits,
the gate and the monitors apply them. The order of :data:`CONTROLS` is the order in which an entry is
checked; the first failure wins.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

Value = Decimal | tuple[str, ...]
"""A limit: a number (shares as fractions, times in seconds), or a list of symbols."""


class Unit(StrEnum):
    """How a limit is written and shown."""

    SWITCH = "switch"
    SHARE = "%"
    SHARE_OR_QUOTE = "% or quote"
    COUNT = "count"
    RATE = "per second"
    SECONDS = "s"
    NUMBER = "number"
    SYMBOLS = "symbols"


class Part(msgspec.Struct, frozen=True):
    """One limit of a control. ``scope`` says whose it is; ``low`` and ``high`` bound what may be set."""

    name: str
    default: Value
    unit: Unit
    scope: str = "bot"
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(1)


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    ``effect``: ``deny`` (yes or no), ``shrink`` (cuts the quantity), ``trip`` (a monitor sets a trading
    state and the gate refuses while it lasts). ``single`` names the parts that a bare value sets; empty
    where a mapping is needed. ``presets`` are those that switch it on; ``fixed`` controls have no key.
    """

    name: str
    codes: tuple[str, ...]
    parts: tuple[Part, ...]
    effect: str
    single: tuple[str, ...] = ()
    presets: frozenset[str] = frozenset({"live", "paper"})
    fixed: bool = False
    help: str = ""

    @property
    def code(self) -> str:
        """The code of a denial (the first, where there are two)."""
        return self.codes[0]

    def part(self, name: str) -> Part:
        """Return the part of that name; KeyError where there is none."""
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(name)


ALWAYS = frozenset({"live", "paper", "off"})
LIVE = frozenset({"live"})

_ON = Part("on", Decimal(1), Unit.SWITCH)
_MANY = Decimal(1_000_000)
_DAY = Decimal(86_400)


def _share(name: str, percent: str, scope: str = "bot", unit: Unit = Unit.SHARE) -> Part:
    high = Decimal(10) ** 15 if unit is Unit.SHARE_OR_QUOTE else Decimal(1)
    return Part(name, Decimal(percent) / 100, unit, scope, Decimal(0), high)


def _count(name: str, default: int, scope: str = "bot") -> Part:
    return Part(name, Decimal(default), Unit.COUNT, scope, Decimal(1), _MANY)


def _seconds(name: str, default: int, scope: str = "bot") -> Part:
    return Part(name, Decimal(default), Unit.SECONDS, scope, Decimal(0), 30 * _DAY)


def _rate(name: str, default: int, scope: str = "bot") -> Part:
    return Part(name, Decimal(default), Unit.RATE, scope, Decimal("0.001"), Decimal(1000))


CONTROLS: tuple[Control, ...] = (
    Control(
        name="mode",
        codes=("MODE_NOT_ARMED",),
        parts=(_ON,),
        effect="deny",
        presets=ALWAYS,
        fixed=True,
        help="paper bots pass; a live bot's entries wait for: botctl live arm",
    ),
    Control(
        name="trading_state",
        codes=("TRADING_HALTED", "REDUCE_ONLY"),
        parts=(_ON,),
        effect="deny",
        presets=ALWAYS,
        fixed=True,
        help="halt and reduce of the account, the symbol or the bot, by a person",
    ),
    Control(name="readiness", codes=("NOT_READY",), parts=(_ON,), effect="deny", help="the parts that trading needs"),
    Control(
        name="price_freshness",
        codes=("STALE_MARKET_DATA",),
        parts=(_seconds("value", 10),),
        effect="deny",
        single=("value",),
        help="age of the price on tick feeds; candle feeds: interval + 90 s",
    ),
    Control(
        name="symbol_allowlist",
        codes=("SYMBOL_NOT_ALLOWED",),
        parts=(Part("value", (), Unit.SYMBOLS),),
        effect="deny",
        single=("value",),
        help="the bot's own symbol, in status TRADING, and in this list where one is given",
    ),
    Control(
        name="filters",
        codes=("FILTER",),
        parts=(_ON,),
        effect="deny",
        presets=ALWAYS,
        fixed=True,
        help="the exchange's filters: step, tick, minimum, maximum, open orders; finite numbers",
    ),
    Control(
        name="price_collar",
        codes=("PRICE_COLLAR",),
        parts=(_share("limit", "2"), _share("market", "0.5")),
        effect="deny",
        presets=LIVE,
        help="a limit price above the market, the slippage of a market order",
    ),
    Control(
        name="max_order_value",
        codes=("MAX_ORDER_VALUE",),
        parts=(_share("value", "10", unit=Unit.SHARE_OR_QUOTE),),
        effect="shrink",
        single=("value",),
        help="of the account's equity (preset live) or of the bot's (paper); above 1 an amount in quote",
    ),
    Control(
        name="max_order_size",
        codes=("MAX_ORDER_SIZE",),
        parts=(_share("value", "5"),),
        effect="shrink",
        single=("value",),
        presets=LIVE,
        help="of the volume of the last 1m candle",
    ),
    Control(
        name="max_position",
        codes=("MAX_POSITION",),
        parts=(_share("value", "20", unit=Unit.SHARE_OR_QUOTE),),
        effect="shrink",
        single=("value",),
        presets=LIVE,
        help="value held of a symbol by all bots, of the account's equity",
    ),
    Control(
        name="max_exposure",
        codes=("MAX_EXPOSURE",),
        parts=(_share("value", "100", unit=Unit.SHARE_OR_QUOTE),),
        effect="shrink",
        single=("value",),
        help="value of all positions and open entries, of the account's equity (long only: gross = one direction)",
    ),
    Control(
        name="max_open_orders",
        codes=("MAX_OPEN_ORDERS",),
        parts=(_count("symbol", 20, "symbol"), _count("bot", 50), _count("account", 150, "account")),
        effect="deny",
        help="resting orders, a protective pair as one (a market order never rests)",
    ),
    Control(
        name="rate_limit",
        codes=("RATE_LIMIT",),
        parts=(_rate("bot", 2), _rate("account", 8, "account")),
        effect="deny",
        help="entries a second; queued, denied where the wait exceeds 30 s",
    ),
    Control(
        name="duplicate_order",
        codes=("DUPLICATE_ORDER",),
        parts=(_seconds("limit", 2), _seconds("market", 10)),
        effect="deny",
        help="the same order of the same bot again within so many seconds",
    ),
    Control(
        name="repeated_execution",
        codes=("REPEATED_EXECUTION",),
        parts=(_count("hour", 30), _count("day", 200)),
        effect="deny",
        presets=LIVE,
        help="entries of a bot in any hour and any 24 hours; a strategy may declare more",
    ),
    Control(
        name="self_trade",
        codes=("SELF_TRADE",),
        parts=(_ON,),
        effect="deny",
        help="an entry that would hit another bot's order; an exit cancels that order first",
    ),
    Control(
        name="funds",
        codes=("INSUFFICIENT_FUNDS",),
        parts=(_share("margin", "0.2"),),
        effect="shrink",
        single=("margin",),
        presets=ALWAYS,
        fixed=True,
        help="the account's free quote, less this margin",
    ),
    Control(
        name="budget",
        codes=("BUDGET_EXCEEDED",),
        parts=(_share("value", "100"),),
        effect="shrink",
        single=("value",),
        presets=ALWAYS,
        help="of the bot's capital, or its equity where that is less (preset live); of its equity (paper)",
    ),
    Control(
        name="daily_loss",
        codes=("DAILY_LOSS",),
        parts=(_share("bot", "3"), _share("account", "5", "account")),
        effect="trip",
        single=("bot", "account"),
        presets=LIVE,
        help="on open equity since 00:00 UTC: reduce until 00:00 UTC",
    ),
    Control(
        name="max_drawdown",
        codes=("MAX_DRAWDOWN",),
        parts=(_share("bot", "10"), _share("account", "15", "account")),
        effect="trip",
        single=("bot", "account"),
        presets=LIVE,
        help="on open equity from its peak: halt until released",
    ),
    Control(
        name="consecutive_losses",
        codes=("CONSECUTIVE_LOSSES",),
        parts=(_count("losses", 5), _seconds("pause", 14_400)),
        effect="trip",
        single=("losses",),
        presets=LIVE,
        help="losing trades in a row: no entries for the pause",
    ),
    Control(
        name="reject_storm",
        codes=("REJECT_STORM",),
        parts=(_count("bot", 5), _count("account", 20, "account")),
        effect="trip",
        presets=LIVE,
        help="rejects a minute: halt until released",
    ),
    Control(
        name="unknown_outstanding",
        codes=("UNKNOWN_OUTSTANDING",),
        parts=(_count("bot", 1), _count("account", 3, "account")),
        effect="deny",
        help="orders without a known outcome, a protective pair as one: no entries while there are so many (live)",
    ),
    Control(
        name="volatility_halt",
        codes=("VOLATILITY_HALT",),
        parts=(
            _share("move", "5", "symbol"),
            Part("sigma", Decimal(8), Unit.NUMBER, "symbol", Decimal(1), Decimal(100)),
            _seconds("pause", 900, "symbol"),
        ),
        effect="trip",
        single=("move",),
        presets=LIVE,
        help="a 1m move beyond the share or so many standard deviations: no entries in the symbol for the pause",
    ),
    Control(
        name="exchange_degraded",
        codes=("EXCHANGE_DEGRADED",),
        parts=(_share("errors", "50", "account"),),
        effect="deny",
        single=("errors",),
        help="the exchange errs or bans: no entries (live)",
    ),
)

BY_NAME: dict[str, Control] = {control.name: control for control in CONTROLS}
