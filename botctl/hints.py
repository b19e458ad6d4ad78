"""A refusal of the daemon in the words of the one who typed: no paths of the wire, and the nearest right name.

Imported only where something was refused. Where the daemon gave a better hint than "see ...", that one stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from botctl.exit_codes import Fault

_PATHS = (
    (re.compile(r"^(?:spec|changes)\.(?=\w)"), ""),
    (re.compile(r"^names\[\d+\]: "), ""),
    (re.compile(r"^symbols\[\d+\]: "), "symbol: "),
)
_BOT = re.compile(r"^(\S+): no such bot")
_SYMBOL = re.compile(r"(?:no symbol|\bsymbol:) '([^']*)' (?:in this market|is not a symbol)")
_VAGUE = ("", "see: botctl ls", "see: botctl ls --removed", "see: botctl symbols", "write it like BTC/USDT")

Ask = Callable[[str, dict[str, Any]], Any]


def explained(fault: Fault, ask: Ask) -> Fault:
    """Return the fault as it is told; ``ask`` sends the daemon a request, for the names that there are."""
    message = fault.message
    for pattern, words in _PATHS:
        message = pattern.sub(words, message, count=1)
    hint = fault.hint
    if hint in _VAGUE:
        if found := _BOT.search(message):
            hint = _nearest(ask, "ls", "name", found[1], {"all": True}) or hint
        elif found := _SYMBOL.search(message):
            hint = _nearest(ask, "symbols", "symbol", found[1].upper(), {}) or hint
    return Fault(fault.exit_code, message, hint, fault.code)


def _nearest(ask: Ask, cmd: str, key: str, word: str, args: dict[str, Any]) -> str:
    """Return ``did you mean alpha?``, or nothing; what the daemon cannot say now is left unsaid."""
    try:
        known = [str(row[key]) for row in ask(cmd, args)["rows"]]
    except (Fault, KeyError, TypeError):
        return ""
    return did_you_mean(word, known)


def did_you_mean(word: str, known: list[str]) -> str:
    """Return ``did you mean alpha?``, or nothing where no known word is near."""
    from difflib import get_close_matches

    near = get_close_matches(word[:64], known, 1)
    return f"did you mean {near[0]}?" if near else ""
