"""What every byte of an SQLite file is for, by the file format: rows, indexes, the tree, free space."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from botd.ledger.tables import TABLES

LEDGER, AUDIT, INDEX, TREE, FREE, SCHEMA, HEADER = "row", "audit row", "index", "tree", "free", "schema", "header"
_LEAF_TABLE, _INNER_TABLE, _LEAF_INDEX, _INNER_INDEX = 13, 5, 10, 2


class Pages:
    """``kinds[at]`` is the kind of the byte at ``at``."""

    def __init__(self, path: Path) -> None:
        self._whole = path.read_bytes()
        self._size = int.from_bytes(self._whole[16:18], "big")
        self.kinds = [FREE] * len(self._whole)
        connection = sqlite3.connect(path)
        self._usable = self._size - self._whole[20]
        for name, root in connection.execute("SELECT tbl_name, rootpage FROM sqlite_schema WHERE rootpage > 0"):
            if name in TABLES:  # a tree of an index ends in pages of its own kind
                self._tree(root, AUDIT if name == "audit" else LEDGER)
        connection.close()
        self._tree(1, SCHEMA)
        self.kinds[:100] = [HEADER] * 100

    def places(self, kind: str) -> list[int]:
        """Return where the bytes of a kind are."""
        return [at for at, found in enumerate(self.kinds) if found == kind]

    def _tree(self, page: int, rows: str) -> None:
        base = (page - 1) * self._size
        head = base + (100 if page == 1 else 0)
        kind = self._whole[head]
        inner = kind in (_INNER_TABLE, _INNER_INDEX)
        used = INDEX if kind in (_LEAF_INDEX, _INNER_INDEX) else rows if kind == _LEAF_TABLE else TREE
        around = SCHEMA if rows == SCHEMA else INDEX if used == INDEX else TREE
        count = self._number(head + 3, 2)
        pointers = head + (12 if inner else 8)
        self._mark(head, pointers - head + 2 * count, around)
        for cell in range(count):
            at = base + self._number(pointers + 2 * cell, 2)
            if inner:
                self._tree(self._number(at, 4), rows)
            self._cell(at, kind, used if rows != SCHEMA else SCHEMA)
        if inner:
            self._tree(self._number(head + 8, 4), rows)

    def _cell(self, at: int, kind: int, used: str) -> None:
        begin = at
        if kind in (_INNER_TABLE, _INNER_INDEX):
            at += 4
        if kind == _INNER_TABLE:
            _, at = self._varint(at)
            self._mark(begin, at - begin, used)
            return
        payload, at = self._varint(at)
        if kind == _LEAF_TABLE:
            _, at = self._varint(at)
        most = self._usable - 35 if kind == _LEAF_TABLE else (self._usable - 12) * 64 // 255 - 23
        if payload <= most:
            self._mark(begin, at + payload - begin, used)
            return
        least = (self._usable - 12) * 32 // 255 - 23
        local = least + (payload - least) % (self._usable - 4)
        local = local if local <= most else least
        self._mark(begin, at + local + 4 - begin, used)
        page, left = self._number(at + local, 4), payload - local
        while page and left > 0:
            base = (page - 1) * self._size
            here = min(left, self._usable - 4)
            self._mark(base, 4 + here, used)
            page, left = self._number(base, 4), left - here

    def _mark(self, at: int, length: int, kind: str) -> None:
        self.kinds[at : at + length] = [kind] * length

    def _number(self, at: int, width: int) -> int:
        return int.from_bytes(self._whole[at : at + width], "big")

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for place in range(9):
            byte = self._whole[at + place]
            if place == 8:
                return value << 8 | byte, at + 9
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                return value, at + place + 1
        raise AssertionError("not reached")
