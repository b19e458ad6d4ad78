"""Ended at any moment, and with the last moments lost: the books at the end are those of an undisturbed run."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from botd.bot.lifecycle import BotState
from tests.fakes.small_world import SmallWorld

CANDLES = 130

FLAKY = '''"""Raises now and then, as the market says."""
from botd.strategy.base import Signals, SignalStrategy

class Flaky(SignalStrategy):
    """Enter on even closes, exit on odd ones; raise on every seventh."""

    def warmup(self):
        return 3

    def signals(self, candles):
        last = int(candles.close[-1] * 100)
        if last % 7 == 0:
            raise ValueError("seven")
        return Signals(enter=candles.close * 100 % 2 < 1, exit=candles.close * 100 % 2 >= 1)
'''


def market(seed: int) -> list[tuple[float, float, float, float]]:
    """A walk with jumps: stops, targets, trails and grid levels are all reached."""
    rng, price, rows = random.Random(seed), 100.0, []
    for i in range(CANDLES):
        open_ = round(price * (1 + rng.choice([0, 0, 0, 0.01, -0.015])), 2)
        close = round(open_ * (1 + rng.gauss(0, 0.01) + 0.004 * math.sin(i / 9)), 2)
        high, low = (
            max(open_, close) * (1 + abs(rng.gauss(0, 0.004))),
            min(open_, close) * (1 - abs(rng.gauss(0, 0.004))),
        )
        rows.append((open_, round(high, 2), round(low, 2), close))
        price = close
    return rows


def bots(small: SmallWorld) -> None:
    small.create(
        "rsi", "rsi", params={"period": 3, "oversold": 45, "overbought": 60}, stop_loss="0.02", take_profit="0.03"
    )
    small.create(
        "trail", "ema_cross", interval="5m", params={"fast": 2, "slow": 3}, trailing_stop="0.015", fraction="0.5"
    )
    small.create("grid", "grid", params={"lower": "80", "upper": "125", "levels": 12}, capital="3000", stop_loss="0.2")
    small.create("dca", "dca", interval="5m", params={"every": "10m", "amount": "60", "take_profit": "0.01"})
    small.create("flaky", "flaky", stop_loss="0.01")


RISK = {
    "preset": "paper", "daily_loss": {"bot": "3%", "account": "50%"}, "max_drawdown": {"bot": "6%", "account": "50%"},
    "consecutive_losses": True, "volatility_halt": True,
}  # fmt: skip


async def play(home: Path, seed: int, ends: dict[int, int]) -> dict[str, Any]:
    """Play the market. ``ends``: moment -> how many moments before it are lost with the end there."""
    small = SmallWorld(home, market(seed), risk=RISK, paper={"slippage": "0.05%"})
    (home / "strategies" / "flaky.py").write_text(FLAKY)
    world = await small.begin()
    bots(small)
    await world.settlement.commit()
    done = 0
    for moment, lost in sorted(ends.items()):
        if moment - lost <= done:
            continue
        await small.play(moment - lost - done)
        await world.settlement.commit()
        world.ledger.commit = lambda: None  # type: ignore
        await small.play(lost)
        await small.end(killed=True)
        world = await small.begin()
        done = moment - lost
    await small.play()
    await small.end()
    return state(small)


def state(small: SmallWorld) -> dict[str, Any]:
    """Everything that counts; ids without the ledger's own name, which differs from run to run."""
    world = small.world

    def table(name: str, order: str = "id", where: str = "1") -> list[dict[str, Any]]:
        rows = small.rows(f"SELECT * FROM {name} WHERE {where} ORDER BY {order}")
        return [{key: value for key, value in row.items() if key not in ("id", "checksum")} for row in rows]

    found = {
        "fills": table("fills"),
        "orders": table("orders"),
        "trades": table("trades"),
        "books": table("books", "bot"),
        "positions": table("positions", "bot"),
        "equity": table("equity", "bot, time_ms"),
        "memory": table("strategy_states", "bot"),
        "keyed": table("keyed", "space, key"),
        "decisions": table("decisions", "bot, time_ms, id"),
        "bots": [
            [bot.name, bot.state.value, bot.record.desired, bot.record.failures]
            for bot in world.orchestrator.bots.values()
        ],
        "risk": [str(cause) for cause in world.states.causes()],
        "balances": {asset: [str(b.total), str(b.free)] for asset, b in world.exchange.balances().items()},
    }
    anonymous = re.sub(r"P[A-Z2-7]{5}-(\d+-\d+)-\d\d", r"\1", json.dumps(found))
    return json.loads(anonymous)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    return {seed: asyncio.run(play(tmp_path_factory.mktemp("calm"), seed, {})) for seed in (1, 2)}


def test_the_market_of_this_test_has_everything_in_it(calm: dict[int, dict[str, Any]]) -> None:
    reasons = {row["exit_reason"] for books in calm.values() for row in books["trades"]}
    assert {"signal", "stop_loss", "take_profit", "trailing_stop"} <= reasons
    assert {row["bot"] for books in calm.values() for row in books["fills"]} == {1, 2, 3, 4, 5}
    codes = {row["reason"] for books in calm.values() for row in books["orders"] if row["status"] == "denied"}
    assert codes & {"MAX_DRAWDOWN", "DAILY_LOSS", "CONSECUTIVE_LOSSES", "VOLATILITY_HALT"}
    assert any(failures for books in calm.values() for *_, failures in books["bots"])


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.sampled_from([1, 2]),
    ends=st.dictionaries(st.integers(2, CANDLES), st.integers(0, 4), min_size=1, max_size=5),
)
def test_ended_at_any_moments_the_books_are_those_of_an_undisturbed_run(
    calm: dict[int, dict[str, Any]], seed: int, ends: dict[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as home:
        found = asyncio.run(play(Path(home), seed, ends))
    for part, expected in calm[seed].items():
        if isinstance(expected, list):
            different = [(f, e) for f, e in zip(found[part], expected, strict=False) if f != e][:2]
            assert different == [] and len(found[part]) == len(expected), part
        assert found[part] == expected, part


def test_a_bot_that_was_stopped_paused_or_failed_is_so_after_a_restart(tmp_path: Path) -> None:
    async def script() -> None:
        small = SmallWorld(tmp_path, [100] * 40)
        world = await small.begin()
        stopped, paused, failed = (small.create(name) for name in ("stopped", "paused", "failed"))
        runs, born = small.create("runs"), small.create("born", start=False)
        world.orchestrator.stop(stopped)
        world.orchestrator.pause(paused)
        failed.end(BotState.FAILED, "for a reason")
        before = {bot.name: (bot.state, bot.record.reason) for bot in (stopped, paused, failed, runs, born)}
        await world.settlement.commit()
        await small.end()
        world = small.open()
        assert [b.state.value for b in world.orchestrator.bots.values()] == [
            "stopped", "starting", "failed", "starting", "created",
        ]  # fmt: skip
        world.orchestrator.market_ready()
        assert {b.name: (b.state, b.record.reason) for b in world.orchestrator.bots.values()} == before
        await small.end()

    asyncio.run(script())


def test_a_backoff_is_neither_shortened_nor_forgotten_by_a_restart(tmp_path: Path) -> None:
    async def script() -> None:
        small = SmallWorld(tmp_path, [100] * 40)
        world = await small.begin()
        bot = small.create("dca", "dca", params={"every": "1m", "amount": "10"})
        for failures in range(4):
            if failures:
                bot.move(BotState.STARTING)
                bot.begin()
            bot.fail(ValueError("again"))
        await world.settlement.commit()
        await small.end()
        world = await small.begin()
        again = world.orchestrator.get("dca")
        assert (again.state, again.record.failures, again.retry_at_ms) == (BotState.BACKOFF, 4, bot.retry_at_ms)
        again.move(BotState.STARTING)
        again.begin()
        again.fail(ValueError("and again"))
        assert again.state is BotState.FAILED
        await small.end()

    asyncio.run(script())


def test_disabled_at_the_start_nothing_runs_and_every_position_is_guarded(tmp_path: Path) -> None:
    async def script() -> None:
        small = SmallWorld(tmp_path, [100] * 5 + [50] * 9)
        world = await small.begin()
        bot = small.create("dca", "dca", params={"every": "1m", "amount": "100"}, stop_loss="0.1")
        await small.play(4)
        assert bot.holds
        await small.end()
        small.config["enable_bots"] = False
        world = await small.begin()
        await small.play()
        bot = world.orchestrator.get("dca")
        assert (bot.state, bot.record.reason, bot.trades) == (BotState.STOPPED, "bots are disabled", 1)
        assert not bot.holds and world.views.bot_row(bot)["note"] == "bots are disabled"
        await small.end()

    asyncio.run(script())


def test_books_of_the_ledger_are_exact(tmp_path: Path) -> None:
    async def script() -> None:
        small = SmallWorld(tmp_path, [100.01, 100.02, 99.97, 103.33, 101.99, 100.5], paper={"slippage": "0.05%"})
        world = await small.begin()
        bot = small.create("dca", "dca", params={"every": "1m", "amount": "33.33"})
        await small.play()
        kept = (bot.book.cash, bot.book.realized_pnl, bot.book.fees, bot.book.position)
        await world.settlement.commit()
        await small.end()
        world = await small.begin()
        book = world.orchestrator.get("dca").book
        assert (book.cash, book.realized_pnl, book.fees, book.position) == kept
        assert book.cash == Decimal(1000) + book.realized_pnl - book.position.cost
        await small.end()

    asyncio.run(script())


@pytest.mark.parametrize("moments", [61, 62, 63])
def test_an_open_trade_counts_its_candles_right_after_a_start(tmp_path: Path, moments: int) -> None:
    async def told() -> list[int]:
        small = SmallWorld(tmp_path, market(1))
        world = await small.begin()
        small.create("held", "dca", interval="5m", params={"every": "10m", "amount": "60", "take_profit": "5"})
        await small.play(moments)
        before = world.archive.open_trade(world.orchestrator.get("held"))["bars"]
        await world.settlement.commit()
        await small.end(killed=True)
        world = await small.begin()
        after = world.archive.open_trade(world.orchestrator.get("held"))["bars"]
        await small.end()
        return [before, after]

    before, after = asyncio.run(told())
    assert before == after > 3
