"""When the account is looked at: soon at first, but a doubt that lasts must not use up the budget of its answers."""

from __future__ import annotations

from botd.execution.household import Agenda, Schedule

OPEN_ORDERS, ACCOUNT, TRADES = 80, 20, 20
SYMBOLS = 3
A_LOOK = OPEN_ORDERS + ACCOUNT + SYMBOLS * TRADES
LIMIT = 6000
"""The exchange's weights, and what it allows a minute."""


def _looks(agenda: Agenda, seconds: float) -> list[float]:
    """Return when the balances are looked at, where each look finds what is not explained yet."""
    now, found = 0.0, []
    while now < seconds:
        if agenda.is_due("balances", now):
            found.append(now)
            agenda.looked("balances", now)
            agenda.again("balances", now)
        now += 0.5
    return found


def test_at_first_each_pause_is_twice_the_last_up_to_that_of_a_difference() -> None:
    assert _looks(Agenda(Schedule()), 40) == [0, 1, 3, 7, 15, 25, 35]


def test_an_account_that_is_not_settled_for_a_minute_costs_less_than_a_third_of_the_budget() -> None:
    assert len(_looks(Agenda(Schedule()), 60)) * A_LOOK < LIMIT / 3


def test_once_it_was_read_a_look_comes_after_its_interval() -> None:
    agenda = Agenda(Schedule())
    agenda.at_first = False
    agenda.looked("balances", 100.0)
    assert not agenda.is_due("balances", 159.0) and agenda.is_due("balances", 160.0)
