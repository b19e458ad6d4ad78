"""The audit says whether a command was done, also where the server hands the reply over encoded."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from botd.ledger import audit
from tests.fakes.ledger_rows import START, open_ledger


def test_the_audit_tells_what_was_done_from_what_was_refused(tmp_path: Path, run_async: Any) -> None:
    replies = [b'{"id":"r","ok":true,"result":{"rows":[]}}', b'{"id":"r","ok":false,"error":{"code":"CONFLICT"}}']

    async def write() -> None:
        ledger = open_ledger(tmp_path)
        for number, reply in enumerate(replies):
            ledger.journal.command(f"r{number}", 1000, 77, "stop", {"all": True}, msgspec.Raw(reply), START)
        await ledger.commit()
        await ledger.close()

    run_async(write())
    connection = sqlite3.connect(tmp_path / "ledger.db")
    entries = [json.loads(str(row[3])) for row in audit.entries(connection)]
    connection.close()
    assert [entry["ok"] for entry in entries] == [True, False]
