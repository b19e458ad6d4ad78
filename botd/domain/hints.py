"""What a word that nobody knows may have meant: the nearest known one. It knows no vocabulary of its own."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 64
"""Characters compared: a request may carry any word."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word most like ``word``, or an empty string."""
    found = difflib.get_close_matches(word[:LONGEST], list(known), n=1, cutoff=0.55)
    return found[0] if found else ""


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the hint ``did you mean rsi?``, or ``otherwise`` where nothing that is known is near."""
    found = nearest(word, known)
    return f"did you mean {found}?" if found else otherwise
