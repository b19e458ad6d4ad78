"""Client order ids: the address of an order, computed from its place in the ledger.

``P7K3QX-12-345-61`` is mode letter and instance, bot number, sequence, check digits: at most 36
characters of the exchange's charset. It is a pure function of the order's place, so that a restart finds
an order without a stored exchange id; it is an address, not an idempotency key.
"""

from __future__ import annotations

import re
import zlib

MODE_LETTERS = {"paper": "P", "live": "L", "testnet": "T"}
_FORM = re.compile(r"([PLT])([A-Z2-7]{5})-(0|[1-9][0-9]*)-(0|[1-9][0-9]*)-([0-9]{2})")


def client_order_id(mode: str, instance: str, bot: int, sequence: int) -> str:
    """Return the id of the ``sequence``-th order of ``bot`` in the ledger ``instance``."""
    body = f"{MODE_LETTERS[mode]}{instance}-{bot}-{sequence}"
    return f"{body}-{_check_digits(body)}"


def pair_id(client_order_id: str) -> str:
    """Return the id of the order list that an order leads: another than its orders', and nobody's order."""
    return f"{client_order_id}-P"


def parse_client_order_id(text: str) -> tuple[str, int, int] | None:
    """Return (instance, bot, sequence) of an id of ours, None for anybody else's."""
    match = _FORM.fullmatch(text)
    if match is None or _check_digits(text[: -len(match[5]) - 1]) != match[5]:
        return None
    return match[2], int(match[3]), int(match[4])


def _check_digits(body: str) -> str:
    return f"{zlib.crc32(body.encode()) % 97:02d}"
