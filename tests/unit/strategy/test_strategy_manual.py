"""The examples of botd-strategies(7) work as they are printed."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from botd.domain.errors import InvalidError
from botd.market.simulated.samples import sample_candles
from botd.strategy.base import EventStrategy, SignalStrategy
from botd.strategy.examination import examine
from botd.strategy.inputs import sampled
from botd.strategy.registry import Registry
from tests.fakes.strategy_context import FakeContext

PAGE = Path(__file__).parents[3] / "man" / "botd-strategies.7"
EXAMPLES = re.findall(r"^\.RS\n(.*?)^\.RE", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    for text in EXAMPLES:
        name = re.search(r"^class (\w+)", text, re.MULTILINE).group(1).lower()  # type: ignore[union-attr]
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text).replace("\\-", "-"))
    return Registry(builtin_dir=tmp_path)


def test_there_is_an_example_of_each_kind(registry: Registry) -> None:
    made = [registry.load(name).build({}) for name in ("dip", "ladder")]
    assert isinstance(made[0], SignalStrategy) and isinstance(made[1], EventStrategy)


def test_parameters_of_the_examples_have_bounds(registry: Registry) -> None:
    with pytest.raises(InvalidError, match="period"):
        registry.load("dip").build({"period": 1})


def test_the_signals_of_the_example_look_back_only_and_its_warm_up_is_long_enough(registry: Registry) -> None:
    dip = registry.load("dip").build({})
    assert examine("dip", dip, sampled("dip", dip, "5m", sample_candles)) > 50


def test_the_orders_of_the_example_follow_the_hours_that_it_reads(registry: Registry) -> None:
    ladder = registry.load("ladder").build({"market": "ETH/USDT"})
    assert isinstance(ladder, EventStrategy)
    rows = sampled("ladder", ladder, "5m", sample_candles)
    placed = []
    for row in range(240, len(rows), 50):
        context = FakeContext(ladder, float(rows.close[row]))
        context.candles = rows.part(row, row + 1)
        hours = [context.candles.at("1h"), context.candles.at("1h", symbol="ETH/USDT")]
        assert [len(one) for one in hours] == [10, 10]
        ladder.on_candle(context, context.candles.candle(0))
        placed.append(len(context.placed))
        assert placed[-1] == all(one.close[-1] > one.close.mean() for one in hours)
    assert 0 < sum(placed) < len(placed)
