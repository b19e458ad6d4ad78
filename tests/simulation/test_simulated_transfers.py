"""A live botd on virtual time: a transfer that was inferred and is told only after a restart counts once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.fakes.binance.exchange.fault_plan import named
from tests.simulation.trading import disk
from tests.simulation.trading.rules import reading
from tests.simulation.trading.run import Run

LATE_S = 600.0


@pytest.fixture
def calm() -> Iterator[Run]:
    """One bot on an exchange without faults, half a minute after its begin."""
    run = Run(3, minutes=1, bots=1, names=())
    with disk.simulated(run.disk, random.Random("tokens")):
        run.market.begin(run.venue)
        run._live_until(30)
        yield run
        if run.life is not None:
            run.life.drop()


def transfers(run: Run) -> list[str]:
    with reading(run.home / "ledger.db") as ledger:
        found = ledger.execute("SELECT data FROM events WHERE topic = 'account.transfer'").fetchall()
    return [row[0] for row in found]


@pytest.mark.parametrize("crash", [False, True])
def test_a_deposit_inferred_before_a_restart_and_told_after_it_counts_once(calm: Run, crash: bool) -> None:
    late = calm.venue.inject(named("events_late", delay_ms=round(LATE_S * 1000)))
    deposited_s = calm.timeline.now_s
    calm.venue.deposit("USDT", Decimal(225))
    calm.venue.mend(late)
    while not transfers(calm):
        assert calm.timeline.now_s < deposited_s + 240, "nobody told, so the looks have to"
        calm._live_until(calm.timeline.now_s + 5)
    assert calm.life is not None
    if crash:
        calm._live_until(calm.timeline.now_s + 5)
        calm._crashed()
    else:
        assert calm._stop()
        calm.life = None
    calm._live_until(deposited_s + LATE_S - 10)
    assert len(transfers(calm)) == 1
    told = calm.venue.stream.delivered
    calm._live_until(deposited_s + LATE_S + 10)
    assert calm.venue.stream.delivered > told
    assert len(transfers(calm)) == 1
    life = calm.life
    assert life is not None and life.world.account.reconciler.refusals() == []
    calm._reconcile()
    assert "inferred:" not in "".join(life.world.account.reconciler.account.drain_changes())
    calm.venue.deposit("USDT", Decimal(225))  # another one, told at once
    calm._live_until(calm.timeline.now_s + 10)
    assert len(transfers(calm)) == 2
