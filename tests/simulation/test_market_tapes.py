"""500 tapes of the campaign (``make simulate`` plays 10,000), and that the campaign notices a broken gate."""

from __future__ import annotations

import pytest

from botd.market.binance import completeness
from tests.simulation.market_tape import draw
from tests.simulation.market_tapes import Broken, Run, campaign


def test_every_rule_holds_on_500_tapes() -> None:
    said: list[str] = []
    counts, broken = campaign(range(500), said.append)
    assert not broken, "\n".join(said)
    # The tapes are not harmless: each kind of trouble was there.
    for kind in ("by_rest", "synthetic", "revised", "quarantined", "holds", "gaps", "restored", "stale", "failed"):
        assert counts[kind] > 20, (kind, counts)


def test_a_seed_gives_the_same_run_again() -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        Run(draw(17), trace.append).play()
    assert traces[0] == traces[1]
    assert len(traces[0]) > 30


@pytest.mark.parametrize("mutation", ["any_row_is_closed", "holes_are_ignored", "the_last_word_counts", "never_stale"])
def test_a_gate_that_breaks_a_rule_is_found_out(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mutation == "any_row_is_closed":
        monkeypatch.setattr(completeness, "proven", lambda rows, length, asked, now: (now, list(rows)))
    elif mutation == "holes_are_ignored":
        monkeypatch.setattr(completeness, "GAP", "LIVE")
    elif mutation == "the_last_word_counts":
        monkeypatch.setattr(completeness, "Known", _ForgetfulKnown)
    else:
        monkeypatch.setattr(completeness, "STALE_MS", 10**9)
    _, broken = campaign(range(150), lambda said: None)
    assert broken


class _ForgetfulKnown(completeness.Known):
    """Every value is the most recent one."""

    __slots__ = ()
    _order = 0

    def __init__(self, candle: object, trades: int, as_of: int, *, by_stream: bool = False) -> None:
        _ForgetfulKnown._order += 1
        super().__init__(candle, trades, _ForgetfulKnown._order, by_stream=by_stream)  # type: ignore[arg-type]


def test_a_broken_rule_names_its_seed() -> None:
    run = Run(draw(4))
    with pytest.raises(Broken, match="seed 4 at"):
        run._require(False, "anything")
