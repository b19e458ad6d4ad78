"""What ``why`` says where there is no decision yet, where it is not of the time asked for, and while a bot warms up."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import talib

from botd.bot.signal_mind import SignalMind
from botd.control.handlers_inspect import InspectHandlers
from botd.control.handlers_lifecycle import LifecycleHandlers
from botd.domain.candles import Candles
from botd.domain.errors import InvalidError
from botd.ledger.retention import DAY_MS, DECISIONS_MS
from botd.strategy.base import Signals, SignalStrategy
from tests.fakes.plain_strategies import ByClose
from tests.fakes.small_world import MINUTE, START, SmallWorld
from tests.unit.orchestrator.test_orchestrator_plain_words import verbs


class Averages(SignalStrategy):
    """Two averages, of which one is a number sooner; wants more candles than either needs."""

    def warmup(self) -> int:
        return 20

    def signals(self, candles: Candles) -> Signals:
        fast, slow = talib.SMA(candles.close, 2), talib.SMA(candles.close, 4)
        return Signals(enter=fast > slow + 1e9, exit=fast < slow - 1e9, notes={"fast": fast, "slow": slow})


async def asked(small: SmallWorld, at_ms: int | None = None) -> dict[str, Any]:
    world = small.world
    services: Any = SimpleNamespace(
        orchestrator=world.orchestrator, archive=world.archive, views=world.views, records=None
    )
    await world.settlement.commit()
    return await InspectHandlers(services).why(SimpleNamespace(name="alpha", at=at_ms), None)


def test_a_new_bot_says_which_candle_it_waits_for(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.create(interval="5m")
        row = await asked(small)
        assert (row["at"], row["outcome"], row["note"]) == (None, "none", "")
        words = "waits for its first candle of BTC/USDT 5m, which closes at 2026-01-01T00:05:00Z"
        assert row["notes"] == {"detail": f"no decision yet: {words}"}
        small.world.orchestrator.stop(small.world.orchestrator.get("alpha"))
        assert (await asked(small))["notes"]["detail"] == "no decision yet: the bot is stopped"

    run(script)


def test_while_it_warms_up_it_says_how_many_candles_there_must_be(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(lambda bot: SignalMind(bot, Averages(), ("averages",), needs=20, trusted=True))
        told = []
        await small.play(1)  # opens the first candle
        for _ in range(4):
            await small.play(1)
            row = await asked(small)
            told.append((row["outcome"], [gate for gate in row["gates"] if gate["gate"] == "warm_up"]))
        assert [outcome for outcome, _ in told] == ["warming_up", "hold", "hold", "hold"]
        first, second, _, last = (gates for _, gates in told)
        assert first[0]["detail"] == "1 of 4 candles so far: the indicators are not defined yet"
        assert (first[0]["value"], first[0]["limit"], first[0]["passed"]) == (1, 4, False)
        assert second[0]["detail"] == "2 of 4 candles so far: slow is not defined yet"
        assert last == [] and bot.last_decision is not None and None not in bot.last_decision.notes.values()

    run(script)


def test_an_earlier_decision_than_the_one_asked_for_says_so(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.add(by_signals(ByClose()))
        await small.play(2)
        exactly = START + MINUTE
        assert (await asked(small, exactly))["note"] == ""
        row = await asked(small, exactly + 30_000)
        assert row["at"] == "2026-01-01T00:01:00Z"
        assert row["note"] == "the last decision kept before 2026-01-01T00:01:30Z is of 2026-01-01T00:01:00Z"
        none = await asked(small, START - DAY_MS)
        assert (none["at"], none["outcome"]) == (None, "none")
        assert none["notes"] == {"detail": "no decision is kept from 2025-12-31T00:00:00Z or before"}

    run(script)


def test_where_the_ledger_has_forgotten_decisions_it_says_which_it_keeps(
    run: Any, by_signals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(2)
        later = bot.desk.clock.now_ms() + DECISIONS_MS + DAY_MS
        monkeypatch.setattr(bot.desk.clock, "now_ms", lambda: later)
        row = await asked(small, START + DAY_MS)
        assert row["note"].endswith(": after 7 days only those are kept that changed the outcome")

    run(script)


@pytest.mark.parametrize(
    ("key", "near"),
    [("stop_los", "; did you mean stop_loss?"), ("perid", "; did you mean period?"), ("zzz", "")],
)
def test_a_wrong_key_of_set_is_looked_for_among_the_bots_and_the_strategys(
    run: Callable[..., None], key: str, near: str
) -> None:
    async def script(small: SmallWorld) -> None:
        small.create()
        with pytest.raises(InvalidError) as refused:
            await verbs(small, LifecycleHandlers).set(SimpleNamespace(name="alpha", changes={key: "2"}), None)
        assert refused.value.message == f"alpha: no parameter {key!r}{near}"
        assert "rsi has period, oversold, overbought; a bot has " in refused.value.hint
        assert "stop_loss" in refused.value.hint and "capital" in refused.value.hint

    run(script)


def test_a_fill_is_told_before_the_trade_that_it_closes(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        told: list[Any] = []
        small.world.ledger.on_commit(told.extend)
        small.add(by_signals(ByClose()))
        await small.play(4)
        await small.world.settlement.commit()
        topics = [event.topic for event in told if event.topic in ("order.fill", "trade.closed")]
        assert topics == ["order.fill", "order.fill", "trade.closed"]

    run(script, [101, 102, 100, 100])
