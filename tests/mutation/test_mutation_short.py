"""The campaign itself: it tells what a test notices from what none does, and leaves the tree as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mutation.mutants import Source
from tests.mutation.trial import in_fork

ROOT = Path(__file__).parents[2]

SHOP = '''"""A shop."""

from enum import Enum


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


DEAR = {Size.LARGE: 7}
SPARE = True


def total(price, count):
    return price * count


def rebate(price):
    if price > 100:
        return DEAR[Size.LARGE]
    return -0


def make(step):
    def add(value):
        return value + step

    return add
'''

TESTS = """from shop import make, rebate, total


def test_total():
    assert total(3, 4) == 12


def test_rebate():
    assert rebate(101) == 7 and rebate(99) == 0


ADD = make(2)


def test_add():
    assert ADD(5) == 7
"""

NOTES = """# of the shop
shop.py rebate
- return -0
+ return 0
= nothing is nothing
- return 9
+ return 8
= it was so once
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for name, text in (("shop.py", SHOP), ("test_shop.py", TESTS), ("notes.txt", NOTES)):
        (tmp_path / name).write_text(text)
    return tmp_path


def _campaign(shop: Path) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "tests.mutation", "--source", "shop.py", "--tests", "test_shop.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, "--notes", "notes.txt"],
        cwd=shop,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def test_what_a_test_notices_and_what_none_does_are_told_apart(shop: Path) -> None:
    code, lines = _campaign(shop)
    survivors = [tuple(lines[at : at + 3]) for at, line in enumerate(lines) if line.endswith("(survived)")]
    assert survivors == [
        ("shop.py:20 rebate (survived)", "  - if price > 100:", "  + if price >= 100:"),
        ("shop.py:20 rebate (survived)", "  - if price > 100:", "  + if price > 99:"),
        ("shop.py:12  (survived)", "  - SPARE = True", "  + SPARE = False"),
    ]
    assert [line for line in lines if "no such change" in line] == [
        "  no such change any more: ('shop.py', 'rebate', 'return 9', 'return 8', 1)"
    ]
    told = "19 changes: 15 killed, 3 survived, 1 equivalent; 83.3% noticed"
    assert lines[-1].startswith(told) and code == 1  # below nine of ten
    assert sorted(path.name for path in shop.iterdir() if path.suffix) == ["notes.txt", "shop.py", "test_shop.py"]


def test_tests_that_fail_where_nothing_is_changed_are_no_campaign(shop: Path) -> None:
    (shop / "test_shop.py").write_text("def test_shop():\n    assert False\n")
    code, lines = _campaign(shop)
    assert code == 1 and lines[-1] == "  a test fails where nothing is changed: test_shop.py::test_shop"


def test_changes_are_small_and_leave_texts_annotations_and_log_lines_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.py"
    path.write_text(
        '"""A page."""\n\nimport logging\n\nlogger = logging.getLogger("x")\n\n\n'
        "def words(many: int | None = 3) -> str:\n"
        '    """Say."""\n'
        '    logger.info("said %s", 5)\n'
        "    if not many and 1 < 2:\n"
        '        return f"{many + 1}"\n'
        '    return ""\n'
    )
    found = [(mutant.function, mutant.minus, mutant.plus) for mutant in Source(path).mutants]
    line, default = "if not many and 1 < 2:", "def words(many: int | None = 3) -> str:"
    assert found == [
        ("", default, "def words(many: int | None = 4) -> str:"),
        ("", default, "def words(many: int | None = 2) -> str:"),
        ("words", line, "if not many or 1 < 2:"),
        ("words", line, "if not (not many and 1 < 2):"),
        ("words", line, "if many and 1 < 2:"),
        ("words", line, "if not many and 1 <= 2:"),
        ("words", line, "if not many and 2 < 2:"),
        ("words", line, "if not many and 0 < 2:"),
        ("words", line, "if not many and 1 < 3:"),
        ("words", line, "if not many and 1 < 1:"),
        ("words", 'return f"{many + 1}"', "return None"),
    ]


def _sleep(seconds: float) -> int:
    time.sleep(seconds)
    return 0


def test_a_mutant_that_does_not_end_is_ended() -> None:
    began = time.monotonic()
    assert in_fork(lambda: _sleep(60), 0.2) is None
    assert time.monotonic() - began < 30
    assert in_fork(lambda: 0, 30.0) == 0 and in_fork(lambda: 1, 30.0) == 1
