"""Accepting a broken audit: one entry says what was broken, who accepts it and why, and the chain holds from it on.

The key was removed, or an older copy of the ledger was put back: a person knows why, and the audit is to be of use
again. Nothing is mended and nothing hidden: what was broken stays as it is, fixed by its digest. For a ledger that
nobody else writes to.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from botd.domain.clock import rfc3339
from botd.ledger import audit
from botd.ledger.audit import ACCEPTED, Acceptance, Accepted
from botd.ledger.backup import sync

_TOLD = 5
"""So many of the findings are written into the entry."""


def accept(
    connection: sqlite3.Connection, ledger: Path, *, by: str, uid: int, pid: int, reason: str, time_ms: int
) -> Accepted | None:
    """Write the entry; None where nothing is broken. A key that is gone is made anew."""
    missing = [] if audit.key_path(ledger).exists() else [f"{audit.key_path(ledger).name} was gone, a new one was made"]
    chain = audit.Chain(audit.key(ledger), audit.head(connection))
    connection.execute("BEGIN IMMEDIATE")
    try:
        broken = audit.verify(connection, ledger).broken
        if not broken:
            return None
        broken = [*missing, *broken]
        digest = audit.digest_of(audit.entries(connection))
        told = Acceptance(
            reason=reason, by=by, uid=uid, pid=pid, broken=broken[:_TOLD], broken_count=len(broken), digest=digest
        )
        rows, head = chain.extend([(time_ms, ACCEPTED, msgspec.json.encode(told).decode())])
        connection.execute("INSERT INTO audit (id, time_ms, kind, entry, mac) VALUES (?, ?, ?, ?, ?)", rows[0])
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    audit.anchor(ledger, head, rfc3339(time_ms))  # those before it count no more
    sync(audit.anchors_path(ledger))
    return Accepted(head, time_ms, told)
