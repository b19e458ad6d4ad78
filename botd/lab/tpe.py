"""The next sets to try, by Optuna's tree-structured Parzen estimator: the same for the same seed and answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botd.domain.errors import UnavailableError
from botd.lab.ranges import Axis, Point
from botd.lab.ranking import Played, score

try:
    import optuna
except ImportError:
    raise UnavailableError("--tpe needs optuna, which is not installed", "pip install 'botctl[lab]'") from None


class Chooser:
    """Asks and tells in batches; a set that cannot be played counts as pruned."""

    def __init__(self, axes: Sequence[Axis], seed: int, by: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=16)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._axes, self._by = axes, by
        self._waiting: list[Any] = []

    def ask(self, count: int) -> list[Point]:
        """Return the next points; TPE may ask for the same again."""
        self._waiting = [self._study.ask() for _ in range(count)]
        return [tuple(self._value(trial, axis) for axis in self._axes) for trial in self._waiting]

    def tell(self, played: Sequence[Played]) -> None:
        """Say what the points of the last batch gave."""
        for trial, (statistics, _) in zip(self._waiting, played, strict=True):
            value = score(statistics, self._by)
            if value is None:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, value)

    @staticmethod
    def _value(trial: Any, axis: Axis) -> Any:
        if not axis.values:
            return axis.rounded(trial.suggest_float(axis.name, axis.low, axis.high))
        if _are_numbers(axis.values):
            return axis.values[trial.suggest_int(axis.name, 0, len(axis.values) - 1)]
        return axis.values[trial.suggest_categorical(axis.name, list(range(len(axis.values))))]


def _are_numbers(values: Sequence[Any]) -> bool:
    """Tell whether neighbours on the axis are alike: numbers in order."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return len(numbers) == len(values) and sorted(numbers) == list(values)
