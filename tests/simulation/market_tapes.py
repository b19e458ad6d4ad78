"""The campaign: gates of lanes against seeded tapes of faults, on a virtual clock, with REST behind them.

    python -m tests.simulation.market_tapes --tapes 10000       all seeds from 0 on
    python -m tests.simulation.market_tapes --seed 17           one again, step by step

Held after every step: what was delivered equals the truth, each candle once and in order; contiguous, or the
lane is in GAP or STALE at that time; a LIVE lane is not behind. And when the faults have been over for 60 s
the lane is LIVE and its array is complete.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from botd.domain.candle import Candle
from botd.market.binance.completeness import HOLD_MS, OVERLAP, STALE_MS, LaneGate
from botd.market.binance.gate_values import (
    GAP,
    HOLD,
    LIVE,
    STALE,
    Changed,
    Deliver,
    Output,
    Reconnect,
    Restored,
    Revised,
    Row,
    Want,
)
from botd.market.binance.proof import LAG_MS
from tests.simulation.market_tape import Message, Tape, Truth, draw

TICK_MS = 250
"""How late the gate may be called at most."""


class Broken(AssertionError):
    """A rule does not hold."""


class Run:
    """One tape against one gate; ``trace`` is told every step."""

    def __init__(self, tape: Tape, trace: Callable[[str], None] | None = None) -> None:
        self.tape = tape
        self.rng = random.Random(tape.seed * 7919 + 1)
        self.gate = LaneGate(tape.interval, warmup=tape.warmup, spread_ms=tape.spread_ms)
        self.array: dict[int, Candle] = {}
        self.last: int | None = None
        self.state = HOLD
        self.now = tape.begin_ms
        self.down_until = 0
        self._shown: dict[int, int] = {}
        """As of when REST showed a candle at least."""
        self._compared: dict[int, int] = {}
        """As of when a reconnect must have made the gate compare a candle."""
        self._trace = trace
        self._queue: list[tuple[int, int, Callable[[], list[Output]]]] = []
        self._order = itertools.count()
        self._timer = float("inf")

    def play(self) -> None:
        """Run to the end of the tape; Broken when a rule does not hold."""
        tape = self.tape
        self._at(tape.begin_ms, self._ask_history)
        for message in tape.messages:
            if message.arrives_ms is not None and message.arrives_ms >= tape.begin_ms - 5_000:
                self._at(max(tape.begin_ms, message.arrives_ms), lambda message=message: self._hear(message))
        for span in (*tape.cuts, *tape.half_open):
            self._at(span.end_ms + 10, self._reconnected)
        while self._queue and self._queue[0][0] <= tape.end_ms:
            self.now, _, step = heapq.heappop(self._queue)
            self._apply(step())
            self._check_now()
            self._set_timer()
        self.now = tape.end_ms
        self._check_end()

    # -- the world around the gate

    def _at(self, time_ms: int, step: Callable[[], list[Output]]) -> None:
        heapq.heappush(self._queue, (time_ms, next(self._order), step))

    def _set_timer(self) -> None:
        due = self.gate.due_ms
        if due < self._timer:
            self._timer = due
            self._at(max(self.now, int(due)) + self.rng.randint(1, TICK_MS), self._ring)

    def _ring(self) -> list[Output]:
        self._timer = float("inf")
        return self.gate.on_time(self.now)

    def _hear(self, message: Message) -> list[Output]:
        if self.now < self.down_until:
            if message.revision and message.row.candle.open_time in self.tape.truth:
                self.tape.truth[message.row.candle.open_time].revision_lost = True
            return []
        if not message.closed:
            self.gate.on_forming(message.row.candle.open_time, self.now)
            return []
        self._note(f"stream {message.row.candle.open_time} n={message.row.trades}")
        return self.gate.on_stream(message.row.candle, message.row.trades, message.sent_ms, self.now)

    def _reconnected(self) -> list[Output]:
        if any(self.now in span for span in (*self.tape.cuts, *self.tape.half_open)):
            return []
        self._note("reconnected")
        self._compared.update(dict.fromkeys(sorted(self.array)[-OVERLAP:], self.now))
        return self.gate.on_reconnected(self.now)

    def _ask_history(self) -> list[Output]:
        want = Want(self.now - self.now % self.tape.length - 10 * self.tape.length, 12, 1, True)
        self._ask(want, self._take_history)
        return []

    def _take_history(self, rows: list[Row] | None, asked: int, want: Want) -> list[Output]:
        if not rows:
            self._at(self.now + 1_000, self._ask_history)
            return []
        history, out = self.gate.begin(rows, asked, self.now)
        for candle in history:
            self._check_truth(candle)
            self.array[candle.open_time] = candle
        self.last = history[-1].open_time if history else None
        return out

    def _ask(self, want: Want, answer: Callable[[list[Row] | None, int, Want], list[Output]]) -> None:
        """Ask REST: the answer is made half way, and lags where the tape says so."""
        tape, asked = self.tape, self.now
        slow = any(asked in span for span in tape.rest_slow)
        took = self.rng.randint(2_000, 12_000) if slow else self.rng.randint(15, 300)
        fails = any(asked in span for span in tape.rest_out)
        fails = fails or (asked < tape.calm_ms and self.rng.random() < tape.rest_fails)
        lag = tape.rest_lag_ms if any(asked in span for span in tape.rest_stale) else 0
        rows = None if fails else self._snapshot(want, asked + took // 2 - lag, settled=bool(lag))
        self._at(asked + took, lambda: answer(rows, asked, want))

    def _snapshot(self, want: Want, at_ms: int, *, settled: bool) -> list[Row]:
        tape = self.tape
        first = -(-want.first // tape.length) * tape.length
        rows = []
        for opened in range(first, first + want.limit * tape.length, tape.length):
            truth = tape.truth.get(opened)
            if truth is None or opened > at_ms:
                continue
            if self.now < tape.calm_ms and self.rng.random() < tape.rest_omits:
                continue
            # Close to its end a row may still move: the 2 s before the proof are for that.
            final = opened + tape.length + (0 if settled else self.rng.randint(0, 1_500))
            rows.append(_version(truth, at_ms) if at_ms >= final else _forming(truth))
        return rows

    def _take_answer(self, rows: list[Row] | None, asked: int, want: Want) -> list[Output]:
        if rows is None:
            return self.gate.on_rest_failed(self.now)
        self._note(f"rest {want.first} +{want.limit}: {len(rows)} rows")
        as_of = max(rows[-1].candle.open_time if rows else 0, asked - LAG_MS)
        for row in rows:
            self._shown[row.candle.open_time] = max(as_of, self._shown.get(row.candle.open_time, 0))
        return self.gate.on_rest(rows, asked, want, self.now)

    # -- what the gate says

    def _apply(self, outputs: list[Output]) -> None:
        for output in outputs:
            if self._trace:
                self._note(f"  -> {output}")
            match output:
                case Deliver(candle=candle):
                    self._deliver(candle, output.synthetic)
                case Changed(before=before, after=after):
                    self._require(before == self.state, f"the change begins at {before}, the lane was {self.state}")
                    self.state = after
                case Revised(before=old, after=new):
                    self._require(self.array.get(new.open_time) == old, "what was revised is not what was delivered")
                    self._check_truth(new)
                    self.array[new.open_time] = new
                case Restored(candles=candles):
                    for candle in candles:
                        self._require(candle.open_time not in self.array, "restored what was there")
                        self._check_truth(candle)
                        self.array[candle.open_time] = candle
                case Want():
                    self._ask(output, self._take_answer)
                case Reconnect():
                    self._renew()

    def _renew(self) -> None:
        self.down_until = max(self.down_until, self.now + self.rng.randint(200, 1_500))
        self._at(self.down_until, self._reconnected)

    def _deliver(self, candle: Candle, synthetic: bool) -> None:
        self._check_truth(candle)
        self._require(synthetic == (candle.volume == 0.0), "a candle without trades is marked, no other is")
        if self.last is not None:
            self._require(candle.open_time > self.last, "delivered twice or out of order")
            if candle.open_time != self.last + self.tape.length:
                self._require(self.state in (GAP, STALE), f"a hole before {candle.open_time} in state {self.state}")
        if self.now - candle.open_time - self.tape.length > STALE_MS:
            self._require(self.state in (GAP, STALE), f"an old candle in state {self.state}")
        self.last = candle.open_time
        self.array[candle.open_time] = candle

    # -- the rules

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise Broken(f"seed {self.tape.seed} at {self.now}: {what}")

    def _check_truth(self, candle: Candle) -> None:
        truth = self.tape.truth.get(candle.open_time)
        said = [v.row.candle for v in truth.versions if v.since_ms <= self.now] if truth else []
        self._require(candle in said, f"{candle} is not the truth, which is {said}")

    def _check_now(self) -> None:
        gate, tape = self.gate, self.tape
        self._require(gate.state == self.state, "the state changed without a word")
        if self.last is None:
            return
        newest = self.last + tape.length
        if self.state in (LIVE, HOLD):
            behind = self.now - newest - tape.length
            self._require(behind <= STALE_MS + TICK_MS, f"{self.state} and {behind} ms behind")
        if self.state == HOLD:
            self._require(self.now - gate.since_ms <= HOLD_MS + TICK_MS, "held for too long")
        if self.state == LIVE:
            for opened in range(self.last, self.last - min(tape.warmup, 12) * tape.length, -tape.length):
                self._require(opened in self.array or opened < min(self.array), f"LIVE without {opened}")

    def _check_end(self) -> None:
        tape, grace = self.tape, 20_000
        due = [t for t in tape.truth.values() if t.open_time + tape.length <= tape.end_ms - grace]
        due = [truth for truth in due if truth.open_time >= min(self.array, default=0)]
        absent = bool(tape.halted) and self.state in (HOLD, GAP, STALE)
        self._require(self.state == LIVE or absent, f"{self.state} ({self.gate.reason}) 60 s after the faults")
        if absent and self.state in (HOLD, STALE):
            return  # the exchange stands still now
        for truth in due:
            candle = self.array.get(truth.open_time)
            if candle is None and truth.open_time <= max(self.array) - tape.warmup * tape.length:
                continue  # so many contiguous ones followed that the series is whole again
            self._require(candle is not None, f"{truth.open_time} is missing in the end")
            self._require(candle in self._acceptable(truth, tape.end_ms - grace), f"{candle} is not the last word")

    def _acceptable(self, truth: Truth, at_ms: int) -> list[Candle]:
        """Return the last values of a candle; a revision that the stream lost only if REST showed it since, or if a
        reconnect was a reason to ask."""
        opened = truth.open_time
        shown = max(self._shown.get(opened, 0), self._compared.get(opened, 0))
        known_from = shown if truth.revision_lost else at_ms
        after = [v.row.candle for v in truth.versions if v.since_ms > known_from]
        return [_version(truth, known_from).candle, *after]

    def _note(self, text: str) -> None:
        if self._trace:
            self._trace(f"{(self.now - self.tape.begin_ms) / 1000:9.3f} {self.state:5} {text}")


def _version(truth: Truth, at_ms: int) -> Row:
    versions = [version for version in truth.versions if version.since_ms <= at_ms]
    return versions[-1].row if versions else truth.versions[0].row


def _forming(truth: Truth) -> Row:
    c = truth.versions[0].row.candle
    return Row(Candle(c.open_time, c.open, c.open, c.open, c.open, c.volume / 2), truth.versions[0].row.trades // 2)


def campaign(seeds: range, report: Callable[[str], None]) -> tuple[Counter[str], list[int]]:
    """Play the tapes of ``seeds``; return what the gates counted in all, and the seeds that broke a rule."""
    counts: Counter[str] = Counter()
    broken = []
    for seed in seeds:
        run = Run(draw(seed))
        try:
            run.play()
        except Broken as error:
            broken.append(seed)
            report(f"{error}\n    python -m tests.simulation.market_tapes --seed {seed}")
        except Exception as error:  # the seed must be told whatever happened
            broken.append(seed)
            report(f"seed {seed}: {error!r}\n    python -m tests.simulation.market_tapes --seed {seed}")
        counts.update(run.gate.counts)
    return counts, broken


def main() -> int:
    """Run the campaign, or one seed with its trace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tapes", type=int, default=500, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--seed", type=int, metavar="SEED")
    options = parser.parse_args()
    if options.seed is not None:
        return _replay(options.seed)
    began = time.perf_counter()
    counts, broken = campaign(range(options.first, options.first + options.tapes), print)
    print(f"{options.tapes} tapes in {time.perf_counter() - began:.1f} s, {len(broken)} broke a rule")
    print(", ".join(f"{name} {count:,}" for name, count in counts.items()))
    return 1 if broken else 0


def _replay(seed: int) -> int:
    tape = draw(seed)
    print(tape.describe())
    run = Run(tape, print)
    try:
        run.play()
    except Broken as error:
        print(f"BROKEN: {error}")
        return 1
    finally:
        found: dict[str, Any] = run.gate.statistics()
        print(found)
    print("every rule held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
