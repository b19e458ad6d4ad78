"""The audit: who ordered what, what was intended, denied, sent and filled, in a chain that shows any change.

Each entry's code (HMAC-SHA256) covers the entry and the code before it; the key lies beside the database, not in it.
An entry edited, deleted, inserted or moved breaks the chain there. Entries cut off at the end are missed by the
anchors: every ten minutes the head of the chain is written to a file of its own and to the log. The
database refuses UPDATE and DELETE on the table.

A chain that broke for a reason that a person knows can be accepted: an entry says what was broken, who accepts it and
why, and fixes what lies before it by its digest; from there on the chain must hold. It stays in sight for ever.

It may not judge what it is told.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from botd.domain.clock import random_token
from botd.domain.errors import ConfigError, ForbiddenError
from botd.domain.events import Event
from botd.domain.failpoints import failpoint
from botd.domain.order import Fill, Order, OrderStatus
from botd.ledger import failures
from botd.ledger.backup import sync
from botd.ledger.records import amount, optional_amount
from botd.ledger.tables import Row

ANCHOR_EVERY_S = 600.0
_HEX = "0123456789abcdef"
_NEWS = (OrderStatus.INTENT, OrderStatus.DENIED)
_STATES = ("risk.", "live.")
"""Events that change what bots may do."""
ACCEPTED = "accepted"
"""The kind of an entry by which a person accepts that the chain is broken before it."""
DAMAGED = "the audit: "
"""What :func:`damages` tells begins with it."""

_encode = msgspec.json.Encoder(enc_hook=str).encode

TRIGGERS = tuple(
    f"CREATE TRIGGER audit_no_{verb} BEFORE {verb} ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
    for verb in ("update", "delete")
)


class Head(msgspec.Struct, frozen=True):
    """The last entry of a chain: its number, 0 for none, and its code."""

    id: int = 0
    mac: str = ""


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """What a person accepted: the entry's own words. ``digest`` is that of all entries before it."""

    reason: str
    by: str
    uid: int
    pid: int
    broken: list[str]
    """The first findings."""
    broken_count: int
    digest: str


class Accepted(msgspec.Struct, frozen=True):
    """An acceptance that the chain has."""

    at: Head
    time_ms: int
    what: Acceptance


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What reading the whole chain showed. ``broken`` says where and how it does not hold, empty where it does; what
    was ``accepted`` is not in it."""

    entries: int
    head: str
    anchors: int
    broken: list[str]
    accepted: list[Accepted]


# -- entries: (time, kind, JSON)


def of_order(order: Order) -> Row:
    """Return the entry of an order as it is now: in full for an intent or a denial, else what became of it."""
    entry: dict[str, object] = {"order": order.client_order_id, "status": order.status.value}
    if order.status in _NEWS:
        entry |= {
            "bot": order.bot,
            "symbol": order.symbol,
            "side": order.side.value,
            "type": order.type.value,
            "quantity": amount(order.quantity),
            "price": optional_amount(order.price),
            "stop_price": optional_amount(order.stop_price),
            "purpose": order.purpose.value,
            "intent": order.intent_reason,
        }
    else:
        entry |= {"exchange_order_id": order.exchange_order_id, "filled": amount(order.filled)}
    entry["reason"] = order.reason
    if order.cancel_requested:
        entry["cancel_requested"] = True
    return order.updated_ms, "order", _encode(entry).decode()


def of_fill(fill: Fill) -> Row:
    """Return the entry of a fill."""
    entry = {
        "trade": fill.trade_id,
        "order": fill.client_order_id,
        "bot": fill.bot,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "quantity": amount(fill.quantity),
        "price": amount(fill.price),
        "fee": amount(fill.fee),
        "fee_asset": fill.fee_asset,
    }
    return fill.time_ms, "fill", _encode(entry).decode()


def of_command(
    request_id: str, uid: int, pid: int, cmd: str, args: object, code: str, time_ms: int, *, admitted: bool = True
) -> Row:
    """Return the entry of a command, with who gave it; ``code`` says why it was refused, or failed in part.

    One that is not ``admitted`` was turned away before anything was done: the caller may not, or it was ill-formed.
    """
    entry = {"cmd": cmd, "uid": uid, "pid": pid, "request": request_id, "args": args, "ok": not code}
    if code:
        entry["code"] = code
    if not admitted:
        entry["admitted"] = False
    return time_ms, "command", _encode(entry).decode()


def of_event(event: Event) -> Row | None:
    """Return the entry of an event that changes what may be done, None for every other."""
    if not event.topic.startswith(_STATES):
        return None
    return event.time_ms, event.topic, _encode({"bot": event.bot, **event.data}).decode()


# -- the chain


class Chain:
    """Gives entries their numbers and codes."""

    def __init__(self, key: bytes, head: Head) -> None:
        self.head = head
        self._code = _coder(key)

    def extend(self, entries: Iterable[Row]) -> tuple[list[Row], Head]:
        """Return the entries as rows of the table, and the head after them: it counts once they are committed."""
        number, mac = self.head.id, self.head.mac
        rows: list[Row] = []
        for time_ms, kind, entry in entries:
            number += 1
            mac = self._code(mac, number, time_ms, kind, entry)
            rows.append((number, time_ms, kind, entry, mac))
        return rows, Head(number, mac)


def head(connection: sqlite3.Connection) -> Head:
    """Return the last entry's number and code."""
    row = connection.execute("SELECT id, mac FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    return Head() if row is None else Head(*row)


def key_path(ledger: Path) -> Path:
    """Return where the key of a ledger's chain lies."""
    return ledger.with_name("audit.key")


def anchors_path(ledger: Path) -> Path:
    """Return where the heads of a ledger's chain are noted."""
    return ledger.with_name("audit.heads")


def key(ledger: Path) -> bytes:
    """Return the key of the ledger's chain, made at first. ForbiddenError where it cannot be read or written,
    UnavailableError where the disk does not take it."""
    path = key_path(ledger)
    try:
        if not path.exists():
            _make_key(path)
        text = path.read_text().strip()
    except PermissionError as error:
        raise ForbiddenError(f"{path}: {error.strerror}", "the key of the audit must be readable by botd") from error
    except OSError as error:
        raise failures.on_open(path, error) from error
    if len(text) != 64 or not set(text) <= set(_HEX):
        raise ConfigError(
            f"{path} is not a key of an audit", "put the file back from a backup, or remove it to begin anew"
        )
    return bytes.fromhex(text)


def _make_key(path: Path) -> None:
    """Make the file aside and move it into place: half a key would be in the way of every start."""
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(random_token(_HEX, 64) + "\n")
        file.flush()
        os.fsync(file.fileno())
    failpoint("audit.before_key")
    os.replace(aside, path)
    sync(path.parent)


def anchor(ledger: Path, at: Head, time: str) -> None:
    """Note the head of the chain in its file. It begins a line of its own, whatever was cut off before."""
    failpoint("audit.before_anchor")
    with anchors_path(ledger).open("a") as file:
        file.write(f"\n{time} {at.id} {at.mac}\n")


# -- reading it


def entries(connection: sqlite3.Connection, since_ms: int = 0, after: int = 0) -> Iterator[Row]:
    """Yield the entries (id, time_ms, kind, entry, mac) after a number and since a time, oldest first."""
    yield from connection.execute(
        "SELECT id, time_ms, kind, entry, mac FROM audit WHERE id > ? AND time_ms >= ? ORDER BY id", (after, since_ms)
    )


def verify(connection: sqlite3.Connection, ledger: Path) -> Finding:
    """Read the whole chain and hold it against the key and the anchors."""
    noted = _anchors(ledger)
    read = _read(connection, key(ledger), {at for at, _ in noted})
    broken, last = read.broken, read.head.id
    for at, code in _since_accepted(noted, read.accepted):
        if at > last:
            broken.append(f"entries {last + 1} to {at} are missing at the end: an anchor knows of them")
        elif read.codes.get(at, "") != code and at:
            broken.append(f"entry {at} is not the one that was anchored")
    return Finding(entries=last, head=read.head.mac, anchors=len(noted), broken=broken, accepted=read.accepted)


def older_copy(connection: sqlite3.Connection, ledger: Path) -> str:
    """Return in words what the last anchor knows and the chain does not, empty where they fit. Costs two short reads.

    A ledger put back from an older copy ends before it; one that was written on since then has other entries there.
    """
    noted = _anchors(ledger, last_bytes=1024)
    if not noted:
        return ""
    (number, code), last = noted[-1], head(connection).id
    if number > last:
        missed = f"entries {last + 1} to {number}" if number > last + 1 else f"entry {number}"
        return f"the audit misses {missed}: was an older copy of the ledger put back?"
    row = connection.execute("SELECT mac FROM audit WHERE id = ?", (number,)).fetchone()
    if number and (row is None or row[0] != code):
        return f"entry {number} of the audit is not the one that was anchored: was another ledger put in its place?"
    return ""


def damages(connection: sqlite3.Connection, ledger: Path) -> Iterator[str]:
    """Tell in words where the chain does not hold. Anchors do not count: a backup put back lacks the last entries."""
    yield from (f"{DAMAGED}{words}" for words in _read(connection, key(ledger), set()).broken)


class _Reading(msgspec.Struct):
    head: Head
    broken: list[str]
    accepted: list[Accepted]
    codes: dict[int, str]
    """Of the wanted entries."""


def _read(connection: sqlite3.Connection, secret: bytes, wanted: Container[int]) -> _Reading:
    """Walk along the chain. What was broken before an acceptance counts no more, unless it was changed since."""
    broken: list[str] = []
    codes: dict[int, str] = {}
    accepted: list[Accepted] = []
    last = int(connection.execute("SELECT max(id) FROM audit WHERE kind = ?", (ACCEPTED,)).fetchone()[0] or 0)
    digest = hashlib.sha256()
    at = Head()
    for row, wrong in _walk(connection, secret):
        at = Head(int(str(row[0])), str(row[4]))
        broken += wrong
        if at.id in wanted:
            codes[at.id] = at.mac
        if row[2] == ACCEPTED and not wrong:
            told = Accepted(at, int(str(row[1])), msgspec.json.decode(str(row[3]), type=Acceptance))
            accepted.append(told)
            if told.what.digest == digest.hexdigest():
                broken.clear()
            else:
                broken.append(f"the entries before {at.id} are not those that were accepted there")
        if at.id < last:
            digest.update(_line(row))
    return _Reading(at, broken, accepted, codes)


def _walk(connection: sqlite3.Connection, secret: bytes) -> Iterator[tuple[Row, list[str]]]:
    """Yield each entry, and what is wrong there."""
    code, number, mac = _coder(secret), 0, ""
    for row in entries(connection):
        found, time_ms, kind, entry, stored = row
        wrong = []
        number += 1
        if found != number:
            wrong.append(_gap(number, int(str(found))))
            number = int(str(found))
        if code(mac, number, time_ms, kind, entry) != stored:
            wrong.append(f"entry {number} ({kind}) is not as it was written, or what came before it is not")
        mac = str(stored)
        yield row, wrong


def digest_of(rows: Iterable[Row]) -> str:
    """Return what fixes all these entries, as an acceptance does."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(_line(row))
    return digest.hexdigest()


def _line(row: Row) -> bytes:
    return msgspec.json.encode(row)


def _since_accepted(noted: Sequence[tuple[int, str]], accepted: Iterable[Accepted]) -> Sequence[tuple[int, str]]:
    """Return the anchors from that of the last acceptance on: those before it were accepted with it."""
    theirs = {(told.at.id, told.at.mac) for told in accepted}
    return noted[max((place for place, anchor in enumerate(noted) if anchor in theirs), default=0) :]


def _gap(expected: int, found: int) -> str:
    last = found - 1
    return f"entries {expected} to {last} are missing" if last > expected else f"entry {expected} is missing"


def _anchors(ledger: Path, last_bytes: int | None = None) -> Sequence[tuple[int, str]]:
    path = anchors_path(ledger)
    text = b""
    if path.exists():
        with path.open("rb") as file:
            if last_bytes is not None:
                file.seek(max(0, path.stat().st_size - last_bytes))
            text = file.read()
    lines = text.decode("ascii", "replace").splitlines()
    parts = [line.split() for line in lines]
    whole = [part for part in parts if len(part) == 3 and part[1].isdecimal() and len(part[2]) == 64]  # not cut off
    return [(int(number), mac) for _, number, mac in whole]


def _coder(secret: bytes) -> Callable[..., str]:
    """Return what gives an entry its code: (code before, fields of the entry). The key is taken in once."""
    keyed = hmac.new(secret, digestmod="sha256")

    def code(before: str, *fields: object) -> str:
        copy = keyed.copy()
        copy.update("\x1f".join((before, *map(str, fields))).encode())
        return copy.hexdigest()

    return code
