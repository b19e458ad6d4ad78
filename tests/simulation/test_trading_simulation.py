"""The short form of the trading simulation (``make simulate`` plays the long one): it notices what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from botd.exchange.binance.binance import BinanceExchange
from botd.exchange.binance.order_desk import OrderDesk
from botd.execution.client_ids import pair_id
from botd.execution.gateway import Gateway
from botd.execution.learning import Learner
from tests.simulation.policies import compare
from tests.simulation.trading.fleet import NAMES
from tests.simulation.trading.rules import Broken
from tests.simulation.trading.run import Run

SEEDS = range(5)
MINUTES, BOTS = 4, 8


@pytest.mark.parametrize("seed", SEEDS)
def test_every_rule_holds_through_faults_and_crashes(seed: int) -> None:
    run = Run(seed, minutes=MINUTES, bots=BOTS)
    run.play()
    assert run.counts["orders"] > 5 and run.settled_s <= 60


def test_the_seeds_are_not_harmless() -> None:
    run = Run(4, minutes=8, bots=8)
    run.play()
    assert run.counts["crashes"] >= 1 and run.counts["fills"] > 10
    assert sum(count for name, count in run.counts.items() if name.startswith("fault ")) > 5


def test_a_seed_gives_the_same_state_again_in_this_process_and_in_another() -> None:
    digests = []
    for _ in range(2):
        run = Run(17, minutes=2, bots=5)
        run.play()
        digests.append(run.digest)
    code = "from tests.simulation.trading.run import Run; r = Run(17, minutes=2, bots=5); r.play(); print(r.digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert {*digests, other.stdout.strip()} == {digests[0]} and len(digests[0]) == 64


def test_another_seed_gives_another_state() -> None:
    digests = set()
    for seed in (17, 18):
        run = Run(seed, minutes=2, bots=4)
        run.play()
        digests.add(run.digest)
    assert len(digests) == 2


DOUBTS = ("accept_then_timeout", "5xx_with_effect", "events_dropped", "just_placed_unknown")


def _first_broken(seeds: range, names: tuple[str, ...] = NAMES) -> str:
    for seed in seeds:
        try:
            Run(seed, minutes=MINUTES, bots=BOTS, names=names).play()
        except Broken as broken:
            return str(broken)
    return ""


def test_a_timeout_taken_for_a_failure_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrderDesk, "_unknown", OrderDesk._refuse)
    assert _first_broken(range(8), DOUBTS)


def test_an_intent_sent_before_it_is_durable_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Any, *orders: Any) -> None:
        for order in orders:
            self._journal.order(order)
        if len(orders) == 1:
            self._exchange.submit(orders[0])
        else:
            self._exchange.submit_pair(*orders, pair_id(orders[0].client_order_id))

    monkeypatch.setattr(Gateway, "_commit_then_send", at_once)
    assert "I1" in _first_broken(range(12, 24))


def test_a_pair_sent_as_two_orders_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(self: Any, first: Any, second: Any, list_id: str) -> None:
        self._desk.place(first)
        self._desk.place(second)

    monkeypatch.setattr(BinanceExchange, "submit_pair", apart)
    assert "two live legs" in _first_broken(range(8))


def test_a_fill_that_is_not_fetched_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learner, "book", lambda self, order, trade: False)
    assert _first_broken(range(12))


def test_the_rule_of_botd_leaves_no_orphan_where_the_others_do() -> None:
    ours, *others = compare(130, seed=1).values()
    assert ours["ambiguous"] > 100 and not ours["orphans"] and not ours["duplicates"]
    assert all(other["orphans"] and other["duplicates"] for other in others)
