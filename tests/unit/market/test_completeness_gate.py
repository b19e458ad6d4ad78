"""The gate of a lane, rule by rule: a pure state machine on numbers that the test says."""

from __future__ import annotations

import math

import pytest

from botd.domain.candle import Candle
from botd.market.binance.completeness import AUDIT_MS, HOLD_MS, PROBE_MS, STALE_MS, LaneGate
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

MINUTE = 60_000
T0 = 1_767_225_600_000


def at(minute: float, seconds: float = 0.0) -> int:
    return T0 + int(minute * MINUTE + seconds * 1000)


def candle(minute: int, **changes: float) -> Candle:
    values = {"open": 100.0, "high": 102.0, "low": 99.0, "close": 101.0, "volume": 5.0 + minute % 7} | changes
    return Candle(at(minute), **values)


def row(minute: int, trades: int = 9, **changes: float) -> Row:
    return Row(candle(minute, **changes), trades)


class Lane:
    """A gate that began with minutes 0 to 9; it is 10:00.5 now."""

    def __init__(self, warmup: int = 100) -> None:
        self.gate = LaneGate("1m", warmup=warmup)
        self.history, _ = self.gate.begin([row(m) for m in range(11)], at(10, 30), at(10, 30))

    def closes(self, minute: int, now: int | None = None, said: int | None = None, **changes: float) -> list[Output]:
        said = at(minute + 1, 0.01) if said is None else said
        return self.gate.on_stream(candle(minute, **changes), 9, said, now or max(said, at(minute + 1, 0.05)))

    def answers(self, minutes: range, asked: int, **changes: float) -> list[Output]:
        want = Want(at(minutes[0]), 1000, 1, True)
        return self.gate.on_rest([row(m, **changes) for m in minutes], asked, want, asked + 50)


def delivered(outputs: list[Output]) -> list[int]:
    return [(out.candle.open_time - T0) // MINUTE for out in outputs if isinstance(out, Deliver)]


def states(outputs: list[Output]) -> list[str]:
    return [out.after for out in outputs if isinstance(out, Changed)]


def kinds(outputs: list[Output], kind: type) -> list[Output]:
    return [out for out in outputs if isinstance(out, kind)]


def test_the_forming_row_of_the_history_is_left_out() -> None:
    lane = Lane()
    assert [(c.open_time - T0) // MINUTE for c in lane.history] == list(range(10))
    assert (lane.gate.state, lane.gate.next_open) == (LIVE, at(10))


def test_a_candle_is_delivered_when_the_exchange_closes_it_and_once() -> None:
    lane = Lane()
    assert delivered(lane.closes(10)) == [10]
    assert lane.closes(10) == []
    assert lane.gate.counts["duplicates"] == 1


def test_candles_that_close_before_the_history_is_there_wait_for_it() -> None:
    gate = LaneGate("1m", warmup=100)
    assert gate.on_stream(candle(9), 9, at(10), at(10)) == []
    assert gate.on_stream(candle(10), 9, at(11), at(11)) == []
    assert gate.state == HOLD
    _, outputs = gate.begin([row(m) for m in range(10)], at(11, 5), at(11, 5))
    assert delivered(outputs) == [10]
    assert states(outputs) == [LIVE]


def test_a_candle_never_closes_because_the_next_one_appeared() -> None:
    lane = Lane()
    lane.gate.on_forming(at(11), at(11, 0.2))
    assert lane.gate.next_open == at(10)
    # but REST is asked 2 s later, when a row can prove it
    assert lane.gate.due_ms == at(11, 2.2)
    assert lane.gate.on_time(at(11, 2.2)) == [Want(at(7), 6, 1, True)]
    assert delivered(lane.answers(range(7, 12), at(11, 2.2))) == [10]


def test_a_hole_holds_the_later_ones_back_and_is_filled_by_rest_in_order() -> None:
    lane = Lane()
    outputs = lane.closes(11)
    assert states(outputs) == [HOLD]
    assert outputs[-1] == Want(at(7), 7, 1, True)
    outputs = lane.answers(range(7, 13), at(12, 0.1))
    assert delivered(outputs) == [10, 11]
    assert (lane.gate.state, lane.gate.counts["gaps"]) == (LIVE, 0)


def test_rest_is_asked_three_times_within_five_seconds() -> None:
    lane = Lane()
    tries = [(at(12, 0.05), out) for out in kinds(lane.closes(11), Want)]
    for tenth in range(1, 50):
        now = at(12, 0.05 + tenth / 10)
        tries += [(now, out) for out in kinds(lane.gate.on_time(now), Want)]
    assert [(now - at(12, 0.05)) / 1000 for now, _ in tries] == [0.0, 1.5, 3.0]
    assert [want.attempt for _, want in tries] == [1, 2, 3]  # type: ignore[attr-defined]


def test_a_hole_that_rest_cannot_fill_is_a_gap_after_five_seconds() -> None:
    lane = Lane()
    began = at(12, 0.05)
    lane.closes(11)
    assert delivered(lane.gate.on_time(began + HOLD_MS - 1)) == []
    outputs = lane.gate.on_time(began + HOLD_MS)
    assert states(outputs) == [GAP]
    assert delivered(outputs) == [11]
    assert delivered(lane.closes(12)) == [12]
    assert lane.gate.state == GAP


def test_a_hole_that_rest_proves_to_be_one_is_a_gap_after_three_answers() -> None:
    lane = Lane()
    lane.closes(11)
    want = Want(at(7), 7, 1, True)
    rows = [row(m) for m in (7, 8, 9, 11, 12)]
    for seconds in (0.1, 1.6):
        assert delivered(lane.gate.on_rest(rows, at(12, seconds), want, at(12, seconds))) == []
    outputs = lane.gate.on_rest(rows, at(12, 3.1), want, at(12, 3.1))
    assert (states(outputs), delivered(outputs)) == ([GAP], [11])


def test_an_answer_that_does_not_reach_behind_the_hole_proves_nothing() -> None:
    lane = Lane()
    lane.closes(11)
    for seconds in (0.1, 1.6, 3.1):
        lane.answers(range(7, 10), at(12, seconds))
    assert lane.gate.state == HOLD


def test_what_is_found_later_is_history_and_ends_the_gap() -> None:
    lane = Lane()
    lane.closes(11)
    lane.gate.on_time(at(12, 6))
    outputs = lane.answers(range(7, 13), at(12, 20))
    assert kinds(outputs, Restored) == [Restored((candle(10),))]
    assert (delivered(outputs), states(outputs)) == ([], [LIVE])


def test_a_lost_kline_that_comes_after_all_is_history_too() -> None:
    lane = Lane()
    lane.closes(11)
    lane.gate.on_time(at(12, 6))
    outputs = lane.closes(10, now=at(12, 30))
    assert (kinds(outputs, Restored), delivered(outputs)) == ([Restored((candle(10),))], [])


def test_a_gap_ends_with_as_many_contiguous_candles_as_the_warm_up_has() -> None:
    lane = Lane(warmup=3)
    lane.closes(11)
    lane.gate.on_time(at(12, 6))
    lane.closes(12)
    assert lane.gate.state == GAP
    outputs = lane.closes(13)
    assert states(outputs) == [LIVE]
    assert isinstance(outputs[0], Changed)  # before the candle is delivered: it may open something


def test_a_kline_that_never_comes_is_asked_for_and_stale_after_90_s() -> None:
    lane = Lane()
    assert lane.gate.due_ms == at(11) + PROBE_MS
    assert kinds(lane.gate.on_time(at(11) + PROBE_MS), Want)
    for second in range(6, 90):
        assert STALE not in states(lane.gate.on_time(at(11, second)))
    outputs = lane.gate.on_time(at(11) + STALE_MS)
    assert states(outputs) == [STALE]
    assert kinds(outputs, Reconnect)
    assert not kinds(lane.gate.on_time(at(11) + STALE_MS + 1000), Reconnect)


def test_after_an_outage_old_candles_come_while_stale_and_the_fresh_one_live() -> None:
    lane = Lane()
    lane.gate.on_time(at(40))
    assert lane.gate.state == STALE
    assert kinds(lane.gate.on_reconnected(at(40)), Want)
    outputs = lane.answers(range(7, 41), at(40, 3))
    assert delivered(outputs) == list(range(10, 40))
    change = next(i for i, out in enumerate(outputs) if isinstance(out, Changed))
    # minutes 38 and 39 closed within the last 90 s
    assert delivered(outputs[:change]) == list(range(10, 38))
    assert (states(outputs), lane.gate.state) == ([LIVE], LIVE)


def test_a_longer_hole_than_a_page_is_asked_for_page_by_page() -> None:
    lane = Lane()
    late = at(2500)
    lane.gate.on_time(late)
    wants = kinds(lane.gate.on_reconnected(late), Want)
    for _ in range(5):
        (want,) = wants
        assert isinstance(want, Want)
        first = (want.first - T0) // MINUTE
        rows = [row(m) for m in range(first, min(first + want.limit, 2501))]
        wants = kinds(lane.gate.on_rest(rows, late, want, late), Want)
        if lane.gate.next_open == at(2499) or lane.gate.next_open == at(2500):
            break
    assert lane.gate.counts["delivered"] >= 2489


def test_a_revision_is_told_and_not_delivered() -> None:
    lane = Lane()
    lane.closes(10)
    outputs = lane.closes(10, said=at(11, 20), close=101.5)
    assert outputs == [Revised(candle(10), candle(10, close=101.5))]


def test_an_older_value_that_comes_late_does_not_take_a_revision_back() -> None:
    lane = Lane()
    lane.closes(10, said=at(11, 20), close=101.5)
    assert lane.closes(10, now=at(11, 40)) == []
    # nor does an answer of REST that may be older than the revision
    assert lane.answers(range(7, 12), at(11, 30)) == []


def test_rest_overlaps_three_candles_and_finds_what_the_stream_did_not_say() -> None:
    lane = Lane()
    lane.closes(10)
    lane.closes(11)
    (want,) = kinds(lane.gate.on_reconnected(at(12, 10)), Want)
    assert isinstance(want, Want) and want.first <= at(9)
    rows = [row(9), row(10, volume=99.0), row(11), row(12)]
    outputs = lane.gate.on_rest(rows, at(12, 10), want, at(12, 10.1))
    assert kinds(outputs, Revised) == [Revised(candle(10), candle(10, volume=99.0))]


def test_after_a_reconnect_rest_is_asked_until_its_answer_is_younger() -> None:
    lane = Lane()
    assert kinds(lane.gate.on_reconnected(at(10, 40)), Want)
    assert not kinds(lane.answers(range(7, 11), at(10, 40)), Want)
    lane.closes(10)
    # the answer of 10:40 may be from 10:10: what the cut swallowed after that it cannot show
    assert kinds(lane.gate.on_time(at(11, 12)), Want)
    lane.answers(range(7, 12), at(11, 12))
    assert lane.gate.due_ms > at(11, 13)
    assert not kinds(lane.gate.on_time(at(11, 50)), Want)


def test_a_quiet_lane_is_audited_every_ten_minutes() -> None:
    lane = Lane()
    asked = []
    for minute in range(10, 32):
        assert delivered(lane.closes(minute, now=at(minute + 1, 0.02))) == [minute]
        for want in kinds(lane.gate.on_time(at(minute + 1, 40)), Want):
            assert isinstance(want, Want) and not want.urgent
            asked.append(minute)
            lane.answers(range((want.first - T0) // MINUTE, minute + 2), at(minute + 1, 35))
    assert len(asked) == 2
    assert asked[1] - asked[0] in (AUDIT_MS // MINUTE, AUDIT_MS // MINUTE + 1)


def test_an_audit_compares_every_candle_since_the_one_before() -> None:
    lane = Lane()
    for minute in range(10, 20):
        lane.closes(minute, now=at(minute + 1, 0.02))
    (want,) = kinds(lane.gate.on_time(at(20, 40)), Want)
    assert isinstance(want, Want) and want.first == at(7)
    rows = [row(minute, volume=77.0 if minute == 12 else 5.0 + minute % 7) for minute in range(7, 21)]
    outputs = lane.gate.on_rest(rows, at(20, 40), want, at(20, 40))
    assert outputs == [Revised(candle(12), candle(12, volume=77.0))]


def test_of_two_frames_of_the_same_time_the_later_one_counts() -> None:
    lane = Lane()
    lane.closes(10)
    assert lane.closes(10, close=101.5) == [Revised(candle(10), candle(10, close=101.5))]


def test_a_candle_without_trades_is_marked() -> None:
    lane = Lane()
    flat = Candle(at(10), 101.0, 101.0, 101.0, 101.0, 0.0)
    lane.gate.on_time(at(11, 6))
    outputs = lane.gate.on_rest([row(9), Row(flat, 0), row(11)], at(11, 6), Want(at(9), 9, 1, True), at(11, 6))
    assert outputs == [Deliver(flat, True)]
    assert not kinds(lane.closes(11), Reconnect)


def test_a_symbol_that_trades_while_the_stream_is_silent_makes_the_stream_anew() -> None:
    lane = Lane()
    outputs: list[Output] = []
    for minute in (10, 11):
        lane.gate.on_time(at(minute + 1, 6))
        outputs += lane.answers(range(minute - 3, minute + 2), at(minute + 1, 6))
    assert delivered(outputs) == [10, 11]
    assert len(kinds(outputs, Reconnect)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"close": 0.0},
        {"low": -1.0},
        {"open": math.nan},
        {"high": math.inf},
        {"high": 98.0},
        {"volume": -2.0},
        {"volume": math.inf},
        {"open": 102.5},
        {"close": 98.5},
        {"open": 130.0, "high": 130.0, "low": 130.0, "close": 130.0},
    ],
)
def test_absurd_values_are_quarantined_and_rest_is_asked(wrong: dict[str, float]) -> None:
    lane = Lane()
    outputs = lane.closes(10, **wrong)
    assert delivered(outputs) == []
    assert kinds(outputs, Want)
    assert delivered(lane.answers(range(7, 12), at(11, 3))) == [10]


def test_what_rest_too_tells_as_impossible_is_a_hole_that_is_asked_for_until_it_can_be() -> None:
    lane = Lane()
    impossible = {"close": 103.0}
    assert delivered(lane.closes(10, **impossible)) == []
    assert delivered(lane.answers(range(10, 12), at(11, 3), **impossible)) == []
    outputs = lane.closes(11)
    assert (delivered(outputs), lane.gate.state) == ([], HOLD)
    late = lane.gate.on_time(at(12, 0.05) + HOLD_MS)
    assert (delivered(late), lane.gate.state, lane.gate.counts["gaps"]) == ([11], GAP, 1)
    found = kinds(lane.answers(range(7, 12), at(12, 30)), Restored)
    assert [out.candles for out in found] == [(candle(10),)]
    assert lane.gate.state == LIVE


def test_a_jump_that_rest_confirms_is_delivered() -> None:
    lane = Lane()
    jump = {"open": 60.0, "high": 61.0, "low": 59.0, "close": 60.0}
    assert delivered(lane.closes(10, **jump)) == []
    rows = [row(8), row(9), row(10, **jump), row(11)]
    assert delivered(lane.gate.on_rest(rows, at(11, 3), Want(at(7), 6, 1, True), at(11, 3))) == [10]


def test_the_most_recent_of_the_quarantined_counts_when_rest_confirms_the_jump() -> None:
    lane = Lane()
    jump = {"open": 60.0, "high": 61.0, "low": 59.0, "close": 60.0}
    lane.closes(10, said=at(11, 20), **{**jump, "close": 60.5})
    lane.closes(10, now=at(11, 21), **jump)
    outputs = lane.answers(range(7, 10), at(11, 22)) + lane.gate.on_rest(
        [row(9), row(10, **jump), row(11)], at(11, 23), Want(at(9), 6, 1, True), at(11, 23)
    )
    assert delivered(outputs) == [10]
    assert [out.after.close for out in outputs if isinstance(out, Revised)] == [60.5]


@pytest.mark.parametrize("minute, said", [(11, 10.5), (10, 10.9), (90_000, 90_001.0)])
def test_a_candle_closed_before_its_time_is_not_believed(minute: int, said: float) -> None:
    lane = Lane()
    assert delivered(lane.closes(minute, now=at(10, 59), said=at(said))) == []
    assert lane.gate.state == LIVE


def test_a_row_is_proven_two_seconds_after_its_close_in_the_exchanges_time() -> None:
    lane = Lane()
    lane.gate.on_time(at(11, 1))
    assert delivered(lane.answers(range(7, 12), at(11, 1.999))) == []
    assert delivered(lane.answers(range(7, 12), at(11, 2.0))) == [10]


def test_the_last_row_of_an_answer_is_proven_when_no_answer_can_be_so_old() -> None:
    lane = Lane()
    assert delivered(lane.answers(range(7, 11), at(11, 29))) == []  # it may show the minute half way
    assert delivered(lane.answers(range(7, 11), at(11, 30))) == [10]


def test_a_hole_in_the_history_is_a_gap() -> None:
    gate = LaneGate("1m", warmup=100)
    _, outputs = gate.begin([row(m) for m in (0, 1, 2, 5, 6)], at(7, 3), at(7, 3))
    assert states(outputs) == [GAP]
    (want,) = kinds(outputs, Want)
    assert isinstance(want, Want) and want.first <= at(3)


def test_a_lane_without_history_begins_with_the_candle_that_forms() -> None:
    gate = LaneGate("1m", warmup=100)
    gate.begin([], at(5, 30), at(5, 30))
    assert gate.next_open == at(5)
    assert delivered(gate.on_stream(candle(5), 1, at(6), at(6))) == [5]
