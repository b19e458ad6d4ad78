"""A strategy's failure is told with the line of its own file that caused it, wherever the error was raised."""

from __future__ import annotations

from pathlib import Path

from botd.domain.errors import InvalidError
from botd.strategy.faults import raised
from botd.strategy.registry import Registry

SOURCE = """
import numpy as np
from botd.strategy.base import SignalStrategy, Signals


class Boom(SignalStrategy):
    def warmup(self):
        return undefined

    def signals(self, candles):
        return np.concatenate(candles)
"""


def caught(call: object) -> BaseException:
    try:
        call()  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def test_the_line_is_that_of_the_strategys_file(tmp_path: Path) -> None:
    (tmp_path / "boom.py").write_text(SOURCE)
    strategy = Registry.standard(tmp_path).load("boom").build({})
    assert raised(caught(strategy.warmup)) == "NameError: name 'undefined' is not defined (boom.py, line 8)"
    within = raised(caught(lambda: strategy.signals(1)))  # type: ignore[attr-defined]
    assert within.startswith("TypeError: ") and within.endswith("(boom.py, line 11)")


def test_what_no_strategy_raised_has_no_line_and_our_own_errors_their_own_words() -> None:
    assert raised(caught(lambda: int("x"))) == "ValueError: invalid literal for int() with base 10: 'x'"
    assert raised(InvalidError("buy quantity must be above zero, not 0")) == "buy quantity must be above zero, not 0"
