"""A user's strategy is examined before a bot takes it; a live bot takes a changed file only with its owner's word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from botd.bot.lifecycle import BotState
from botd.control.handlers_lifecycle import LifecycleHandlers
from botd.control.services import Services
from botd.domain.clock import rfc3339
from botd.domain.errors import DeniedError, InvalidError
from botd.market.simulated.samples import sample_candles
from botd.orchestrator.examiner import Examiner
from botd.strategy.registry import Registry
from botd.strategy.trust import trust
from tests.fakes.small_world import SmallWorld

SOURCE = '''"""A strategy of a test."""
import time
import numpy as np
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.parameters import integer

class Mine(SignalStrategy):
    """Mine."""
    ahead = integer(0, low=0, high=9)

    def warmup(self):
        return 20

    def signals(self, candles):
        close = candles.close
        {body}
        return Signals(rising, ~rising)
'''
SOUND = "rising = np.r_[False, close[1:] > close[:-1]]"
AHEAD = "rising = np.r_[close[1:] > close[:-1], False]"
BY_PARAMETER = "rising = np.r_[close[self.ahead :], close[:self.ahead]] > 0 if not self.ahead else " + AHEAD[9:]
HANGS = "time.sleep(0.01)\n        while True: pass"
SPEC = {"strategy": "mine", "symbol": "BTC/USDT", "interval": "1m", "capital": "1000"}


class Desk:
    """The verbs over a small world; ``write`` is the user who edits the strategy."""

    def __init__(self, small: SmallWorld) -> None:
        self.small, world = small, small.world
        self.examiner = Examiner(world.registry, sample_candles, small.home / "state", limit_s=0.5)
        services = SimpleNamespace(
            require_bots=lambda: None, require_market=lambda: None, lock=world.market.lock, desk=world.desk,
            orchestrator=world.orchestrator, parser=world.parser, commit=world.settlement.commit, fleet=world.fleet,
            portfolio=world.portfolio, examiner=self.examiner,
        )  # fmt: skip
        services.names = lambda args: Services.names(services, args)  # type: ignore[arg-type]
        services.each = lambda args, verb: Services.each(services, args, verb)  # type: ignore[arg-type]
        self.verbs = LifecycleHandlers(services)  # type: ignore[arg-type]

    @property
    def file(self) -> Path:
        return self.small.home / "strategies" / "mine.py"

    def write(self, body: str) -> None:
        self.file.write_text(SOURCE.replace("{body}", body))

    async def create(self, name: str = "alpha", **spec: Any) -> Any:
        more = {"replace": spec.pop("replace", False), "start": spec.pop("start", False)}
        return await self.verbs.create(SimpleNamespace(spec={"name": name, **SPEC, **spec}, **more), None)

    async def set(self, **changes: str) -> Any:
        return await self.verbs.set(SimpleNamespace(name="alpha", changes=changes), None)

    async def apply(self, *bots: dict[str, Any], plan: bool = False) -> Any:
        return await self.verbs.apply(SimpleNamespace(bots=[{**SPEC, **bot} for bot in bots], plan=plan), None)

    async def each(self, verb: str) -> Any:
        asked = SimpleNamespace(names=["alpha"], all=False, labels=None)
        return (await getattr(self.verbs, verb)(asked, None))["rows"][0]

    @property
    def rows(self) -> list[str]:
        return [row["name"] for row in self.small.rows("SELECT name FROM bots WHERE name <> ''")]


@pytest.fixture
def desk(run: Any) -> Callable[[Callable[[Desk], Coroutine[Any, Any, None]]], None]:
    def go(script: Callable[[Desk], Coroutine[Any, Any, None]]) -> None:
        async def with_desk(small: SmallWorld) -> None:
            await script(Desk(small))

        run(with_desk)

    return go


def test_a_strategy_that_looks_ahead_is_refused_before_a_row_is_written(desk: Any) -> None:
    async def script(desk: Desk) -> None:
        desk.write(AHEAD)
        rises = np.diff(sample_candles("1m", 20).close) > 0  # the first rise is said a candle before it is known
        first = rfc3339(1_704_067_200_000 + int(np.argmax(rises)) * 60_000)
        with pytest.raises(DeniedError, match=f"strategy mine looks ahead: at {first} it says enter"):
            await desk.create()
        assert desk.small.world.orchestrator.bots == {} and desk.rows == []
        with pytest.raises(DeniedError, match=r"bot beta: strategy mine looks ahead: at 2024-"):
            await desk.apply({"name": "alpha", "strategy": "rsi"}, {"name": "beta"})
        with pytest.raises(DeniedError, match=r"bot beta: strategy mine looks ahead"):
            await desk.apply({"name": "beta"}, plan=True)
        assert desk.small.world.orchestrator.bots == {} and desk.rows == []

    desk(script)


def test_what_passed_is_not_asked_again_until_file_parameters_or_interval_change(desk: Any) -> None:
    async def script(desk: Desk) -> None:
        desk.write(SOUND)
        await desk.create()
        await desk.create("beta", capital="2000", stop_loss="0.02")
        await desk.apply({"name": "gamma"}, {"name": "beta", "capital": "3000"})
        assert desk.examiner.asked == 1
        await desk.create("delta", params={"ahead": "1"})
        await desk.create("epsilon", interval="5m")
        assert desk.examiner.asked == 3
        desk.write(SOUND + "\n")
        await desk.create("zeta")
        assert desk.examiner.asked == 4 and len(desk.small.world.orchestrator.bots) == 6

    desk(script)


def test_built_in_strategies_and_those_with_orders_of_their_own_are_not_asked(desk: Any) -> None:
    async def script(desk: Desk) -> None:
        await desk.create("alpha", strategy="rsi")
        await desk.create("beta", strategy="dca", params={"amount": "10"})
        desk.file.write_text(
            "from botd.strategy.base import EventStrategy\nclass Mine(EventStrategy):\n"
            "    def on_candle(self, context, candle):\n        pass\n"
        )
        await desk.create("gamma")
        assert desk.examiner.asked == 0

    desk(script)


def test_set_examines_what_changes_the_signals_and_refuses_it_with_the_bot_as_it_was(desk: Any) -> None:
    async def script(desk: Desk) -> None:
        desk.write(BY_PARAMETER)
        await desk.create()
        await desk.set(stop_loss="0.1", capital="1500")
        assert desk.examiner.asked == 1
        with pytest.raises(DeniedError, match="looks ahead"):
            await desk.set(ahead="2")
        with pytest.raises(DeniedError, match="looks ahead"):
            await desk.create(params={"ahead": "3"}, replace=True)
        bot = desk.small.world.orchestrator.get("alpha")
        assert bot.spec.params["ahead"] == 0 and bot.spec.capital == Decimal(1500)

    desk(script)


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_changed_file_is_examined_when_it_is_read_again(desk: Any, verb: str) -> None:
    async def script(desk: Desk) -> None:
        desk.write(SOUND)
        await desk.create(start=True)
        bot = desk.small.world.orchestrator.get("alpha")
        desk.write(AHEAD)
        assert (await desk.each("start"))["error"] is None  # it runs, by the code that it has
        if verb == "start":
            desk.small.world.orchestrator.stop(bot)
        before, row = bot.state, await desk.each(verb)
        assert row["error"]["code"] == "DENIED" and "looks ahead" in row["error"]["message"]
        assert desk.small.world.orchestrator.get("alpha") is bot and bot.state is before
        desk.write(SOUND + "\n")
        assert (await desk.each(verb))["error"] is None
        assert desk.small.world.orchestrator.get("alpha").state is BotState.RUNNING

    desk(script)


def test_an_examination_that_does_not_end_is_refused_while_the_loop_goes_on(desk: Any) -> None:
    async def script(desk: Desk) -> None:
        desk.write(HANGS)
        asked, turns = asyncio.ensure_future(desk.create()), 0
        while not asked.done():
            await asyncio.sleep(0.01)
            turns += 1
        error = asked.exception()
        assert isinstance(error, DeniedError) and turns > 5
        assert error.message == "strategy mine: its examination did not end within 0.5 s"
        assert "botctl check mine --trust" in error.hint and desk.rows == []

    desk(script)


def test_a_slow_strategy_is_let_in_on_its_owners_word(desk: Any) -> None:
    async def script(desk: Desk) -> None:
        desk.write("time.sleep(1)\n        " + SOUND)
        with pytest.raises(DeniedError, match="did not end"):
            await desk.create()
        trust(desk.small.home / "state", "mine", desk.small.world.registry.load("mine").digest)
        await desk.create()
        assert list(desk.small.world.orchestrator.bots) == ["alpha"]

    desk(script)


def test_code_that_fails_is_an_invalid_value(desk: Any) -> None:
    async def script(desk: Desk) -> None:
        desk.write("rising = close.nothing")
        with pytest.raises(InvalidError, match="strategy mine: AttributeError"):
            await desk.create()

    desk(script)


# -- real money


@pytest.fixture
def live(tmp_path: Path) -> Callable[[Callable[[Desk, Any], Coroutine[Any, Any, None]]], None]:
    """A live bot of the user's own strategy (without a key it does not run); ``again`` restarts the daemon."""

    def go(script: Callable[[Desk, Any], Coroutine[Any, Any, None]]) -> None:
        async def all_of_it() -> None:
            small = SmallWorld(tmp_path, [100] * 6)
            await small.begin()
            desk = Desk(small)
            desk.write(SOUND)
            await desk.create(mode="live")

            async def again() -> Any:
                await small.end()
                await small.begin()
                return small.world.orchestrator.bots["alpha"]

            try:
                await script(desk, again)
            finally:
                await small.end()

        asyncio.run(all_of_it())

    return go


def vouch(desk: Desk) -> None:
    trust(desk.small.home / "state", "mine", Registry.standard(desk.file.parent).load("mine").digest)


def test_a_live_bot_takes_a_changed_file_only_when_its_owner_vouched_for_it(live: Any) -> None:
    async def script(desk: Desk, again: Any) -> None:
        assert (await again()).lost is None
        desk.write(SOUND + "  # better")
        bot = await again()
        assert bot.state is BotState.FAILED and "is not the file that alpha traded real money by" in bot.record.reason
        with pytest.raises(DeniedError) as caught:
            desk.small.world.orchestrator._reload(bot)
        assert "botctl check mine --trust" in caught.value.hint and "botctl start alpha" in caught.value.hint
        vouch(desk)
        assert desk.small.world.orchestrator._reload(bot).lost is None
        assert (await again()).lost is None

    live(script)


def test_what_was_vouched_for_is_that_file_and_no_later_one(live: Any) -> None:
    async def script(desk: Desk, again: Any) -> None:
        desk.write(SOUND + "  # better")
        vouch(desk)
        assert (await again()).lost is None
        desk.write(SOUND + "  # worse")
        assert (await again()).lost is not None
        desk.write(SOUND + "  # better")
        assert (await again()).lost is None

    live(script)


def test_a_changed_file_is_not_taken_by_set_and_restart_either(live: Any) -> None:
    async def script(desk: Desk, again: Any) -> None:
        bot = desk.small.world.orchestrator.get("alpha")
        desk.write(SOUND + "  # better")
        with pytest.raises(DeniedError, match="traded real money"):
            await desk.set(ahead="1")
        assert (await desk.each("restart"))["error"]["code"] == "DENIED"
        assert desk.small.world.orchestrator.get("alpha") is bot
        await desk.set(capital="1200")  # no file is read
        await desk.create("beta", mode="live")  # a new bot takes the file that there is
        assert list(desk.small.world.orchestrator.bots) == ["alpha", "beta"]

    live(script)
