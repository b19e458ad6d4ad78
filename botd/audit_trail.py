"""The audit trail without a daemon: its entries, whether the chain still holds, and the ledger's rows beside it.

The ledger is opened read-only; a running botd is not disturbed. To accept what is broken is the one thing that writes,
and wants botd stopped.
"""

from __future__ import annotations

import os
import pwd
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from botd.config import Config
from botd.domain.clock import WallClock, rfc3339
from botd.domain.errors import ForbiddenError, NotFoundError, WrongStateError
from botd.ledger import agreement, audit, audit_acceptance, checksums, failures, replay, schema
from botd.locks import alone, holder

MOST_FINDINGS = 20


def rows(checked: Config, since_ms: int = 0, kind: str | None = None, last: int | None = None) -> list[dict[str, Any]]:
    """Return the entries since a time, oldest first; of one kind, and the ``last`` so many, if asked."""
    with _open(checked) as (connection, _):
        found = [
            {"id": row[0], "time": rfc3339(int(str(row[1]))), "kind": row[2], "entry": _entry(row[3]), "mac": row[4]}
            for row in audit.entries(connection, since_ms)
            if kind is None or row[2] == kind
        ]
    return found if last is None else found[len(found) - min(last, len(found)) :]


def verify(checked: Config) -> dict[str, Any]:
    """Return whether the chain holds and the rows of the ledger say the same: entries, head, anchors, and what is
    broken (the first so many). ``chain_holds`` speaks of the chain alone."""
    with _open(checked) as (connection, path):
        if not audit.key_path(path).exists():
            raise NotFoundError(
                f"{audit.key_path(path)}: the key of the audit is not there",
                "put it back from where you keep it; where it is lost: botctl audit accept",
            )
        connection.execute("BEGIN")  # one moment, where botd runs
        found = audit.verify(connection, path)
        broken = [*found.broken, *row_damages(connection)]
    return {
        "ledger": str(path),
        "accepted": [_accepted_row(told) for told in found.accepted],
        "holds": not broken,
        "chain_holds": not found.broken,
        "entries": found.entries,
        "head": found.head,
        "anchors": found.anchors,
        "broken": broken[:MOST_FINDINGS],
        "broken_count": len(broken),
    }


def accept(checked: Config, reason: str) -> dict[str, Any] | None:
    """Accept, as the user that runs this, that the chain is broken; return the entry's row, None where it holds."""
    path = _ledger(checked)
    if path.stat().st_uid != os.geteuid():
        raise ForbiddenError(f"{path} is not yours: what you write, botd could not read", "run this as its owner")
    if (misfit := schema.refusal(path, checked.world())) is not None:
        raise misfit
    if (pid := holder(checked.state_dir)) is not None:
        raise WrongStateError(f"botd runs (pid {pid}) and writes to the audit", "stop it first: botctl daemon stop")
    try:
        with alone(checked.state_dir), closing(schema.connect(path, write=True)) as connection:
            told = audit_acceptance.accept(
                connection, path, by=_user(), uid=os.getuid(), pid=os.getpid(), reason=reason,
                time_ms=WallClock().wall_ms(),
            )  # fmt: skip
    except sqlite3.Error as error:
        raise failures.on_open(path, error) from error
    return None if told is None else _accepted_row(told)


def _accepted_row(told: audit.Accepted) -> dict[str, Any]:
    what = told.what
    row = {"entry": told.at.id, "time": rfc3339(told.time_ms), "by": what.by, "uid": what.uid, "reason": what.reason}
    return {**row, "broken": what.broken, "broken_count": what.broken_count}


def _user() -> str:
    """Return who runs this, and for whom where sudo knows."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    caller = os.environ.get("SUDO_USER", "")
    return f"{caller} as {name}" if caller and caller != name else name


def row_damages(connection: sqlite3.Connection) -> Iterator[str]:
    """Tell in words the rows that do not fit their checksums, those that the audit tells otherwise, and the books that
    their fills do not make."""
    yield from checksums.damages(connection, indexes=True)
    yield from agreement.differences(connection)
    yield from replay.differences(connection)


def damages(path: Path) -> list[str]:
    """Return what is wrong with the ledger at ``path``: its rows, its chain, what an anchor knows and it does not."""
    connection = schema.connect(path, write=False)
    try:
        connection.execute("BEGIN")
        found = list(row_damages(connection))
        if audit.key_path(path).exists():
            found += audit.verify(connection, path).broken
        return found
    finally:
        connection.close()


@contextmanager
def _open(checked: Config) -> Iterator[tuple[sqlite3.Connection, Path]]:
    path = _ledger(checked)
    try:
        connection = schema.connect(path, write=False)
        try:
            yield connection, path
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise failures.on_open(path, error) from error


def _ledger(checked: Config) -> Path:
    path = checked.state_dir / "ledger.db"
    if not path.exists():
        raise NotFoundError(f"{path}: no ledger there", "name the configuration whose ledger is meant with --config")
    return path


def _entry(text: object) -> Any:
    try:
        return msgspec.json.decode(str(text))
    except msgspec.DecodeError:
        return str(text)  # damaged: shown as it is, `verify` names it
