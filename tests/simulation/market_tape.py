"""One tape: a truth of candles and the faults between it and the gate, all drawn from one seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

from botd.domain.candle import Candle, interval_ms
from botd.market.binance.gate_values import Row

START_MS = 1_767_225_600_000
CALM_S = 60
"""Virtual seconds without faults at the end of a tape."""


@dataclass(frozen=True, slots=True)
class Version:
    """What the exchange says of a candle from ``since_ms`` on."""

    since_ms: int
    row: Row


@dataclass(slots=True)
class Truth:
    """A candle as the exchange made it. ``silent``: nobody traded, and the stream says nothing of it."""

    open_time: int
    versions: list[Version]
    silent: bool = False
    revision_lost: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """A fault that holds from ``begin_ms`` to before ``end_ms``."""

    begin_ms: int
    end_ms: int

    def __contains__(self, time_ms: object) -> bool:
        return isinstance(time_ms, (int, float)) and self.begin_ms <= time_ms < self.end_ms


@dataclass(frozen=True, slots=True)
class Message:
    """A frame of the stream: sent by the exchange, and when it arrives (None: never)."""

    sent_ms: int
    arrives_ms: int | None
    closed: bool
    row: Row
    revision: bool = False


@dataclass(slots=True)
class Tape:
    """See the module. ``begin_ms`` is when the lane starts, ``calm_ms`` when the faults end."""

    seed: int
    interval: str
    length: int
    warmup: int
    begin_ms: int
    calm_ms: int
    end_ms: int
    truth: dict[int, Truth] = field(default_factory=dict)
    halted: set[int] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)
    cuts: list[Span] = field(default_factory=list)
    half_open: list[Span] = field(default_factory=list)
    rest_out: list[Span] = field(default_factory=list)
    rest_slow: list[Span] = field(default_factory=list)
    rest_stale: list[Span] = field(default_factory=list)
    rest_lag_ms: int = 0
    rest_fails: float = 0.0
    rest_omits: float = 0.0
    spread_ms: int = 0

    def describe(self) -> dict[str, Any]:
        """Return what kind of tape it is, in a few words."""
        spans = {
            name: len(getattr(self, name)) for name in ("cuts", "half_open", "rest_out", "rest_slow", "rest_stale")
        }
        lost = sum(message.arrives_ms is None for message in self.messages)
        return {
            "seed": self.seed,
            "interval": self.interval,
            "candles": len(self.truth),
            "messages": len(self.messages),
            "lost": lost,
            "halted": len(self.halted),
            **spans,
        }


def draw(seed: int) -> Tape:
    """Return the tape of a seed; the same on every machine."""
    rng = random.Random(seed)
    interval = rng.choice(("1m", "1m", "1m", "1m", "5m", "1h"))
    length = interval_ms(interval)
    faulty = rng.choice((3, 8, 15, 30)) if interval == "1m" else rng.choice((3, 6))
    begin = START_MS + 20 * length + rng.randrange(length)
    calm = begin + faulty * length + rng.randrange(length)
    tape = Tape(
        seed=seed,
        interval=interval,
        length=length,
        warmup=rng.choice((5, 20, 1000)),
        begin_ms=begin,
        calm_ms=calm,
        end_ms=calm + CALM_S * 1000,
        spread_ms=rng.randrange(4_000),
    )
    _draw_truth(tape, rng)
    _draw_outages(tape, rng)
    _draw_messages(tape, rng)
    return tape


def _draw_truth(tape: Tape, rng: random.Random) -> None:
    price, length = 100.0, tape.length
    quiet = rng.choice((0.0, 0.0, 0.1, 0.5))
    jumpy = rng.choice((0.0, 0.0, 0.0, 0.05))
    revised = rng.choice((0.0, 0.1, 0.4))
    if rng.random() < 0.1:  # the exchange stood still: such candles never existed
        first = tape.begin_ms + rng.randrange(tape.calm_ms - tape.begin_ms)
        first -= first % length
        tape.halted = set(range(first, first + rng.randint(1, 4) * length, length))
    for opened in range(START_MS, tape.end_ms, length):
        if opened in tape.halted:
            continue
        if rng.random() < quiet:
            flat = Row(Candle(opened, price, price, price, price, 0.0), 0)
            silent = rng.random() < 0.5
            tape.truth[opened] = Truth(opened, [Version(opened + length, flat)], silent=silent)
            continue
        if rng.random() < jumpy:
            price *= rng.choice((0.6, 1.5))
        first_row = _row(opened, price, rng)
        truth = tape.truth[opened] = Truth(opened, [Version(opened + length, first_row)])
        if rng.random() < revised:
            since = opened + length + rng.randint(300, 40_000)
            candle = first_row.candle
            volume = round(candle.volume + rng.uniform(0.1, 2.0), 5)
            row = Row(Candle(opened, candle.open, candle.high, candle.low, candle.close, volume), first_row.trades + 1)
            truth.versions.append(Version(since, row))
        price = first_row.candle.close


def _row(opened: int, price: float, rng: random.Random) -> Row:
    close = round(price * (1 + rng.uniform(-0.01, 0.01)), 4)
    high = round(max(price, close) * (1 + rng.uniform(0, 0.005)), 4)
    low = round(min(price, close) * (1 - rng.uniform(0, 0.005)), 4)
    return Row(Candle(opened, price, high, low, close, round(rng.uniform(0.1, 50), 5)), rng.randint(1, 900))


def _draw_outages(tape: Tape, rng: random.Random) -> None:
    def spans(most: int, longest_s: float) -> list[Span]:
        found = []
        for _ in range(rng.randint(0, most)):
            begin = rng.randrange(tape.begin_ms, tape.calm_ms)
            found.append(Span(begin, min(tape.calm_ms, begin + int(rng.uniform(0.5, longest_s) * 1000))))
        return found

    if rng.random() < 0.5:
        tape.cuts = spans(3, rng.choice((10, 120, 900)))
    if rng.random() < 0.3:
        tape.half_open = spans(2, 300)
    if rng.random() < 0.4:
        tape.rest_out = spans(3, rng.choice((20, 400)))
    if rng.random() < 0.4:
        tape.rest_slow = spans(3, 200)
    if rng.random() < 0.4:
        tape.rest_stale, tape.rest_lag_ms = spans(3, 300), rng.randint(500, 25_000)
    tape.rest_fails = rng.choice((0.0, 0.0, 0.2, 0.6))
    tape.rest_omits = rng.choice((0.0, 0.0, 0.0, 0.1))


def _draw_messages(tape: Tape, rng: random.Random) -> None:
    lose = rng.choice((0.0, 0.05, 0.3, 0.9))
    late = rng.choice((0.0, 0.1, 0.5))
    longest = rng.choice((1_500, 20_000, 150_000))
    twice = rng.choice((0.0, 0.1, 0.5))
    absurd = rng.choice((0.0, 0.0, 0.05))

    def send(sent: int, row: Row, *, closed: bool, revision: bool = False) -> None:
        for _ in range(1 + (rng.random() < twice and closed)):
            arrives: int | None = sent + rng.randint(1, 40)
            if sent < tape.calm_ms:
                if rng.random() < lose and closed:
                    arrives = None
                elif rng.random() < late:
                    arrives = min(tape.calm_ms, sent + rng.randint(50, longest))
            if arrives is not None and _is_lost(tape, sent, arrives):
                arrives = None
            tape.messages.append(Message(sent, arrives, closed, row, revision))

    for opened, truth in tape.truth.items():
        first = truth.versions[0]
        if opened + tape.length > tape.begin_ms and not truth.silent:
            middle = opened + rng.randrange(1, tape.length)
            send(middle, first.row, closed=False)
            if rng.random() < absurd and first.since_ms < tape.calm_ms:
                send(first.since_ms + 1, _absurd(first.row, rng), closed=True)
            for version in truth.versions:
                revision = version is not first
                before = len(tape.messages)
                send(version.since_ms + rng.randint(0, 30), version.row, closed=True, revision=revision)
                if revision and all(message.arrives_ms is None for message in tape.messages[before:]):
                    truth.revision_lost = True
        elif len(truth.versions) > 1:
            truth.revision_lost = True


def _is_lost(tape: Tape, sent: int, arrives: int) -> bool:
    """Whatever is under way while the connection breaks is gone."""
    for span in (*tape.cuts, *tape.half_open):
        if sent in span or arrives in span or sent < span.begin_ms <= arrives:
            return True
    return False


def _absurd(row: Row, rng: random.Random) -> Row:
    c = row.candle
    wrong = rng.choice(
        (
            Candle(c.open_time, c.open, c.high, c.low, 0.0, c.volume),
            Candle(c.open_time, math.nan, c.high, c.low, c.close, c.volume),
            Candle(c.open_time, c.open, c.low / 2, c.low, c.close, c.volume),
            Candle(c.open_time, c.open * 9, c.high * 9, c.low * 9, c.close * 9, c.volume),
            Candle(c.open_time + 1, c.open, c.high, c.low, c.close, c.volume),
            Candle(c.open_time + 2**40 // 3_600_000 * 3_600_000, c.open, c.high, c.low, c.close, c.volume),
        )
    )
    return Row(wrong, row.trades)
