"""Nothing depends on how the machine it was written on was laid out."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
MACHINES = re.compile(r"""["'](?:\w+://)?/(?:tmp|home|root|work|Users)["'/]""")
"""Documented places of an installation (/opt, /etc, /run, /var/lib) are none of them."""


def test_no_source_names_a_place_of_somebodys_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("botctl", "botd", "strategies", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINES.search(line)
    ]
    assert found == []
