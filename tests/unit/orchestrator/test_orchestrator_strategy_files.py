"""A user's strategy files: changed, broken, gone, or named like a built-in."""
# ruff: noqa: ASYNC240  (a test may write a file from within its loop)

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from botd.bot.lifecycle import BotState
from botd.domain.errors import ConflictError, InvalidError, NotFoundError
from tests.fakes.small_world import SmallWorld

BUYS = '''"""Buys once and bids below."""
from decimal import Decimal
from botd.strategy.base import EventStrategy

class Mine(EventStrategy):
    """Buys one, bids for another."""

    def on_start(self, context):
        context.buy(Decimal(1))
        context.buy(Decimal(1), Decimal(50))

    def on_candle(self, context, candle):
        context.state["seen"] = context.state.get("seen", 0) + STEP
'''


def source(step: int = 1) -> str:
    return BUYS.replace("STEP", str(step))


def method(name: str, body: str) -> str:
    return f"\n    def {name}(self):\n        {body}\n"


@pytest.fixture
def story(tmp_path: Path) -> Callable[[Callable[[SmallWorld, Path], Coroutine[Any, Any, None]]], None]:
    """A bot of the user's own strategy that holds one and bids for another; the test goes on from there."""

    def go(script: Callable[[SmallWorld, Path], Coroutine[Any, Any, None]]) -> None:
        async def all_of_it() -> None:
            small = SmallWorld(tmp_path, [100] * 6 + [80] * 20)
            file = tmp_path / "strategies" / "mine.py"
            file.write_text(source())
            await small.begin()
            small.create("alpha", "mine", stop_loss="0.1")
            small.create("other", "rsi")
            await small.play(3)
            assert small.world.orchestrator.get("alpha").holds
            try:
                await script(small, file)
            finally:
                await small.end()

        asyncio.run(all_of_it())

    return go


async def restart(small: SmallWorld) -> Any:
    await small.end()
    await small.begin()
    return small.world.orchestrator.bots["alpha"]


def note(small: SmallWorld) -> str:
    return str(small.world.views.bot_row(small.world.orchestrator.get("alpha"))["note"])


def test_the_loaded_code_goes_on_and_is_shown_as_changed(story: Any) -> None:
    async def script(small: SmallWorld, file: Path) -> None:
        assert note(small) == ""
        file.write_text(source(10))
        await small.play(1)
        bot = small.world.orchestrator.get("alpha")
        assert bot.memory["memory"] == {"seen": 3} and "file changed, the loaded code goes on" in note(small)
        assert small.world.views.details(bot)["strategy_code"] == "changed"
        file.write_text(source())
        assert note(small) == ""

    story(script)


def test_stop_and_start_take_up_the_changed_file_with_the_memory_kept(story: Any, caplog: Any) -> None:
    async def script(small: SmallWorld, file: Path) -> None:
        orchestrator = small.world.orchestrator
        file.write_text(source(10))
        orchestrator.stop(orchestrator.get("alpha"))
        bot = orchestrator.start(orchestrator.get("alpha"))
        assert bot.state is BotState.RUNNING and note(small) == ""
        await small.play(1)
        assert bot.memory["memory"] == {"seen": 12}
        assert "the file of strategy mine is another than before" in caplog.text
        await small.world.settlement.commit()
        assert [event["strategy"] for event in small.events("bot.code")] == ["mine"]

    story(script)


def test_a_restart_of_the_daemon_takes_it_up_and_says_so_once(story: Any, caplog: Any) -> None:
    async def script(small: SmallWorld, file: Path) -> None:
        bot = await restart(small)
        assert "another than before" not in caplog.text
        file.write_text(source(10))
        bot = await restart(small)
        assert "another than before" in caplog.text and bot.state is BotState.RUNNING
        caplog.clear()
        bot = await restart(small)
        assert "another than before" not in caplog.text

    caplog.set_level(logging.WARNING)
    story(script)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: file.unlink(), "mine: no such strategy"),
        (lambda file: file.write_text("def ("), "mine.py, line 1: invalid syntax"),
        (lambda file: file.write_text("raise OSError('at import')"), "line 1: OSError: at import"),
        (lambda file: file.write_text(source() + method("warmup", "return 'x'")), "warmup(): TypeError"),
        (lambda file: file.write_text(source() + method("warmup", "return -5")), "not -5"),
        (lambda file: file.write_text(source() + method("validate", "1 / 0")), "ZeroDivisionError"),
        (lambda file: file.write_text("x = 1"), "needs exactly one strategy class"),
    ],
)  # fmt: skip
def test_a_bot_without_its_strategy_is_failed_and_guarded_and_the_others_run(
    story: Any, spoil: Any, reason: str
) -> None:
    async def script(small: SmallWorld, file: Path) -> None:
        spoil(file)
        bot = await restart(small)
        assert bot.state is BotState.FAILED and reason in bot.record.reason and bot.record.desired == "running"
        assert reason in note(small)
        assert bot.orders() == [] and small.world.exchange.open_orders() == []  # nobody would answer the bid's fill
        assert small.world.orchestrator.get("other").state is BotState.RUNNING
        await small.play(6)
        assert not bot.holds and bot.trades == 1  # its stop
        await small.world.settlement.commit()
        assert [row["exit_reason"] for row in small.rows("SELECT * FROM trades")] == ["stop_loss"]

    story(script)


def test_a_mended_file_is_enough_to_start_the_bot_again(story: Any) -> None:
    async def script(small: SmallWorld, file: Path) -> None:
        file.unlink()
        bot = await restart(small)
        with pytest.raises(NotFoundError, match="no such strategy"):
            small.world.orchestrator.start(bot)
        assert bot.state is BotState.FAILED
        file.write_text(source(100))
        bot = small.world.orchestrator.start(bot)
        assert bot.state is BotState.RUNNING and bot.holds and bot.guard.stop() == 90
        await small.play(1)
        assert bot.memory == {"started": True, "memory": {"seen": 102}}

    story(script)


def test_a_file_mended_before_the_next_restart_goes_on_as_if_nothing_had_been(story: Any) -> None:
    async def script(small: SmallWorld, file: Path) -> None:
        file.rename(file.with_suffix(".away"))
        assert (await restart(small)).state is BotState.FAILED
        file.with_suffix(".away").rename(file)
        bot = await restart(small)
        assert bot.state is BotState.RUNNING and bot.record.reason == ""

    story(script)


def test_a_bot_without_its_strategy_can_be_removed(story: Any) -> None:
    async def script(small: SmallWorld, file: Path) -> None:
        file.unlink()
        bot = await restart(small)
        assert small.world.orchestrator.remove(bot, force=True) == "1 BTC now unassigned"
        assert list(small.world.orchestrator.bots) == ["other"]

    story(script)


def test_a_file_that_shadows_a_built_in_is_refused(story: Any) -> None:
    async def script(small: SmallWorld, file: Path) -> None:
        file.with_name("macd.py").write_text(source())
        with pytest.raises(ConflictError, match="has the name of a built-in"):
            small.create("beta", "macd")
        assert "beta" not in small.world.orchestrator.bots

    story(script)


def test_a_broken_change_of_the_file_is_refused_and_leaves_the_bot_as_it_was(story: Any) -> None:
    async def script(small: SmallWorld, file: Path) -> None:
        orchestrator = small.world.orchestrator
        bot = orchestrator.get("alpha")
        file.write_text("def (")
        await small.play(1)
        assert bot.state is BotState.RUNNING
        with pytest.raises(InvalidError, match="invalid syntax"):
            orchestrator.restart(bot)
        assert bot.state is BotState.RUNNING  # with the code that it has
        orchestrator.stop(bot)
        with pytest.raises(InvalidError, match="invalid syntax"):
            orchestrator.start(bot)
        assert orchestrator.get("alpha") is bot and bot.state is BotState.STOPPED and bot.guard.stop() == 90

    story(script)
