"""Whatever is thrown at the socket, the daemon answers or ignores; then it answers a ping, and no traceback is
sent, printed or logged."""

import logging
import os
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path

import pytest
import zmq

from botd.control.handler import Handler
from botd.control.requests import Create, SomeBots, Stop
from tests.fakes.control_daemon import ControlDaemon


async def done(args, caller):
    return {"done": True}


HANDLERS = {
    "create": Handler(done, Create, "operate"),
    "start": Handler(done, SomeBots, "operate"),
    "stop": Handler(done, Stop, "operate", True),
}


@pytest.fixture
def daemon(tmp_path, caplog, capfd):
    """A daemon that must still be well after the test."""
    caplog.set_level(logging.DEBUG)
    with ControlDaemon(tmp_path, HANDLERS) as daemon:
        yield daemon
        time.sleep(0.02)
        with daemon.client() as client:
            # the same program may just have used up its rate
            assert any(client.call("ping")["ok"] or time.sleep(0.05) for _ in range(40))
    assert daemon.problems == []
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err + caplog.text


def one_line(reply, code):
    assert set(reply) == {"id", "ok", "error"} and reply["ok"] is False
    assert set(reply["error"]) == {"code", "message", "hint"}
    assert reply["error"]["code"] == code
    text = reply["error"]["message"] + reply["error"]["hint"]
    assert text.isprintable() and "Traceback" not in text
    return reply["error"]


GOOD = b'{"id":"x","cmd":"ping"}'


@pytest.mark.parametrize(
    "frames",
    [
        (b"",),
        (b"", b""),
        (b"", b"", b"", b""),
        (b"botd/1",),
        (GOOD,),
        (b"", b"botd/1", GOOD),
        (b"botd/1", GOOD, b""),
        (b"botd/1", GOOD, b"", b"x"),
        (b"botd/1", GOOD, *(b"x",) * 2000),
        (b"", GOOD),
        (b"botd/01x", GOOD),
        (b"BOTD/1", GOOD),
        (b"botd/", GOOD),
        (b"\xff\x00\xfe", GOOD),
        (GOOD, b"botd/1"),
    ],
    ids=range(15),
)
def test_wrong_frames_are_refused(daemon, frames):
    with daemon.client() as client:
        client.raw(*frames)
        one_line(client.receive(), "INVALID")
        assert client.ping()


@pytest.mark.parametrize(
    "body, says",
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"id":"x","cmd":"ping","args":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper"),
        (b'{"id":"x","cmd":"create","args":{"spec":{"capital":NaN}}}', "NaN"),
        (b'{"id":"x","cmd":"create","args":{"spec":{"capital":Infinity}}}', "Infinity"),
        (b'{"id":"x","cmd":"create","args":{"spec":{"capital":-1e400}}}', "too large"),
        (b'{"id":"x","cmd":"ping","cmd":"stop"}', "given twice"),
        (b'{"id":"x","cmd":"ping","args":{"a":1,"a":1}}', "given twice"),
        (b'{"id":"x","cmd":"p\xc3\x28"}', "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b'[{"id":"x"}]', "not a JSON object"),
        (b"17", "not a JSON object"),
        (b"true", "not a JSON object"),
        (b'{"id":"x","cmd":"ping","args":{}} {}', "not JSON"),
        (b'{"id":"x","cmd":"ping","argz":{}}', "unknown key 'argz'"),
        (b'{"id":null,"cmd":"ping"}', "id must be"),
        (b'{"id":"x","cmd":["ping"]}', "cmd must be"),
        (b'{"id":"x","cmd":"ping","args":{"a":1}}', "unknown argument 'a'"),
        (b'{"id":"x","cmd":"start","args":{"names":["../../etc/passwd"]}}', "not a bot's name"),
        (b'{"id":"x","cmd":"start","args":{"names":["a\\u0000"]}}', "not a bot's name"),
        (b'{"id":"x","cmd":"start","args":{"names":["\\ud800"]}}', "half a surrogate"),
        (b'{"id":"x","cmd":"ping","client":"' + b"a" * 300_000 + b'"}', "too many"),
        (b'{"id":"x","cmd":"ping","args":' + b'{"a":' * 15 + b"1" + b"}" * 15 + b"}", "unknown argument"),
    ],
    ids=range(23),
)
def test_wrong_json_is_refused_in_one_line_that_finds_its_caller(daemon, body, says):
    with daemon.client() as client:
        client.raw(b"botd/1", body)
        reply = client.receive()
        assert says in one_line(reply, "INVALID")["message"]
        assert reply["id"] == ("x" if b'"id":"x"' in body else None)
        assert client.ping()


def test_an_unknown_command_is_answered_with_the_nearest_one(daemon):
    with daemon.client() as client:
        error = one_line(client.call("strat", {"all": True}), "USAGE")
        assert error == {"code": "USAGE", "message": "no command 'strat'", "hint": "did you mean start?"}
        one_line(client.call("\x1b[2J\n" * 5), "USAGE")
        one_line(client.call("zzzzzz"), "USAGE")


def test_an_unknown_key_is_answered_with_the_nearest_one(daemon):
    with daemon.client() as client:
        error = one_line(client.call("stop", {"name": ["a"]}), "INVALID")
        assert error["hint"] == "did you mean names?"


def test_another_version_is_told_which_one_is_spoken(daemon):
    with daemon.client() as client:
        error = one_line(client.call("start", {"all": True}, tag=b"botd/2"), "VERSION")
        assert "botd/1" in error["message"] and "botd/2" in error["message"]


def test_two_mebibytes_are_not_taken_and_hurt_nobody(daemon):
    with daemon.client() as client, daemon.client() as other:
        client.raw(b"botd/1", b'{"id":"x","cmd":"ping","client":"' + b"a" * 2 * 1024 * 1024 + b'"}')
        assert other.ping()
        reply = client.receive(0.3)
        assert reply is None or reply["ok"] is False


def test_a_flood_of_ten_thousand_is_told_busy_while_another_program_is_answered(daemon):
    latencies = []
    with daemon.client() as flood:

        def pour():
            for _ in range(10_000):
                flood.send("ping")

        pouring = threading.Thread(target=pour)
        pouring.start()
        answers, child = os.pipe()
        pid = os.fork()  # another program: another process id
        if pid == 0:
            with daemon.client() as client:
                for _ in range(10):
                    began = time.monotonic()
                    ok = client.call("ping")["ok"]
                    os.write(child, struct.pack("d?", time.monotonic() - began, ok))
            os._exit(0)
        os.waitpid(pid, 0)
        latencies = list(struct.iter_unpack("d?", os.read(answers, 4096)))
        os.close(answers), os.close(child)
        codes = set()
        while (reply := flood.receive(0.5)) is not None:
            codes.add("ok" if reply["ok"] else reply["error"]["code"])
        pouring.join()
    assert codes == {"ok", "BUSY"}
    assert len(latencies) == 10 and all(ok for _, ok in latencies)
    assert max(seconds for seconds, _ in latencies) < 1.0


def test_two_hundred_half_open_peers_hold_up_nobody(daemon):
    peers = []
    for number in range(200):
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(2)
        peer.connect(str(daemon.path))
        if number % 2:
            peer.sendall(b"\xff\x00\x00\x00\x00")  # half a greeting
        peers.append(peer)
    with daemon.client() as client:
        assert client.ping()
        # HANDSHAKE_IVL: who does not introduce himself within two seconds is shown out
        until = time.monotonic() + 6
        while peers and time.monotonic() < until:
            peers = [peer for peer in peers if not hung_up(peer)]
            time.sleep(0.05)
        assert peers == []
        assert client.ping()


def hung_up(peer):
    """Return whether the daemon closed the connection, reading what it sent before."""
    peer.setblocking(False)
    try:
        while peer.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    peer.close()
    return True


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" * 64,
        os.urandom(4096),
        b"\xff" + b"\x00" * 8 + b"\x7f\x03\x00CURVE" + b"\x00" * 47,
        b"\xff" + b"\x00" * 8 + b"\x7f\x03\x00NULL" + b"\x00" * 48 + b"\x04\xff" + b"A" * 300,
        b"\xff" + b"\x00" * 8 + b"\x7f\x01\x00" + b"\xff" * 64,
        b"\xff"
        + b"\x00" * 8
        + b"\x7f\x03\x00NULL"
        + b"\x00" * 48
        + b"\x06\x7f\xff\xff\xff\xff\xff\xff\xff"
        + b"B" * 64,
    ],
    ids=range(7),
)
def test_garbage_instead_of_a_greeting_is_ignored(daemon, garbage):
    with daemon.client() as client:
        for path in (daemon.path, daemon.events_path):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(path))
                try:
                    peer.sendall(garbage)
                except OSError:
                    pass
        assert client.ping()


def test_subscriptions_and_messages_of_all_kinds_do_not_disturb_the_events(daemon):
    with zmq.Context() as context, context.socket(zmq.XSUB) as peer:
        peer.linger = 0
        peer.connect(f"ipc://{daemon.events_path}")
        for message in (b"\x01", b"\x01" + b"t" * 500, b"\x00never", b"\x02other", b"", b"\x01" + b"x" * 100_000):
            peer.send(message)
        for number in range(3000):
            peer.send(b"\x01topic%d" % number)
        with context.socket(zmq.SUB) as follower:
            follower.linger, follower.rcvtimeo = 0, 5000
            follower.subscribe(b"")
            follower.connect(f"ipc://{daemon.events_path}")
            while follower.recv_multipart()[0] != b"welcome":
                pass
            event = {"seq": 1, "time_ms": 0, "topic": "bot.state", "bot": "a", "data": {}}
            daemon.on_loop(daemon.events.publish, event)
            while (heard := follower.recv_multipart())[0] != b"bot.state":
                pass
            assert b'"seq":1' in heard[1]


def test_peers_that_come_and_go_leave_nothing_behind(daemon):
    for _ in range(50):
        with daemon.client() as client:
            client.send("ping")
    with daemon.client() as client:
        until = time.monotonic() + 3
        while daemon.server._running and time.monotonic() < until:
            time.sleep(0.01)
        assert not daemon.server._running
        time.sleep(0.2)
        assert client.ping()


@pytest.fixture
def daemon_in_the_open():
    """A daemon whose directory anybody may enter (the parents of ``tmp_path`` are private)."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        with ControlDaemon(Path(directory), HANDLERS) as daemon:
            yield daemon


def test_a_foreign_user_who_gets_as_far_as_the_socket_is_refused(daemon_in_the_open, caplog):
    daemon = daemon_in_the_open
    os.chmod(daemon.path, 0o666)
    assert in_child_as(65534, lambda: try_ping(daemon)) == b"nothing"
    assert "refused uid 65534" in caplog.text
    with daemon.client() as client:
        assert client.ping()


def test_a_foreign_user_does_not_even_reach_the_socket(daemon_in_the_open):
    def connect():
        try:
            socket.socket(socket.AF_UNIX).connect(str(daemon_in_the_open.path))
        except PermissionError:
            return b"EACCES"
        return b"connected"

    assert in_child_as(65534, connect) == b"EACCES"


def try_ping(daemon):
    """Return what a user gets who may connect to the file: an answer, or nothing."""
    client = daemon.client()
    client.socket.sndtimeo = 300
    client.socket.poll(200)  # the handshake ends before anything is sent
    try:
        client.send("ping")
    except zmq.Again:
        return b"nothing"
    return b"nothing" if client.receive(0.5) is None else b"an answer"


def in_child_as(uid, function):
    """Return what ``function`` gives in a process of another user."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(writing, function())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said
