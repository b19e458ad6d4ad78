"""What a bot's strategy reads beside its own candles: the claims on those lanes, and what it sees of them at a close.

Live, a lane's candle may come later than the bot's own that closes with it. Of the bot's own symbol it is then built of
the smaller candles, which are there; of another symbol nobody looks at it before the next close. What is missing all
the same is said, and the strategy is not asked; minds of both kinds look here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from botd.domain.candle import Candle, interval_ms
from botd.domain.candles import Candles, InputCandles, complete_buckets, due_ms
from botd.domain.decision import GateCheck
from botd.market.lanes import Subscription
from botd.market.manager import MarketManager
from botd.market.store.candle_rows import between, joined_rows
from botd.strategy.inputs import Read, given_inputs, seen

if TYPE_CHECKING:
    from botd.bot.bot import Bot

Windows = Callable[[str, str, int], Candles]


class Silent:
    """Reads a lane without being told of it."""

    def on_open(self, open_time: int, price: float) -> None:
        """Nothing: it is looked at when the bot's own candle closes."""

    def on_closed(self, candle: Candle) -> None:
        """Nothing."""


def claims(market: MarketManager, reads: Sequence[Read], interval: str, window: int, rank: int) -> list[Subscription]:
    """Return claims on the lanes that a strategy reads besides, with as much history as ``window`` candles need."""
    return [market.subscribe(*read.lane, Silent(), read.rows(interval, window), rank) for read in reads]


def as_seen(rows: Candles, reads: tuple[Read, ...], windows: Windows) -> Candles:
    """Return candles that have just closed with what they see of the inputs, so many as a trailing window has."""

    def see(read: Read) -> InputCandles:
        found = windows(*read.lane, read.rows(rows.interval, len(rows)))
        return seen(rows, read, _caught_up(rows, read, found, windows) if read.own else found)

    return given_inputs(rows, reads, see).tail(len(rows)) if reads else rows


def awaited(bot: Bot, reads: Sequence[Read], missing: str) -> GateCheck | None:
    """Return the gate that says what is waited for before the strategy is asked, None where it may be: ``missing``,
    or candles of an input that are known to be incomplete."""
    waits = missing or _doubted(bot, reads)
    return GateCheck(gate="inputs", passed=False, detail=f"waits for {waits}") if waits else None


def _doubted(bot: Bot, reads: Sequence[Read]) -> str:
    """Return which input's candles are known to be incomplete, in words; empty where none is."""
    doubts = {read.words: bot.desk.market.doubts(read.symbol) for read in reads}
    return ", ".join(doubt for words, told in doubts.items() for doubt in told if doubt.startswith(f"{words} "))


def _caught_up(rows: Candles, read: Read, found: Candles, windows: Windows) -> Candles:
    """Return the larger candles of the bot's symbol with those that its own candles make up and that did not come.

    Where its own do not reach back to the last that came, nothing is added: there would be a hole between them.
    """
    if not len(rows):
        return found
    length, step, last = interval_ms(read.interval), interval_ms(rows.interval), int(rows.time[-1])
    due = due_ms(last, rows.interval, length, own=True)
    begin = int(found.time[-1]) + length if len(found) else due
    if begin > due:
        return found
    own = windows(read.symbol, rows.interval, (last + step - begin) // step)
    made = between(complete_buckets(own, read.interval), begin, None)
    whole = len(made) == (due - begin) // length + 1
    return joined_rows(read.interval, (found, made)) if whole else found
