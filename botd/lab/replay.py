"""``botctl replay BOT``: what a bot did, in the ledger, beside what the rules say on the same candles.

The rules are played from the first candle that the bot could decide on as it is now (its creation, the last change of
its spec, the end of what it held then) to the last that it saw. Of a strategy of signals closed trades are compared;
they belong together where their entries lie in the same candle. Of one that places its own orders, which may never be
flat, orders that filled: they belong together by candle and side. What a person did (stop, close, halt) and what risk
denied are differences too: they are told, not explained. The ledger is only read.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from botd.backtest.engine import run as run_engine
from botd.backtest.history import History, from_candles, from_file, from_store
from botd.backtest.run import backtest
from botd.backtest.terms import Terms
from botd.domain.bot_spec import BotSpec
from botd.domain.candle import interval_ms
from botd.domain.candles import Candles, complete_buckets
from botd.domain.clock import WallClock, parse_time, rfc3339
from botd.domain.errors import InvalidError, NotFoundError
from botd.domain.order import Fill
from botd.lab.given import Place, store_of
from botd.lab.inputs import Rows, rows_from, with_inputs
from botd.market.simulated.synthetic import SyntheticSource
from botd.market.store.candle_rows import between
from botd.strategy.base import SignalStrategy
from botd.strategy.inputs import Read
from botd.strategy.warmup import warmup_of

Row = dict[str, Any]
_MOST_SYNTHETIC = 5_000_000


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a row is of: where it belongs in time, what may differ by the tolerance, what must be equal, what must lie
    in the same candle, and what is told without being held against the rules."""

    time: str
    numbers: tuple[str, ...]
    words: tuple[str, ...]
    moments: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.time, *self.moments, *self.told, *self.numbers, *self.words)


_TRADES = _Kind("entry_time", ("quantity", "entry_price", "exit_price"), ("exit_reason",), ("exit_time",), ("pnl",))
_ORDERS = _Kind("time", ("quantity", "price"), ("side",))


@dataclass(frozen=True, slots=True)
class World:
    """Where the bot lived: its ledger, the feed of its market, the costs of its paper account."""

    ledger: Path
    source: str
    files: Mapping[str, Path]
    symbols: Sequence[str]
    interval: str
    seed: int
    start_ms: int
    costs: Mapping[str, Any]


def run_replay(
    place: Place, world: World, name: str, tolerance: float, data: Path | None, since: int = 0
) -> dict[str, Any]:
    """Return ``rows``, one a trade (or order) of either side, and ``differences``: how many are not the same.

    What was before ``since`` is not compared: sizes go on from what the bot had then.
    """
    with closing(_open(world.ledger)) as connection:
        number, spec, created = _bot(connection, name)
        begin, why = _begin(connection, name, created)
        every = list(_trades(connection, number))
        filled = list(_filled(connection, number))
        held_since = _held_since(connection, number)
        seen = _last_seen(connection, number)
        ended, how = _ended(connection, number)
    if since > begin:
        begin, why = since, "as --from asks"
    strategy = place.registry.load(spec.strategy).build(spec.params)
    kind = _TRADES if isinstance(strategy, SignalStrategy) else _ORDERS
    length = interval_ms(spec.interval)
    decides = begin - begin % length + length  # first at the close of the candle under way
    notes = [f"from {rfc3339(begin)} on: {why}"] if why else []
    if ended is not None and (seen is None or ended - length < seen):
        seen = ended - length  # the last candle whose close it heard
        notes.append(f"until {rfc3339(ended)}: then it was {how}")
        if seen < decides - length:
            return {**_told(name, kind, (), 0, 0, notes, (begin, begin)), "compared": False}
    if held_since is not None and held_since < decides:
        held = f"nothing to compare yet: it holds what it bought at {rfc3339(held_since)}"
        span = begin, begin if seen is None else seen
        return {**_told(name, kind, (), 0, 0, [*notes, held], span), "compared": False}
    before = [row for row in every if row["entry_time_ms"] < decides]
    begin = max([begin, *(row["exit_time_ms"] for row in before)])
    had = spec.capital + sum((Decimal(row["pnl"]) for row in before), Decimal(0))
    terms = replace(Terms.of(spec, world.costs), capital=had)
    warmup = max(warmup_of(spec.strategy, strategy), terms.warmup)
    history = _history(place, world, spec, warmup, begin, seen, data)
    history = with_inputs(history, [(spec.strategy, strategy)], _input_rows(place, world, spec, data))
    if isinstance(strategy, SignalStrategy):
        last = float("inf") if ended is None else ended
        did = [row for row in every if row["entry_time_ms"] >= decides and row["exit_time_ms"] < last]
        result = backtest(history, spec.strategy, strategy, terms, WallClock())
        says = [row for row in result.trade_list() if row["exit_time"] is not None]
    else:
        alone = msgspec.structs.replace(spec, capital=had, mode="paper")
        (result,) = run_engine([history], [alone], place.registry, WallClock(), terms=terms)
        did = [row for row in filled if begin <= row["time_ms"] < int(result.time[-1]) + length]
        says = list(_by_order(_fill_row(fill) for fill in result.fills))
    rows = _compared(did, says, length, tolerance, kind)
    span = int(result.time[0]), int(result.time[-1])
    return _told(name, kind, rows, len(did), len(says), [*notes, *result.notes], span)


def _told(
    name: str, kind: _Kind, rows: Sequence[Row], did: int, rules: int, notes: list[str], span: tuple[int, int]
) -> dict[str, Any]:
    return {
        "compared": True,
        "rows": list(rows),
        "bot": name,
        "of": "trades" if kind is _TRADES else "orders",
        "first": rfc3339(span[0]),
        "last": rfc3339(span[1]),
        "did": did,
        "rules": rules,
        "differences": sum(row["verdict"] != "same" for row in rows),
        "notes": notes,
    }


def _open(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise NotFoundError(f"{path}: no ledger there", "name the configuration whose ledger is meant with --config")
    try:
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise InvalidError(f"{path}: {error}") from None


def _bot(connection: sqlite3.Connection, name: str) -> tuple[int, BotSpec, int]:
    """Return number, spec and time of creation; the latest bot of that name, removed or not."""
    query = "SELECT number, spec, created_ms FROM bots WHERE name = ? ORDER BY number DESC LIMIT 1"
    row = connection.execute(query, (name,)).fetchone()
    if row is None:
        known = [one for (one,) in connection.execute("SELECT name FROM bots WHERE number > 0 AND removed_ms IS NULL")]
        raise NotFoundError(f"{name}: no such bot", f"bots: {', '.join(known[:12])}" if known else "it has no bots")
    return int(row[0]), msgspec.json.decode(row[1], type=BotSpec), int(row[2])


def _begin(connection: sqlite3.Connection, name: str, created: int) -> tuple[int, str]:
    """Return since when the bot trades by the spec that it has, and in words why not from its creation on.

    Of changes longer ago than the ledger keeps events nothing is known.
    """
    query = "SELECT time_ms, data FROM events WHERE topic = 'bot.changed' AND bot = ? AND time_ms >= ? ORDER BY seq"
    changes = [
        (int(at), msgspec.json.decode(data)["changes"]) for at, data in connection.execute(query, (name, created))
    ]
    for at, keys in reversed(changes):
        if told := ", ".join(key for key in keys if not key.startswith("label.")):
            return at, f"{told} changed at {rfc3339(at)}, what was before is not compared"
    return created, ""


def _trades(connection: sqlite3.Connection, number: int) -> Iterator[Row]:
    keys = ("entry_time_ms", "exit_time_ms", "quantity", "entry_price", "exit_price", "pnl", "exit_reason")
    query = f"SELECT {','.join(keys)} FROM trades WHERE bot = ? ORDER BY rowid"
    for values in connection.execute(query, (number,)):
        row = dict(zip(keys, values, strict=True))
        yield {**row, "entry_time": rfc3339(row["entry_time_ms"]), "exit_time": rfc3339(row["exit_time_ms"])}


def _filled(connection: sqlite3.Connection, number: int) -> Iterator[Row]:
    """Yield the bot's orders that filled, in the order of their first fills."""
    keys = ("client_order_id", "time_ms", "side", "quantity", "price")
    query = f"SELECT {','.join(keys)} FROM fills WHERE bot = ? ORDER BY time_ms, id"
    fills = (dict(zip(keys, values, strict=True)) for values in connection.execute(query, (number,)))
    yield from _by_order(
        {**fill, "quantity": Decimal(fill["quantity"]), "price": Decimal(fill["price"])} for fill in fills
    )


def _fill_row(fill: Fill) -> Row:
    return {key: getattr(fill, key) for key in ("client_order_id", "time_ms", "side", "quantity", "price")}


def _by_order(fills: Iterable[Row]) -> Iterator[Row]:
    """Yield a row an order: what filled of it, at which price on average, and when it began to."""
    orders: dict[str, list[Row]] = {}
    for fill in fills:
        orders.setdefault(fill["client_order_id"], []).append(fill)
    for parts in orders.values():
        quantity = sum((part["quantity"] for part in parts), Decimal(0))
        price = sum((part["quantity"] * part["price"] for part in parts), Decimal(0)) / quantity
        yield {
            "time_ms": parts[0]["time_ms"],
            "time": rfc3339(parts[0]["time_ms"]),
            "side": str(parts[0]["side"]),
            "quantity": f"{quantity.normalize():f}",
            "price": f"{price.normalize():f}",
        }


def _held_since(connection: sqlite3.Connection, number: int) -> int | None:
    """Return when the position began that the bot has, None where it has none."""
    query = "SELECT quantity, entry_time_ms FROM positions WHERE bot = ?"
    held = [int(since) for quantity, since in connection.execute(query, (number,)) if Decimal(quantity) > 0]
    return min(held, default=None)


def _ended(connection: sqlite3.Connection, number: int) -> tuple[int | None, str]:
    """Return since when the bot trades no more, None while it does, and in a word why."""
    state, since, removed = connection.execute(
        "SELECT state, since_ms, removed_ms FROM bots WHERE number = ?", (number,)
    ).fetchone()
    stopped = int(since) if state == "stopped" else None
    if removed is not None and (stopped is None or removed <= stopped):
        return int(removed), "removed"
    return stopped, "stopped"


def _last_seen(connection: sqlite3.Connection, number: int) -> int | None:
    """Return the open time of the last candle that the bot saw, about: of the market's cursor, else by its own rows."""
    query = "SELECT value FROM keyed WHERE space = 'market' AND key = 'cursor'"
    cursor = connection.execute(query).fetchone()
    if cursor is not None:
        return int(cursor[0])
    times = [
        connection.execute(f"SELECT MAX(time_ms) FROM {table} WHERE bot = ?", (number,)).fetchone()[0]
        for table in ("equity", "decisions")
    ]
    return max((int(time) for time in times if time is not None), default=None)


def _history(
    place: Place, world: World, spec: BotSpec, warmup: int, begin: int, seen: int | None, data: Path | None
) -> History:
    """Return the candles from that under way at ``begin``, at whose close the bot decided, to the last that it saw."""
    length = interval_ms(spec.interval)
    first = begin - begin % length
    grid = place.grids.get(spec.symbol)
    until = None if seen is None else seen - seen % length + 1
    if data is not None:
        return from_file(data, spec.symbol, spec.interval, from_ms=first, to_ms=until, warmup=warmup, instrument=grid)
    if world.source == "replay":
        if spec.symbol not in world.files:
            raise NotFoundError(f"{spec.symbol}: the replayed market has no file of it", "give one with --data")
        whole = from_file(world.files[spec.symbol], spec.symbol, world.interval, instrument=grid)
        return _cut(whole.candles, spec, first, until, whole)
    if world.source == "synthetic":
        source = SyntheticSource(list(world.symbols), world.interval, world.start_ms, world.seed)
        end = until or first
        count = (end + length - world.start_ms) // length  # from the first on: indicators begin there
        if not 0 < count <= _MOST_SYNTHETIC:
            raise InvalidError(f"{spec.name}: {count} candles of the synthetic market cannot be played")
        rows = source.history(spec.symbol, spec.interval, end + length, count)
        return _cut(rows, spec, first, until, from_candles(rows, spec.symbol, source.instruments()[spec.symbol]))
    lane = (store_of(place), spec.symbol, spec.interval)
    return from_store(*lane, from_ms=first, to_ms=until, warmup=warmup, instrument=grid)


def _cut(rows: Candles, spec: BotSpec, first: int, until: int | None, whole: History) -> History:
    """Return the bot's own candles, decided on from ``first`` on, with the instrument of the market."""
    own = complete_buckets(rows, spec.interval)
    end = len(own) if until is None else int(np.searchsorted(own.time, until))
    begin = min(int(np.searchsorted(own.time, first)), max(0, end - 2))
    return from_candles(own.part(0, end), spec.symbol, whole.instrument, begin)


def _input_rows(place: Place, world: World, spec: BotSpec, data: Path | None) -> Rows:
    """Return where the candles come from that its strategy reads besides: where its own do."""
    given = {} if data is None else {spec.symbol: data}
    stored = rows_from(store_of(place), given)

    def of_the_market(read: Read, interval: str, begin: int, end: int) -> Candles:
        if read.symbol in given:
            return stored(read, interval, begin, end)
        if world.source == "synthetic":
            source = SyntheticSource(list(world.symbols), world.interval, world.start_ms, world.seed)
            return source.history(read.symbol, read.interval, end, (end - begin) // interval_ms(read.interval) + 1)
        if read.symbol not in world.files:
            raise NotFoundError(f"{read.words}: the replayed market has no file of it, and the strategy reads it")
        whole = from_file(world.files[read.symbol], read.symbol, world.interval)
        return between(complete_buckets(whole.candles, read.interval), begin, end)

    return of_the_market if world.source in ("replay", "synthetic") else stored


def _compared(did: Sequence[Row], says: Sequence[Row], length: int, tolerance: float, kind: _Kind) -> list[Row]:
    """Return a row a trade (or order) of either side, in the order of their candles."""
    pairs: dict[tuple[Any, ...], list[Row | None]] = {}
    for place, side in enumerate((did, says)):
        counted: Counter[tuple[Any, ...]] = Counter()
        for row in side:
            candle = (parse_time(row[kind.time]) // length, row["side"] if kind is _ORDERS else "")
            pairs.setdefault((*candle, counted[candle]), [None, None])[place] = row
            counted[candle] += 1
    return [_row(one, other, length, tolerance, kind) for _, (one, other) in sorted(pairs.items())]


def _row(did: Row | None, says: Row | None, length: int, tolerance: float, kind: _Kind) -> Row:
    row: Row = {key: None if did is None else did[key] for key in kind.keys}
    row |= {f"rules_{key}": None if says is None else says[key] for key in kind.keys}
    if did is None or says is None:
        return {"verdict": "missing" if did is None else "extra", "difference_pct": None, **_at(did, says, kind), **row}
    gaps = [abs(float(did[key]) / float(says[key]) - 1) if float(says[key]) else 0.0 for key in kind.numbers]
    same = max(gaps) <= tolerance and all(did[key] == says[key] for key in kind.words)
    same &= all(parse_time(did[key]) // length == parse_time(says[key]) // length for key in kind.moments)
    verdict = "same" if same else "differs"
    return {"verdict": verdict, "difference_pct": 100 * max(gaps), **_at(did, says, kind), **row}


def _at(did: Row | None, says: Row | None, kind: _Kind) -> Row:
    """Return when it was, by the bot or else by the rules."""
    one = did or says
    return {"at": None if one is None else one[kind.time]}
