"""What botctl says of a damaged copy, of warnings that actions bring, of a start that failed, and where logs lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_a_damaged_copy_is_kept_named_and_exits_1(botctl: Any, botd: Any) -> None:
    made = {"path": "/b/l-damaged.db", "bytes": 10, "verified": False, "damage": "a row of fills (7)", "seconds": 0.1}
    botd.handlers["backup"] = lambda args: made
    result = botctl("backup", "--verify")
    assert (result.code, result.out) == (1, "/b/l-damaged.db  10 bytes  DAMAGED\n")
    assert "the ledger is damaged, and so is the copy: a row of fills (7)" in result.err


def test_warnings_of_an_action_are_told_also_when_quiet(botctl: Any, botd: Any) -> None:
    row = {"name": "a", "before": "running", "after": "running", "result": "changed", "detail": "", "error": None}
    botd.handlers["set"] = lambda args: {"rows": [{**row, "warnings": ["no stop any more"]}]}
    result = botctl("set", "-q", "a", "stop_loss=off")
    assert (result.code, result.out, result.err) == (0, "", "botctl: warning: a: no stop any more\n")


@pytest.mark.parametrize(("error", "code"), [(None, 0), ({"code": "WRONG_STATE", "message": "no key", "hint": ""}, 1)])
def test_a_bot_that_was_made_and_could_not_start_exits_1(botctl: Any, botd: Any, error: Any, code: int) -> None:
    made = {"name": "a", "number": 1, "result": "created", "state": "stopped", "warnings": [], "largest_order": None}
    botd.handlers["create"] = lambda args: {**made, "detail": "no key", "start_error": error}
    spec = ("--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "10")
    result = botctl("create", "a", *spec, "--live", "--start")
    assert (result.code, result.out) == (code, "a  created  stopped  no key\n")


def test_without_a_daemon_logs_names_its_file_and_backup_the_way(
    botctl: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BOTCTL_ENDPOINT", str(tmp_path / "control.sock"))
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "botd.log"
    assert botctl("logs").code == 69 and "its log is" not in botctl("logs").err
    log.write_text("x\n")
    for options in ((), ("-o", "json")):
        result = botctl("logs", *options)
        assert result.code == 69 and f"its log is {log}" in result.err
    result = botctl("backup")
    assert result.code == 69 and "copy its whole state directory" in result.err
