"""The fixtures of the bots' tests."""

from tests.unit.bot.conftest import by_hooks, by_signals, run

__all__ = ["by_hooks", "by_signals", "run"]
