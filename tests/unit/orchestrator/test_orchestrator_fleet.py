"""Fleets: the difference first, then all of it or nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from botd.bot.lifecycle import BotState
from botd.domain.errors import BotdError, InvalidError, WrongStateError
from botd.orchestrator.specs import as_mapping
from tests.fakes.plain_strategies import ByClose
from tests.fakes.small_world import SmallWorld


def document(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "strategy": "rsi", "symbol": "BTC/USDT", "interval": "1m", "capital": "1000", **more}


def test_a_plan_says_create_change_and_leave_and_changes_nothing(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.create("same"), small.create("other")
        plan = small.world.fleet.plan([document("new"), document("same"), document("other", stop_loss="0.02")])
        assert [(change["name"], change["action"], change["diff"]) for _, change in plan] == [
            ("new", "create", {}),
            ("same", "leave", {}),
            ("other", "change", {"stop_loss": [None, "0.02"]}),
        ]
        assert list(small.world.orchestrator.bots) == ["same", "other"]

    run(script)


def test_apply_carries_out_the_plan_and_is_idempotent(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        fleet, wanted = small.world.fleet, [document("a"), document("b", labels={"k": "v"})]
        fleet.apply(fleet.plan(wanted))
        assert [bot.state for bot in small.world.orchestrator.bots.values()] == [BotState.CREATED] * 2
        assert {change["action"] for _, change in fleet.plan(wanted)} == {"leave"}
        assert {change["action"] for _, change in fleet.plan(fleet.export())} == {"leave"}

    run(script)


BAD = [
    {"capital": "0"}, {"capital": "nan"}, {"symbol": "DOGE/USDT"}, {"strategy": "nothing"}, {"stop_loss": "2"},
    {"interval": "7m"}, {"color": "red"}, {"params": {"period": "x"}}, {"name": "first"},
    {"name": "known", "mode": "live"},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_one_bad_bot_and_nothing_is_done(run: Any, bad: dict[str, Any]) -> None:
    async def script(small: SmallWorld) -> None:
        known, also = small.create("known"), small.create("also")
        fleet, before = small.world.fleet, [as_mapping(bot.spec) for bot in (known, also)]
        with pytest.raises(BotdError):
            fleet.apply(fleet.plan([document("first"), document("also", stop_loss="0.01"), document("last") | bad]))
        assert list(small.world.orchestrator.bots) == ["known", "also"]
        assert [as_mapping(bot.spec) for bot in (known, also)] == before

    run(script)


def test_a_name_twice_is_refused(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        with pytest.raises(InvalidError, match="named twice"):
            small.world.fleet.plan([document("a"), document("a")])

    run(script)


def test_a_plan_refuses_to_move_what_is_held(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.add(by_signals(ByClose()), strategy="rsi", capital=Decimal(1000))
        await small.play(2)
        with pytest.raises(WrongStateError, match="interval cannot change"):
            small.world.fleet.plan([document("alpha", interval="5m")])

    run(script, [101, 101])
