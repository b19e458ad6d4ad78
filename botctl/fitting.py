"""How a table fits a terminal: which columns stay, how text is cut; wide characters count as the two cells they take.

Numbers are never cut: a column of them stays whole or goes. Times lose their year, then their seconds (where years
matter their seconds, then the time of day); sentences go on in the next line. Knows no verb and no terminal but its
width.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from botctl.cells import FULL_MOMENT, MOMENT_SIZES, Column, brief_moment

GAP = 2
_COLOR = re.compile(r"\x1b\[[\d;]*m")
WORD = 16  # a name is cut down to this before a column has to go that has no ``drop``


def terminal_width() -> int:
    """Return the width of the terminal behind stdout: ``$COLUMNS``, what it says of itself, or 80."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def display_width(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(0 if category(c) in ("Mn", "Me", "Cf") else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text: str, width: int) -> str:
    """Return at most ``width`` cells of a text, an ellipsis at the end where something was lost."""
    if display_width(text) <= width:
        return text
    if width <= 0:
        return ""
    kept = text[: width - 1]
    while display_width(kept) > width - 1:
        kept = kept[:-1]
    return kept + "…"


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most ``width`` cells, broken between words; a longer word is broken, too."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if display_width(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        while display_width(word) > width > 1:
            part = word[:width]
            while display_width(part) > width:
                part = part[:-1]
            lines[-1], word = part, word[len(part) :]
            lines.append("")
        lines[-1] = word
    return lines


def padded(text: str, width: int, right: bool = False) -> str:
    """Return a text in exactly ``width`` cells."""
    shown = shorten(text, width)
    space = " " * (width - display_width(shown))
    return space + shown if right else shown + space


def lines_taken(text: str, width: int) -> int:
    """Return how many lines of a terminal a text takes, colours left aside, wrapped lines counted."""
    return sum(max(1, -(-display_width(_COLOR.sub("", line)) // max(1, width))) for line in text.splitlines())


def first_lines(text: str, width: int, most: int) -> str:
    """Return as many whole lines of a text as take at most ``most`` lines of a terminal."""
    lines = text.splitlines(keepends=True)
    while lines and lines_taken("".join(lines), width) > most:
        lines.pop()
    return "".join(lines)


def fit(columns: Sequence[Column], cells: list[list[str]], width: int) -> tuple[list[int], list[str]]:
    """Return the numbers of the columns that fit, and the titles of those left out; shortens ``cells`` in place.

    Columns without any content go first, then those with ``drop``, the lowest first, then the last ones; where a wide
    one left room, what went before it comes back. What stays is cut only as far as it must: times get their room
    first, then names, then sentences.
    """
    natural = [
        max(display_width(column.title), *(display_width(line[i]) for line in cells))
        for i, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    if _taken(natural, kept) <= width:
        return kept, []
    sizes = [_least(column, size) for column, size in zip(columns, natural, strict=True)]
    gone: list[int] = []
    for index in _leaving(columns, cells):
        if _taken(sizes, kept) <= width:
            break
        kept.remove(index)
        gone.append(index)
    for index in reversed(gone):
        if _taken(sizes, [*kept, index]) <= width:
            kept = sorted([*kept, index])
    left_out = [index for index in gone if index not in kept and _says(index, cells)]
    _share(width - _taken(sizes, kept), kept, sizes, natural, columns)
    for line in cells:
        for index in kept:
            line[index] = _fitted(columns[index], line[index], sizes[index])
    return kept, [columns[index].title for index in sorted(left_out)]


def _fitted(column: Column, cell: str, width: int) -> str:
    """Return a cell as it is shown in ``width``; sentences may have several lines."""
    if column.form in MOMENT_SIZES:
        return shorten(brief_moment(cell, width, column.form), width)
    if column.prose and not column.one_line:
        return "\n".join(wrapped(cell, width))
    return shorten(cell, width)


def _least(column: Column, size: int) -> int:
    if column.right:
        return size
    if column.form in MOMENT_SIZES:
        return max(display_width(column.title), min(size, MOMENT_SIZES[column.form][-1]))
    return max(display_width(column.title), min(size, column.prose or WORD))


def _share(room: int, kept: list[int], sizes: list[int], natural: list[int], columns: Sequence[Column]) -> None:
    """Widen the columns with what is left: times alike, then names, then sentences, those that need least first.

    Where even the first column is wider than the terminal, it becomes narrower.
    """
    times = [i for i in kept if columns[i].form in MOMENT_SIZES and natural[i] == FULL_MOMENT]
    for level in range(3):
        wider = {i: max(sizes[i], MOMENT_SIZES[columns[i].form][level]) for i in times}
        needed = sum(size - sizes[i] for i, size in wider.items())
        if needed <= room:
            sizes[:] = [wider.get(i, old) for i, old in enumerate(sizes)]
            room -= needed
            break
    wanting = sorted((i for i in kept if i not in times), key=lambda i: (columns[i].prose > 0, natural[i] - sizes[i]))
    for place, index in enumerate(wanting):
        part = room // (len(wanting) - place) if columns[index].prose else room
        more = min(natural[index] - sizes[index], part)
        sizes[index] += more
        room -= more


def _taken(sizes: Sequence[int], kept: Sequence[int]) -> int:
    return sum(sizes[index] for index in kept) + GAP * (len(kept) - 1)


def _leaving(columns: Sequence[Column], cells: list[list[str]]) -> list[int]:
    """Return the columns in the order in which they go; the first one stays."""
    numbers = range(1, len(columns))
    blank = [index for index in numbers if not _says(index, cells)]
    named = sorted((i for i in numbers if columns[i].drop and i not in blank), key=lambda i: columns[i].drop)
    return [*blank, *named, *(i for i in reversed(numbers) if not columns[i].drop and i not in blank)]


def _says(index: int, cells: list[list[str]]) -> bool:
    """Tell whether a column has any content: ``-`` stands for none."""
    return any(line[index] not in ("", "-") for line in cells)
