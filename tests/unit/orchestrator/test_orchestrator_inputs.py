"""A bot whose strategy reads besides its own candles: created, shown, restarted, refused."""

from __future__ import annotations

from typing import Any

import pytest

from botd.bot.lifecycle import BotState
from botd.domain.errors import DeniedError, InvalidError, NotFoundError
from botd.market.simulated.samples import sample_candles
from botd.orchestrator.examiner import Examiner
from tests.fakes.input_strategies import TREND, write_trend
from tests.fakes.small_world import SmallWorld

RISING = tuple(100 + k for k in range(200))
OWN = {"params": {"market": "BTC/USDT", "larger": "15m", "fast": "2", "slow": "2"}}


def test_what_it_reads_must_be_in_the_market_and_fit_its_interval(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        write_trend(small.home / "strategies")
        with pytest.raises(
            NotFoundError, match="alpha: strategy trend reads ETH/USDT 5m: no symbol 'ETH/USDT'"
        ) as caught:
            small.create("alpha", "trend", params={"market": "ETH/USDT"})
        assert caught.value.hint.endswith("it has BTC/USDT (market.files in the configuration)")
        with pytest.raises(
            InvalidError, match="strategy trend: it reads 5m candles, which are no multiple of its own 3m"
        ):
            small.create("alpha", "trend", interval="3m", **OWN)
        assert small.world.orchestrator.bots == {}

    run(script)


def test_it_says_what_it_waits_for_and_trades_when_it_is_there(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        write_trend(small.home / "strategies")
        bot = small.create("alpha", "trend", **OWN)
        assert [row["lanes"] for row in small.world.market.symbols()] == [["1m", "5m", "15m"]]
        await small.play(2)
        assert bot.last_decision is not None and bot.last_decision.outcome == "waiting"
        note = small.world.views.bot_row(bot)["note"]
        assert note.startswith(
            "waits for the candle of BTC/USDT 15m that opened at 2025-12-31T23:45:00Z and the candle"
        )
        await small.play(60)
        assert bot.holds and bot.last_decision.outcome == "hold" and bot.last_decision.notes["agrees"] == 1.0

    run(script, RISING)


def test_after_a_restart_it_reads_on_and_one_whose_market_is_gone_is_guarded(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        folder = write_trend(small.home / "strategies")
        small.create("alpha", "trend", stop_loss="0.01", **OWN)
        await small.play(60)
        await small.end()
        await small.begin()
        bot = small.world.orchestrator.bots["alpha"]
        assert bot.state is BotState.RUNNING and small.world.market.symbols()[0]["lanes"] == ["1m", "5m", "15m"]
        assert bot.holds
        await small.end()
        (folder / "trend.py").write_text(TREND.replace('Input("5m", self.fast, self.market)', 'Input("5m", 3, "X/Y")'))
        await small.begin()
        bot = small.world.orchestrator.bots["alpha"]
        assert bot.state is BotState.FAILED and bot.record.reason == "alpha: no symbol 'X/Y' in this market"
        await small.play(30)
        assert not bot.holds  # the price fell through its stop

    run(script, (*RISING[:62], *([50] * 40)))


def test_the_lanes_change_with_the_parameters_and_go_with_the_bot(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        write_trend(small.home / "strategies")
        bot = small.create("alpha", "trend", **OWN)
        params = {**bot.spec.params, "larger": "3m"}
        bot = small.world.orchestrator.change(bot, small.world.parser.parse(_raw(small, params)))
        assert small.world.market.symbols()[0]["lanes"] == ["1m", "3m", "5m"]
        small.world.orchestrator.stop(bot)
        assert small.world.market.lanes() == {}

    run(script)


def _raw(small: SmallWorld, params: dict[str, Any]) -> dict[str, Any]:
    base = {"name": "alpha", "strategy": "trend", "symbol": "BTC/USDT", "interval": "1m", "capital": "1000"}
    return {**base, "params": params}


def test_it_is_examined_with_its_inputs_before_a_bot_takes_it(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        folder = write_trend(small.home / "strategies")
        ahead = TREND.replace(
            "trend = large.align(talib.EMA(large.close, self.slow))",
            'trend = large.close[large.time.searchsorted(candles.time, side="right") - 1]',
        )
        (folder / "ahead.py").write_text(ahead)
        examiner = Examiner(small.world.registry, sample_candles, small.home / "state")
        await examiner.require(small.world.parser.parse(_raw(small, {"market": "BTC/USDT"})))
        spec = small.world.parser.parse({**_raw(small, {"market": "BTC/USDT"}), "strategy": "ahead"})
        with pytest.raises(DeniedError, match="strategy ahead looks ahead: at 2024-"):
            await examiner.require(spec)

    run(script)
