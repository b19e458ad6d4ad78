"""Fleet files: what is read as what, what is refused, and that export gives what apply takes."""

from __future__ import annotations

import json

import pytest

from botctl.commands.fleet import fleet_text, read_fleet
from botctl.exit_codes import Fault

FLEET = b"""
bots:
  - name: alpha
    strategy: rsi
    symbol: BTC/USDT
    interval: 1m
    capital: 1000.10
    params: {period: 14, level: 1e-5, oversold: 0x10, flag: yes}
    stop_loss: 2%
    take_profit: off
    trailing_stop: 0.015
    break_even: 1%
    atr_stop: 3x14
    time_stop: off
    fraction: ~
    labels: {since: 2026-01-01}
"""


def test_scalars_stay_text_and_percentages_become_fractions():
    assert read_fleet("f", FLEET) == [
        {
            "name": "alpha",
            "strategy": "rsi",
            "symbol": "BTC/USDT",
            "interval": "1m",
            "capital": "1000.10",
            "params": {"period": "14", "level": "1e-5", "oversold": "0x10", "flag": "yes"},
            "stop_loss": "0.02",
            "trailing_stop": "0.015",
            "break_even": "0.01",
            "atr_stop": "3x14",
            "labels": {"since": "2026-01-01"},
        }
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"bots: [{name: a, x: &n 1, y: *n}]", "aliases"),
        (b"bots:\n  - name: a\n    name: b", "f:3: bots.0.name: written twice (first in line 2)"),
        (b"bots: [{name: !!python/object/apply:os.system [x]}]", "tag"),
        (b"bots: [{name: !!int 5}]", "tag"),
        (b"bots: [", "f:1: "),
        (b"a: 1\nbots: []", "unknown key 'a'"),
        (b"bots: []", "no bots"),
        (b"", "no bots"),
        (b"5", "no bots"),
        (b"bots: [{strategy: rsi}]", "no name"),
        (b"bots: [{name: a, stop_loss: 5}]", "stop_loss"),
        (b"\xff\xfe\x00", "f: "),
        (b"bots: " + b"[" * 5000, "f:1: nested too deeply"),
        (b"--- {}\n--- {}", "f:2: "),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(content, reason):
    with pytest.raises(Fault) as fault:
        read_fleet("f", content)
    assert fault.value.exit_code in (2, 78)
    assert reason in fault.value.message
    assert "\n" not in fault.value.message


def test_export_gives_what_apply_takes():
    bot = {"name": "a", "capital": "1E-8", "params": {"x": "0.10"}, "labels": {"k": 'quo"te: #'}, "stop_loss": "0.02"}
    assert read_fleet("f", fleet_text([bot]).encode()) == [bot]


def test_apply_prints_the_difference_and_plan_does_nothing(botctl, botd, tmp_path):
    changes = [
        {"name": "a", "action": "create", "diff": {}},
        {"name": "b", "action": "change", "diff": {"params.period": ["14", "21"], "stop_loss": [None, "0.02"]}},
        {"name": "c", "action": "leave", "diff": {}},
    ]
    botd.handlers["apply"] = lambda args: {"changes": changes, "applied": not args["plan"]}
    file = tmp_path / "fleet.yaml"
    file.write_bytes(FLEET)
    result = botctl("apply", "-f", str(file), "--plan")
    assert result.out == "a  create\nb  change  params.period: 14 -> 21, stop_loss: none -> 0.02\nc  leave\n"
    assert "plan only: 2 to do" in result.err
    assert json.loads(botctl("apply", "-f", str(file), "-o", "json").out) == changes
    assert [args["plan"] for args in botd.asked("apply")] == [True, False]


def test_a_file_that_is_too_large_or_missing_is_refused(botctl, tmp_path):
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (1 << 20) + b"\n#")
    assert botctl("apply", "-f", str(large)).code == 78
    assert botctl("apply", "-f", str(tmp_path / "none")).code == 2
