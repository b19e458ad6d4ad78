"""How long a state machine searches: short in the suite, long where ``BOTD_CAMPAIGN=20000x100`` asks for it."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def campaign(examples: int, steps: int) -> settings:
    """Return the settings of a state machine: so many examples of so many steps, or the campaign's."""
    asked = os.environ.get("BOTD_CAMPAIGN", "")
    if asked:
        examples, steps = (int(part) for part in asked.split("x"))
    return settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
