"""What is said of a bot is of now: what it last did while it ran is no news once it is stopped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from botd.control.handlers_lifecycle import LifecycleHandlers
from botd.domain.errors import InvalidError
from tests.fakes.small_world import SmallWorld
from tests.unit.orchestrator.test_orchestrator_plain_words import verbs


def test_a_stopped_bot_does_not_say_that_it_warms_up(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.create(strategy="macd")
        await small.play(3)
        views = small.world.views
        assert views.note(bot).startswith("warming up: ")
        small.world.orchestrator.stop(bot)
        assert (bot.state.value, views.note(bot)) == ("stopped", "")
        small.world.orchestrator.start(bot)
        assert views.note(bot).startswith("warming up: "), "it does so again"

    run(script, [100] * 10)


@pytest.mark.parametrize("changes", [{"label.team": ""}, {"label.team": "", "label.none": ""}])
def test_set_takes_a_label_away_and_the_same_again_changes_nothing(run: Any, changes: dict[str, str]) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.create(labels={"team": "a", "kind": "x"})
        handlers = verbs(small, LifecycleHandlers)
        row = (await handlers.set(SimpleNamespace(name="alpha", changes=changes), None))["rows"][0]
        bot = small.world.orchestrator.get("alpha")
        assert bot.spec.labels == {"kind": "x"}
        assert row["result"] == "changed" and row["detail"] == ", ".join(f"{key}-" for key in changes)
        row = (await handlers.set(SimpleNamespace(name="alpha", changes=changes), None))["rows"][0]
        assert row["result"] == "unchanged"
        with pytest.raises(InvalidError, match="label a b=c"):
            await handlers.set(SimpleNamespace(name="alpha", changes={"label.a b": "c"}), None)

    run(script)
