"""What each command takes: the arguments of the wire as typed structures.

Only the form is checked here (keys, types, lengths, names); what a value means for a bot, a strategy or a
market is said by those who know them. Percentages are decimal fractions as text, times are milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from botd.control.handler import Kind
from botd.control.protocol import CROSS_VERSION

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"
SYMBOL_PATTERN = r"^[A-Za-z0-9_.:-]{1,32}/[A-Za-z0-9_.:-]{1,32}\Z"

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Symbol = Annotated[str, Meta(pattern=SYMBOL_PATTERN)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=256)]
Amount = Text | int | float
Value = Text | bool | int | float | None
Millis = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Cursor = Annotated[str, Meta(max_length=512)]
Names = Annotated[list[Name], Meta(max_length=10_000)]
Labels = Annotated[dict[Word, Text], Meta(max_length=64)]
Changes = Annotated[dict[Word, Value | dict[Word, Value]], Meta(min_length=1, max_length=128)]


class Nothing(Struct, forbid_unknown_fields=True, kw_only=True):
    """A command without arguments."""


class Selector(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which bots: names, all of them, or those that have all the labels. At most one of the three."""

    names: Names = []
    all: bool = False
    labels: Labels = {}

    def __post_init__(self) -> None:
        if bool(self.names) + self.all + bool(self.labels) > 1:
            raise ValueError("names, all and labels exclude each other")


class SomeBots(Selector, forbid_unknown_fields=True, kw_only=True):
    """A selector that must select."""

    def __post_init__(self) -> None:
        Selector.__post_init__(self)
        if not (self.names or self.all or self.labels):
            raise ValueError("which bots? names, all or labels must be given")


# -- fleet and lifecycle


class Spec(Struct, forbid_unknown_fields=True, kw_only=True):
    """A bot as asked for; ``botd.orchestrator.specs`` says whether it makes sense."""

    name: Name
    strategy: Word
    symbol: Symbol
    interval: Word
    capital: Amount
    params: Annotated[dict[Word, Value], Meta(max_length=128)] = {}
    fraction: Amount | None = None
    risk_per_trade: Amount | None = None
    stop_loss: Amount | None = None
    take_profit: Amount | None = None
    trailing_stop: Amount | None = None
    break_even: Amount | None = None
    atr_stop: Amount | None = None
    time_stop: Amount | None = None
    labels: Labels = {}
    mode: Literal["paper", "live"] = "paper"


class Create(Struct, forbid_unknown_fields=True, kw_only=True):
    """One new bot."""

    spec: Spec
    start: bool = False
    replace: bool = False


class Stop(SomeBots, forbid_unknown_fields=True, kw_only=True):
    """``close``: sell as well."""

    close: bool = False


class Remove(SomeBots, forbid_unknown_fields=True, kw_only=True):
    """``force``: also with a position or open orders."""

    force: bool = False


class SetBot(Struct, forbid_unknown_fields=True, kw_only=True):
    """Keys of the spec and parameters of the strategy, with their new values."""

    name: Name
    changes: Changes


class Apply(Struct, forbid_unknown_fields=True, kw_only=True):
    """A whole fleet; ``plan`` only says what would change."""

    bots: Annotated[list[Spec], Meta(max_length=10_000)]
    plan: bool = False


# -- looking


class One(Struct, forbid_unknown_fields=True, kw_only=True):
    """One bot."""

    name: Name


class Ls(Selector, forbid_unknown_fields=True, kw_only=True):
    """Bots, all unless selected; ``removed``: the archived ones too."""

    removed: bool = False
    cursor: Cursor | None = None
    limit: Count | None = None


class Named(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is known of the named bots, of all where none is named."""

    names: Names = []


class Prices(Struct, forbid_unknown_fields=True, kw_only=True):
    """The prices of the named symbols, of all where none is named."""

    symbols: Annotated[list[Symbol], Meta(max_length=10_000)] = []


class Why(Struct, forbid_unknown_fields=True, kw_only=True):
    """A decision of a bot: the last one, or the one made at (or last before) ``at``."""

    name: Name
    at: Millis | None = None


class Curve(Struct, forbid_unknown_fields=True, kw_only=True):
    """Rows of the ledger, oldest first, by page; ``last``: only the newest so many."""

    name: Name | None = None
    last: Count | None = None
    since: Millis | None = None
    until: Millis | None = None
    cursor: Cursor | None = None
    limit: Count | None = None


class History(Curve, forbid_unknown_fields=True, kw_only=True):
    """Those of one symbol, where one is given."""

    symbol: Symbol | None = None


class Orders(History, forbid_unknown_fields=True, kw_only=True):
    """Those of one status, or (``open``) those that work."""

    status: Word | None = None
    open: bool = False


class CandlesOf(Struct, forbid_unknown_fields=True, kw_only=True):
    """Closed candles of one lane, oldest first, by page; ``limit``: only the newest so many."""

    symbol: Symbol
    interval: Word
    limit: Count | None = None
    since: Millis | None = None
    cursor: Cursor | None = None


class EventsSince(Struct, forbid_unknown_fields=True, kw_only=True):
    """Events after ``since_seq``, or from a time on; a topic of ``topics`` stands for all below it, too (``bot`` for
    ``bot.state``)."""

    since_seq: Annotated[int, Meta(ge=0)] | None = None
    since: Millis | None = None
    limit: Count | None = None
    topics: Annotated[list[Word], Meta(max_length=64)] = []
    cursor: Cursor | None = None


class Logs(Struct, forbid_unknown_fields=True, kw_only=True):
    """Lines of the daemon's log or of a bot's own."""

    name: Name | None = None
    lines: Count | None = None
    cursor: Cursor | None = None
    since: Millis | None = None


# -- trading and risk


class Close(Struct, forbid_unknown_fields=True, kw_only=True):
    """Sell what a bot holds, and pause it unless it should keep running."""

    name: Name
    keep_running: bool = False


class Flatten(Struct, forbid_unknown_fields=True, kw_only=True):
    """Halt and sell everything, or everything of one symbol."""

    symbol: Symbol | None = None


class TradingState(Selector, forbid_unknown_fields=True, kw_only=True):
    """Whom a halt, reduce or release is for: bots, a symbol, or (nothing given) the account."""

    symbol: Symbol | None = None


class RiskSet(Struct, forbid_unknown_fields=True, kw_only=True):
    """Controls of one bot, or of all."""

    changes: Changes
    name: Name | None = None


class LiveArm(Struct, forbid_unknown_fields=True, kw_only=True):
    """For how much money in positions, and for how long; nothing given: no limit of its own."""

    max_capital: Amount | None = None
    for_ms: Annotated[int, Meta(ge=60_000, le=366 * 86_400_000)] | None = None


class Resolve(Struct, forbid_unknown_fields=True, kw_only=True):
    """An order in doubt that a person has looked for: it does not work at the exchange."""

    order: Annotated[str, Meta(min_length=1, max_length=36)]


class Reconcile(Struct, forbid_unknown_fields=True, kw_only=True):
    """Look at the whole account now; ``accept_reset``: a test network began anew, and the books may too; ``accept``:
    take an asset's difference as a transfer; ``cancel_foreign``: cancel the orders of another instance of botd."""

    accept_reset: bool = False
    accept: Word | None = None
    cancel_foreign: Word | None = None


class Backup(Struct, forbid_unknown_fields=True, kw_only=True):
    """A copy of the ledger; ``verify`` reads it again."""

    verify: bool = False


class Command(NamedTuple):
    """How a command is asked for, apart from what it does."""

    schema: type[Struct]
    kind: Kind
    cross_version: bool = False


_READ: dict[str, type[Struct]] = {
    "hello": Nothing,
    "ping": Nothing,
    "export": Nothing,
    "ls": Ls,
    "show": One,
    "stats": Named,
    "portfolio": Nothing,
    "health": Nothing,
    "risk.show": Nothing,
    "market.status": Nothing,
    "live.status": Nothing,
    "limits": Nothing,
    "symbols": Nothing,
    "prices": Prices,
    "positions": Named,
    "why": Why,
    "orders": Orders,
    "fills": History,
    "trades": History,
    "equity": Curve,
    "candles": CandlesOf,
    "events": EventsSince,
    "logs": Logs,
    "top": Nothing,
}
_OPERATE: dict[str, type[Struct]] = {
    "create": Create,
    "start": SomeBots,
    "stop": Stop,
    "restart": SomeBots,
    "pause": SomeBots,
    "resume": SomeBots,
    "rm": Remove,
    "set": SetBot,
    "apply": Apply,
    "close": Close,
    "flatten": Flatten,
    "halt": TradingState,
    "reduce": TradingState,
    "release": TradingState,
    "risk.set": RiskSet,
    "live.arm": LiveArm,
    "live.disarm": Nothing,
    "resolve": Resolve,
    "reconcile": Reconcile,
    "market.play": Nothing,
    "market.pause": Nothing,
    "backup": Backup,
    "shutdown": Nothing,
    "reload": Nothing,
}

COMMANDS: dict[str, Command] = {
    **{cmd: Command(schema, "read", cmd in CROSS_VERSION) for cmd, schema in _READ.items()},
    **{cmd: Command(schema, "operate", cmd in CROSS_VERSION) for cmd, schema in _OPERATE.items()},
}
"""Every command of the wire."""


def known_only(schema: type[Struct], args: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that ``schema`` knows: those of another version's caller are overlooked."""
    known = {field.encode_name for field in msgspec.structs.fields(schema)}
    return {key: value for key, value in args.items() if key in known}
