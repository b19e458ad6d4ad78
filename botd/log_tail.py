"""Reads log files for ``botctl logs``: the last lines, lines since a time, and on from a cursor.

A cursor names an inode and an offset, so that following goes on through rotation: the rest of the file that
was moved is read before the new one. It reads files only; it never waits.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from botd.domain.errors import InvalidError
from botd.log_text import line_time
from botd.logs import KEEP

PAGE = 2000
PAGE_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class _Piece:
    """One file of the chain: ``botd.log`` or one that was rotated away."""

    path: Path
    inode: int
    size: int


def tail(
    path: Path, lines: int | None, since_ms: int | None = None, cursor: str | None = None
) -> tuple[list[str], str]:
    """Return a page of lines and the cursor after it.

    Without ``cursor`` the page starts ``lines`` lines before the end (None: at the beginning) and not before
    ``since_ms``; with it, where the last page ended. A page is short or empty when there is no more for now;
    a line still being written waits for its end. Raises InvalidError for a cursor of another make.
    """
    pieces = _chain(path)
    inode, offset = _parse(cursor) if cursor else _start(pieces, lines, since_ms)
    return _read(pieces, inode, offset)


def _chain(path: Path) -> list[_Piece]:
    """Return the files that exist, oldest first."""
    pieces = []
    for name in [*(f"{path}.{number}" for number in range(KEEP, 0, -1)), str(path)]:
        try:
            status = os.stat(name)
        except OSError:
            continue
        pieces.append(_Piece(Path(name), status.st_ino, status.st_size))
    return pieces


def _start(pieces: list[_Piece], lines: int | None, since_ms: int | None) -> tuple[int, int]:
    starts: deque[tuple[int, int]] = deque(maxlen=None if lines is None else max(lines, 1))
    wanted = since_ms is None
    for piece in _needed(pieces, lines, since_ms):
        offset = 0
        with piece.path.open("rb") as file:
            for raw in file:
                if not wanted:
                    time_ms = line_time(raw.decode("utf-8", "replace"))
                    wanted = time_ms is not None and time_ms >= (since_ms or 0)
                if wanted and raw.endswith(b"\n"):
                    if lines is None:
                        return piece.inode, offset
                    starts.append((piece.inode, offset))
                offset += len(raw)
    if starts and lines != 0:
        return starts[0]
    return _end(pieces)


def _needed(pieces: list[_Piece], lines: int | None, since_ms: int | None) -> list[_Piece]:
    """Leave out old files that cannot hold any of the wanted lines."""
    if since_ms is not None:
        return [piece for piece in pieces if os.stat(piece.path).st_mtime * 1000 >= since_ms - 1000]
    if lines is None:
        return pieces
    count, needed = 0, []
    for piece in reversed(pieces):
        needed.append(piece)
        with piece.path.open("rb") as file:
            count += sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        if count >= lines:
            break
    return needed[::-1]


def _end(pieces: list[_Piece]) -> tuple[int, int]:
    """Return the place after the last whole line."""
    if not pieces:
        return 0, 0
    last = pieces[-1]
    with last.path.open("rb") as file:
        file.seek(max(0, last.size - PAGE_BYTES))
        block = file.read(PAGE_BYTES)
    return last.inode, last.size - (len(block) - block.rfind(b"\n") - 1)


def _read(pieces: list[_Piece], inode: int, offset: int) -> tuple[list[str], str]:
    known = [index for index, piece in enumerate(pieces) if piece.inode == inode]
    if known and offset > pieces[known[0]].size:
        offset = 0  # truncated, or another file with the same inode
    if not known:
        offset = 0  # rotated out of sight: go on with the oldest there is
    result: list[str] = []
    budget = PAGE_BYTES
    for piece in pieces[known[0] if known else 0 :]:
        position = offset if piece.inode == inode else 0
        inode, offset = piece.inode, position
        with piece.path.open("rb") as file:
            file.seek(position)
            for raw in file:
                if not raw.endswith(b"\n") or len(result) >= PAGE or budget <= 0:
                    break
                result.append(raw[:-1].decode("utf-8", "replace"))
                offset += len(raw)
                budget -= len(raw)
        if len(result) >= PAGE or budget <= 0:
            break
    return result, f"{inode}:{offset}"


def _parse(cursor: str) -> tuple[int, int]:
    inode, colon, offset = cursor.partition(":")
    if not (colon and inode.isascii() and inode.isdigit() and offset.isascii() and offset.isdigit()):
        raise InvalidError(f"{cursor[:40]!r} is not a cursor of this log")
    return int(inode), int(offset)
