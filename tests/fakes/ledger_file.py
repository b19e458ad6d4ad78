"""Reads a ledger's file while botd has it open: what is durable, and nothing else."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any


class LedgerFile:
    """The ledger below ``home``."""

    home: Path

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Return rows by column."""
        connection = sqlite3.connect(f"file:{self.home}/state/ledger.db?mode=ro", uri=True, timeout=5)
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, values)]
        finally:
            connection.close()

    def events(self, topic: str) -> list[dict[str, Any]]:
        """Return the data of the events of a topic."""
        return [json.loads(row["data"]) for row in self.rows("SELECT data FROM events WHERE topic = ?", topic)]
