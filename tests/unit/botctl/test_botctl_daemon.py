"""The verbs about the daemon, and what works without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from tests.fakes.fake_botd import FakeBotd
from tests.unit.botctl.conftest import HELLO


def test_status_is_3_where_nothing_runs(botctl):
    result = botctl("daemon", "status")
    assert (result.code, result.out) == (3, "botd is not running\n")
    assert json.loads(botctl("daemon", "status", "-o", "json").out) == {"running": False}


@pytest.mark.parametrize(("source", "exchange"), [("synthetic", "simulated"), ("exchange", "binance")])
def test_status_names_an_exchange_only_where_one_is_connected(botctl, botd, source, exchange):
    botd.handlers["hello"] = lambda args: {**HELLO, "source": source, "exchange": "binance"}
    assert f"exchange   {exchange}\n" in botctl("daemon", "status").out
    assert json.loads(botctl("daemon", "status", "-o", "json").out)["exchange"] == "binance"


def test_status_shows_process_and_world(botctl, botd):
    result = botctl("daemon", "status", "-o", "json")
    assert result.code == 0
    assert json.loads(result.out).items() >= {"running": True, "pid": 1, "source": "synthetic"}.items()
    assert "botd is running" in botctl("daemon", "status").out


def test_ping_tells_milliseconds(botctl, botd):
    botd.handlers["ping"] = lambda args: {"pong": True, "time": "2026-01-01T00:00:00Z"}
    assert botctl("daemon", "ping").out.startswith("pong in ")
    assert json.loads(botctl("daemon", "ping", "-o", "json").out)["ms"] > 0


def test_stop_returns_when_socket_and_process_are_gone(botctl, tmp_path):
    path = tmp_path / "s"
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    fake = FakeBotd(path, {"hello": lambda args: {**HELLO, "pid": sleeper.pid}})

    def end():
        fake.__exit__()
        sleeper.kill()
        sleeper.wait()

    def shutdown(args):
        threading.Timer(0.2, end).start()
        return {"stopping": True}

    fake.handlers["shutdown"] = shutdown
    with fake:
        result = botctl("daemon", "stop", "--endpoint", str(path))
    assert (result.code, path.exists()) == (0, False)
    with pytest.raises(ProcessLookupError):  # not poll(): the thread that reaped it may not have told yet
        os.kill(sleeper.pid, 0)


def test_stop_of_nothing_is_done_already(botctl):
    assert botctl("daemon", "stop").code == 0


def test_start_runs_botd_and_returns_its_exit_code(botctl, monkeypatch, tmp_path):
    script = tmp_path / "botd"
    script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nexit 75\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.delenv("BOTD_STATE_DIR")
    assert botctl("daemon", "start", "--config", "my.yaml").code == 75
    assert (tmp_path / "arguments").read_text().split() == ["--daemon", "--config", os.path.abspath("my.yaml")]


def test_reload_tells_what_changed_and_what_waits(botctl, botd):
    botd.handlers["reload"] = lambda args: {"changed": ["log.level"], "restart_needed": ["market.speed"]}
    assert botctl("daemon", "reload").out == "changed: log.level\nneeds a restart: market.speed\n"


def test_backup_prints_where_it_is(botctl, botd):
    botd.handlers["backup"] = lambda args: {"path": "/b/ledger.db", "bytes": 4096, "verified": True, "seconds": 0.1}
    assert botctl("backup", "--verify").out == "/b/ledger.db  4,096 bytes  verified\n"
    assert botd.asked("backup") == [{"verify": True}]


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("degraded", 1), ("failed", 1)])
def test_health_is_an_exit_code(botctl, botd, status, code):
    checks = [{"name": "ledger", "status": status, "detail": "x"}]
    botd.handlers["health"] = lambda args: {"status": status, "version": "0.1.0", "checks": checks}
    assert botctl("health").code == code
    assert botctl("health", "-o", "json").code == code
    assert botctl("health", "-q").out == ""


@pytest.mark.parametrize(("state", "code"), [("running", 0), ("stopped", 3)])
def test_show_check_is_an_exit_code(botctl, botd, state, code):
    from tests.unit.botctl.conftest import bot_row

    botd.handlers["show"] = lambda args: bot_row("a", state=state)
    assert botctl("show", "a", "--check").code == code
    assert botctl("show", "a").code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(botctl, shell):
    result = botctl("completion", shell)
    assert result.code == 0
    assert "_BOTCTL_COMPLETE" in result.out


def complete(process, words, **more):
    environment = {**os.environ, "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = process(env={**environment, "_BOTCTL_COMPLETE": "bash_complete", **more})
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.split()]


def test_the_tab_key_completes_bots_symbols_and_strategies(process, botd):
    botd.handlers["ls"] = lambda args: {"rows": [{"name": "alpha"}, {"name": "beta"}], "next": None}
    botd.handlers["symbols"] = lambda args: {"rows": [{"symbol": "BTC/USDT"}]}
    assert complete(process, "botctl start al") == ["alpha"]
    assert complete(process, "botctl candles b") == ["BTC/USDT"]
    assert complete(process, "botctl create x --strategy r") == ["rsi"]
    assert complete(process, "botctl flat") == ["flatten"]


def test_the_tab_key_is_silent_where_no_daemon_answers(process, botd, tmp_path):
    botd.handlers["ls"] = lambda args: ...
    assert complete(process, "botctl start al") == []
    assert complete(process, "botctl start al", BOTCTL_ENDPOINT=str(tmp_path / "none")) == []


def test_what_needs_no_daemon_works_without_one(botctl, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "[Service]" in botctl("daemon", "unit").out
    assert "rsi" in botctl("strategies").out
    names = [row["name"] for row in json.loads(botctl("strategies", "rsi", "-o", "json").out)["parameters"]]
    assert names == ["period", "oversold", "overbought"]
    assert botctl("strategies", "rsy").code == 4
    file = tmp_path / "botd.yaml"
    assert botctl("config", "init", str(file)).code == 0
    assert botctl("config", "init", str(file)).code == 5
    inside = botctl("config", "init", str(file / "deeper" / "botd.yaml"))
    assert inside.code == 77 and "is not a directory" in inside.err
    assert botctl("config", "check", str(file)).code == 0
    file.write_text("nonsense: 1\n")
    result = botctl("config", "check", str(file))
    assert result.code == 78
    assert result.err.startswith("botctl: error: ")
