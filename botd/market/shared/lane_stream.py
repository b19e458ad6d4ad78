"""A lane's stream in Redis beside our own candles: what it lacks, what is wrong, and the commands that mend it."""

from __future__ import annotations

from typing import Any

from botd.domain.candle import Candle, interval_ms
from botd.domain.candles import Candles
from botd.market.candles import candle_list
from botd.market.feed import Lane
from botd.market.shared.messages import SCHEMA, KeptCandle, Keys, decode_candle, encode, shared_candle

TAIL = 16
"""So many of the newest entries are compared with ours, again and again."""
_TOLD_ANEW = 3  # of a stream written anew the newest are told, too
_LEAST_TTL_S = 3_600  # without news for so long a stream goes

Command = list[str]


class Found:
    """What stands in Redis of a lane: its length, its newest entries, and for how much history it was made."""

    def __init__(self, lane: Lane, answer: list[Any], now_ms: int) -> None:
        length, entries, mark = answer
        self.length = length if isinstance(length, int) else -1
        self.whole = read_mark(mark)[0]
        self.candles: dict[int, Candle] = {}
        self.garbage = self.length < 0
        for entry_id, fields in entries if isinstance(entries, list) else []:
            opened = opened_of(entry_id)
            found = decode_candle(lane, opened, fields.get(b"c"), now_ms)
            if found is None:
                self.garbage = True
            else:
                self.candles[opened] = found[1]


def look(pipe: Any, keys: Keys, lane: Lane) -> None:
    """Queue the questions whose answer :class:`Found` takes."""
    key = keys.candles(lane)
    pipe.xlen(key)
    pipe.xrevrange(key, count=TAIL)
    pipe.hget(keys.lanes, field_of(lane))


class Mend:
    """The commands that bring a stream in step with ``ours``, and the candles to tell the others of."""

    def __init__(
        self, keys: Keys, lane: Lane, ours: Candles, wanted: int, found: Found, stamp: tuple[int, int]
    ) -> None:
        oldest, newest = min(found.candles, default=0), max(found.candles, default=0)
        begin, end = (int(row) for row in ours.time.searchsorted([oldest, newest + 1]))
        newer = candle_list(ours.part(end, len(ours)))
        both = candle_list(ours.part(begin, end))
        differs = [candle for candle in both if candle != found.candles.get(candle.open_time)]
        ours_last = int(ours.time[-1]) if len(ours) else 0
        surplus = sum(opened > ours_last for opened in found.candles)
        lacks = found.length + len(newer) - surplus < len(ours)
        self.anew = not found.candles or found.garbage or bool(differs) or lacks or found.whole < wanted
        told = differs + newer if found.candles else []
        self.told = told or (candle_list(ours)[-_TOLD_ANEW:] if self.anew else [])
        self.last = ours_last if self.anew else max(newest, ours_last)
        self.commands: list[Command] = []
        if self.anew:
            self.commands = [["UNLINK", keys.candles(lane)], *added(keys, lane, candle_list(ours), wanted, stamp)]
        elif newer:
            self.commands = added(keys, lane, newer, wanted, stamp)
        self.commands += [
            ["HSET", keys.lanes, field_of(lane), f"{wanted} {len(ours)}"],
            ["EXPIRE", keys.candles(lane), str(max(_LEAST_TTL_S, 3 * interval_ms(lane[1]) // 1000))],
        ]


def added(keys: Keys, lane: Lane, candles: list[Candle], wanted: int, stamp: tuple[int, int]) -> list[Command]:
    """Return the commands that append candles; ``stamp`` is (epoch, wall time of writing)."""
    key, length = keys.candles(lane), interval_ms(lane[1])
    return [
        ["XADD", key, "MAXLEN", str(wanted), f"{candle.open_time}-0", "c", _text(lane, candle, length, stamp)]
        for candle in candles
    ]


def opened_of(entry_id: bytes) -> int:
    """Return the open time in an entry's id, 0 where it is not of our making."""
    opened, _, rest = entry_id.partition(b"-")
    return int(opened) if rest == b"0" and opened.isdigit() else 0


def field_of(lane: Lane) -> str:
    """Return a lane's field in the hash of lanes."""
    return f"{lane[0]} {lane[1]}"


def read_mark(raw: object) -> tuple[int, int]:
    """Return of a lane's mark for how much history its stream was made, and how much there was at least; (0, 0) where
    there is no mark: then the stream is not whole."""
    parts = raw.split(b" ") if isinstance(raw, bytes) and len(raw) < 32 else []
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(part.isdigit() for part in parts) else (0, 0)


def _text(lane: Lane, candle: Candle, length: int, stamp: tuple[int, int]) -> str:
    epoch, written = stamp
    return encode(KeptCandle(SCHEMA, epoch, candle.open_time + length, written, shared_candle(lane, candle)))
