"""Which daemon is started: the configuration says it, and an endpoint that names another is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.botctl.conftest import Result

Botctl = Callable[..., Result]


@pytest.fixture
def month(tmp_path: Path) -> Path:
    """A configuration with a state directory of its own."""
    file = tmp_path / "month.yaml"
    file.write_text("state_dir: ./month\n")
    return file


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[str]]:
    """A botd that only notes what it was started with."""
    script, note = tmp_path / "botd", tmp_path / "arguments"
    script.write_text(f'#!/bin/sh\necho "$@" >> {note}\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.delenv("BOTD_STATE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    return lambda: note.read_text().splitlines() if note.exists() else []


def test_start_says_which_socket_and_which_state(botctl: Botctl, started, month: Path, tmp_path: Path) -> None:
    result = botctl("daemon", "start", "--config", str(month))
    assert (result.code, started()) == (0, [f"--daemon --config {month}"])
    assert f"botd is running: socket {tmp_path}/month/control.sock, state in {tmp_path}/month\n" in result.err
    assert f"export BOTCTL_ENDPOINT={tmp_path}/month/control.sock" in result.err
    result = botctl("daemon", "start")
    assert f"state in {tmp_path}/.local/state/botd\n" in result.err and "export" not in result.err


def test_start_warns_of_what_botd_finds_in_its_ledger(botctl: Botctl, botd, started, month: Path, monkeypatch) -> None:
    monkeypatch.delenv("BOTCTL_ENDPOINT")
    month.write_text(f"state_dir: ./month\ncontrol: {{socket: {botd.path}}}\n")
    answers = iter([{"ledger_checked": False, "warnings": ["it is being checked"]}, {"ledger_checked": True}])
    botd.handlers["hello"] = lambda args: {**next(answers), "warnings": ["ledger is damaged: a row; do this"]}
    result = botctl("daemon", "start", "--config", str(month))
    assert result.code == 0 and result.err.endswith("botctl: warning: ledger is damaged: a row; do this\n")
    assert len(botd.asked("hello")) == 2


def test_an_endpoint_of_another_daemon_is_refused(botctl: Botctl, started, month: Path, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("BOTCTL_ENDPOINT", f"{tmp_path}/month/control.sock")
    result = botctl("daemon", "start")
    assert (result.code, started()) == (2, [])
    assert f"$BOTCTL_ENDPOINT is {tmp_path}/month/control.sock, but botd would listen on" in result.err
    assert "give --config FILE, the configuration with that socket, or unset BOTCTL_ENDPOINT" in result.err
    result = botctl("daemon", "start", "--config", str(month), "--endpoint", f"{tmp_path}/other.sock")
    assert (result.code, started()) == (2, []) and f"--endpoint is {tmp_path}/other.sock" in result.err
    assert botctl("daemon", "start", "--config", str(month)).code == 0
    assert len(started()) == 1


def test_restart_into_another_daemon_is_refused_before_anything_stops(
    botctl: Botctl, botd, started, month: Path
) -> None:
    assert botctl("daemon", "restart", "--config", str(month)).code == 2
    assert botd.asked("shutdown") == [] and started() == []


def test_the_hint_names_the_configuration_where_one_is_needed(botctl: Botctl, monkeypatch, tmp_path) -> None:
    assert "start one with: botctl daemon start\n" in botctl("ls").err
    monkeypatch.setenv("BOTCTL_ENDPOINT", f"{tmp_path}/month/control.sock")
    assert "botctl daemon start --config FILE (the configuration with this socket)" in botctl("ls").err
    monkeypatch.setenv("BOTD_CONFIG", "/etc/month.yaml")
    assert "botctl daemon start --config /etc/month.yaml" in botctl("daemon", "status").err
