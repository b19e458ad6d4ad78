"""Finding the daemon and talking to it: which paths, what is told apart, what a lost answer means."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from botctl import client
from botctl.client import DENIED, LISTENING, MISSING, NO_SOCKET, REFUSED, Client, candidates, locate, probe
from botctl.exit_codes import Fault
from tests.fakes.fake_botd import FakeBotd, Refusal


def stale(path: Path) -> Path:
    """Leave a socket file behind that nobody listens on, as a killed daemon does."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    return path


def test_the_users_own_socket_is_tried_before_the_systems(tmp_path, monkeypatch):
    monkeypatch.setenv("BOTD_STATE_DIR", str(tmp_path))
    assert candidates(None) == [str(tmp_path / "control.sock"), "/run/botd/control.sock"]


def test_a_given_endpoint_is_the_only_one_tried_as_path_or_as_ipc_address(monkeypatch):
    assert candidates("/a/b.sock") == candidates("ipc:///a/b.sock") == ["/a/b.sock"]
    monkeypatch.setenv("BOTCTL_ENDPOINT", "ipc:///c.sock")
    assert candidates(None) == ["/c.sock"]
    assert candidates("/a") == ["/a"]


def test_the_home_comes_from_the_user_database_where_the_environment_has_none(monkeypatch):
    import pwd

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("BOTD_STATE_DIR")
    home = pwd.getpwuid(os.getuid()).pw_dir
    assert candidates(None)[0] == f"{home}/.local/state/botd/control.sock"


def test_a_path_that_no_socket_can_have_is_a_configuration_error():
    with pytest.raises(Fault) as fault:
        candidates("/" + "x" * 107)
    assert fault.value.exit_code == 78
    assert candidates("/" + "x" * 106)


def test_another_transport_is_a_usage_error():
    with pytest.raises(Fault) as fault:
        candidates("tcp://127.0.0.1:5555")
    assert fault.value.exit_code == 2


def test_the_probe_tells_missing_stale_and_listening_apart(tmp_path, botd):
    assert probe(str(botd.path)) == LISTENING
    assert probe(str(stale(tmp_path / "stale"))) == REFUSED
    assert probe(str(tmp_path / "nothing")) == MISSING
    (tmp_path / "file").write_text("")
    assert probe(str(tmp_path / "file")) == NO_SOCKET
    assert probe(str(tmp_path / "file" / "below")) == MISSING


def test_an_endpoint_that_is_a_file_is_said_to_be_no_socket(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Fault, match="file: not a socket") as refused:
        locate(str(tmp_path / "file"))
    assert refused.value.exit_code == 69 and "killed" not in refused.value.message


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_no_permission_is_told_apart_and_exits_77(tmp_path):
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    stale(shut / "s")
    child = os.fork()
    if child == 0:  # a stranger: neither root nor the owner
        try:
            os.setuid(65534)
            assert probe(str(shut / "s")) == DENIED
            try:
                locate(str(shut / "s"))
            except Fault as fault:
                os._exit(fault.exit_code)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77


def test_a_failure_names_every_path_tried_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("BOTD_STATE_DIR", str(tmp_path))
    stale(tmp_path / "control.sock")
    monkeypatch.setattr(client, "SYSTEM_SOCKET", str(tmp_path / "none"))
    with pytest.raises(Fault) as fault:
        locate(None)
    assert fault.value.exit_code == 69
    assert "control.sock: nobody listens" in fault.value.message
    assert f"{tmp_path}/none: no such socket" in fault.value.message
    assert fault.value.hint == "start one with: botctl daemon start"


def test_a_call_returns_the_result_and_sends_its_deadline(botd):
    botd.handlers["ping"] = lambda args: {"pong": True}
    assert Client(str(botd.path)).call("ping", {}, 2.5) == {"pong": True}
    assert botd.requests[-1]["deadline_ms"] == 2500


def test_a_refusal_carries_the_reason_the_hint_and_the_exit_code(botd):
    def refuse(args):
        raise Refusal("NOT_FOUND", "alpha: no such bot", "did you mean alfa?")

    botd.handlers["show"] = refuse
    with pytest.raises(Fault) as fault:
        Client(str(botd.path)).call("show", {"name": "alpha"})
    assert (fault.value.exit_code, fault.value.message) == (4, "alpha: no such bot")
    assert fault.value.hint == "did you mean alfa?"


def test_no_answer_in_time_is_75(botd):
    botd.handlers["show"] = lambda args: ...
    with pytest.raises(Fault) as fault:
        Client(str(botd.path)).call("show", {}, 0.1)
    assert fault.value.exit_code == 75


def test_a_daemon_that_goes_away_before_it_answers_is_69_at_once(tmp_path):
    path = tmp_path / "s"
    with FakeBotd(path, {"show": lambda args: ...}) as fake:
        threading.Timer(0.1, fake.__exit__).start()
        began = time.monotonic()
        with pytest.raises(Fault) as fault:
            Client(str(path)).call("show", {}, 20)
    assert fault.value.exit_code == 69
    assert time.monotonic() - began < 5


def test_a_busy_daemon_is_asked_again_within_the_timeout(botd):
    answers = iter([True, True, False])

    def sometimes(args):
        if next(answers):
            raise Refusal("BUSY", "too many requests")
        return {"pong": True}

    botd.handlers["ping"] = sometimes
    assert Client(str(botd.path)).call("ping", {}, 5) == {"pong": True}


def test_pages_are_read_to_the_end(botd):
    pages = {None: ([1, 2], "a"), "a": ([3], "b"), "b": ([4], None)}
    botd.handlers["orders"] = lambda args: dict(zip(("rows", "next"), pages[args.get("cursor")], strict=True))
    assert list(Client(str(botd.path)).rows("orders")) == [1, 2, 3, 4]
