"""Requests over a real socket: answers, deadlines, ids that come again, roles, versions, limits, the file."""

import asyncio
import logging
import os
import threading
import time
from decimal import Decimal

import msgspec
import pytest
import zmq

from botd.control.access import AccessPolicy
from botd.control.curve import create_key_file, load_keys
from botd.control.door import CurveDoor
from botd.control.handler import Handler
from botd.control.limits import Limits
from botd.control.memory import Remembered
from botd.control.requests import COMMANDS, Nothing, Stop
from botd.domain.clock import VirtualClock, WallClock
from botd.domain.errors import ConfigError, NotFoundError
from tests.fakes.control_daemon import UNLIMITED, ControlClient, ControlDaemon


def operate(fn, cmd="create"):
    return Handler(fn, Nothing, "operate", COMMANDS[cmd].cross_version)


class Counted:
    """A handler that counts its runs and finishes when the test lets it."""

    def __init__(self, finished=True):
        self.runs = 0
        self.may_finish = threading.Event()
        if finished:
            self.may_finish.set()

    async def __call__(self, args, caller):
        self.runs += 1
        run = self.runs
        while not self.may_finish.is_set():
            await asyncio.sleep(0.005)
        return {"run": run}


@pytest.fixture
def serve(tmp_path):
    """Return a function that starts a daemon (closed at the end), and hands out clients."""
    opened = []

    def start(handlers=None, **options):
        daemon = ControlDaemon(tmp_path, handlers, **options).__enter__()
        opened.append(daemon)
        return daemon

    yield start
    for daemon in opened:
        daemon.__exit__()
        assert daemon.problems == []
        assert not daemon.path.exists() and not daemon.events_path.exists()


def test_a_request_is_answered_and_the_caller_is_whom_the_kernel_names(serve):
    with serve().client() as client:
        assert client.call("ping")["result"] == {
            "pong": True,
            "uid": os.geteuid(),
            "pid": os.getpid(),
            "role": "operator",
        }


def test_a_refusal_carries_code_message_and_hint(serve):
    async def show(args, caller):
        raise NotFoundError("alpha: no such bot", "see: botctl ls")

    with serve({"show": Handler(show, Nothing, "read")}).client() as client:
        reply = client.call("show")
    assert reply["error"] == {"code": "NOT_FOUND", "message": "alpha: no such bot", "hint": "see: botctl ls"}


def test_an_unexpected_failure_gives_a_reference_and_its_traceback_stays_in_the_log(serve, caplog):
    async def show(args, caller):
        raise RuntimeError("secret detail")

    with caplog.at_level(logging.ERROR), serve({"show": Handler(show, Nothing, "read")}).client() as client:
        error = client.call("show")["error"]
        assert client.ping()
    assert error["code"] == "INTERNAL"
    assert "secret" not in str(error) and "Traceback" not in str(error)
    reference = error["message"].split()[-1]
    assert reference in caplog.text and "secret detail" in caplog.text


def test_a_reply_that_cannot_be_encoded_or_is_too_large_is_an_error(serve, caplog):
    async def odd(args, caller):
        return object()

    async def large(args, caller):
        return ["x" * 1000] * 9000

    handlers = {"show": Handler(odd, Nothing, "read"), "ls": Handler(large, Nothing, "read")}
    with serve(handlers).client() as client:
        assert client.call("show")["error"]["code"] == "INTERNAL"
        assert "cursor" in client.call("ls")["error"]["hint"]


def test_amounts_go_out_as_text(serve):
    async def show(args, caller):
        return {"capital": Decimal("0.10"), "ratio": float("nan")}

    with serve({"show": Handler(show, Nothing, "read")}).client() as client:
        assert client.call("show")["result"] == {"capital": "0.10", "ratio": None}


# -- deadlines and repeated ids


def test_a_deadline_ends_the_waiting_and_not_the_work(serve):
    slow = Counted(finished=False)
    with serve({"create": operate(slow)}).client() as client:
        error = client.call("create", id="one", deadline_ms=50)["error"]
        assert error["code"] == "TIMEOUT" and "0.05 s" in error["message"]
        slow.may_finish.set()
        assert client.call("create", id="one")["result"] == {"run": 1}
    assert slow.runs == 1


def test_a_repeated_id_gets_the_first_answer_and_nothing_is_done_twice(serve):
    counted = Counted()
    daemon = serve({"create": operate(counted)})
    with daemon.client() as client, daemon.client() as other:
        assert client.call("create", id="one") == other.call("create", id="one")
        assert client.call("create", id="two")["result"] == {"run": 2}
    assert counted.runs == 2


def test_a_failure_is_a_first_answer_too(serve):
    runs = []

    async def create(args, caller):
        runs.append(1)
        raise NotFoundError("no such strategy")

    with serve({"create": operate(create)}).client() as client:
        assert client.call("create", id="one") == client.call("create", id="one")
    assert len(runs) == 1


def test_a_repeat_while_the_first_is_at_work_waits_for_its_answer(serve):
    slow = Counted(finished=False)
    daemon = serve({"create": operate(slow)})
    with daemon.client() as client, daemon.client() as other:
        client.send("create", id="one")
        other.send("create", id="one")
        assert client.receive(0.1) is None and other.receive(0.05) is None
        slow.may_finish.set()
        assert client.receive()["result"] == other.receive()["result"] == {"run": 1}


def test_an_id_that_comes_again_with_other_arguments_is_a_conflict(serve):
    async def stop(args, caller):
        return {"close": args.close}

    with serve({"stop": Handler(stop, Stop, "operate", True)}).client() as client:
        assert client.call("stop", {"all": True}, id="one")["ok"]
        assert client.call("stop", {"all": True, "close": True}, id="one")["error"]["code"] == "CONFLICT"


def test_reads_are_answered_again(serve):
    counted = Counted()
    with serve({"show": Handler(counted, Nothing, "read")}).client() as client:
        assert [client.call("show", id="one")["result"]["run"] for _ in range(2)] == [1, 2]


def test_a_refused_request_may_come_again_under_its_id(serve):
    counted = Counted()
    with serve({"create": operate(counted)}).client() as client:
        assert client.call("create", {"wrong": 1}, id="one")["error"]["code"] == "INVALID"
        assert client.call("create", id="one")["result"] == {"run": 1}


def test_commands_are_recorded_and_recalled_after_a_restart(serve, tmp_path):
    kept = []

    async def record(request_id, caller, cmd, args, reply):
        value = msgspec.json.decode(bytes(reply))  # as the ledger gives it back
        kept.append((request_id, Remembered(caller.uid, cmd, args, value, WallClock().wall_ms())))

    async def recall(request_id):
        return [row for kept_id, row in kept if kept_id == request_id]

    counted = Counted()
    handlers = {"create": operate(counted), "show": Handler(counted, Nothing, "read")}
    with ControlDaemon(tmp_path, handlers, record=record, recall=recall) as daemon, daemon.client() as client:
        first = client.call("create", id="one")
        client.call("show", id="two")
    assert [request_id for request_id, _ in kept] == ["one"]
    with serve(handlers, record=record, recall=recall).client() as client:
        assert client.call("create", id="one") == first
        assert client.call("create", id="three")["result"] == {"run": 3}
    kept[0] = ("one", Remembered(os.geteuid() + 1, "create", {}, "{}", WallClock().wall_ms()))
    kept[1] = ("three", Remembered(os.geteuid(), "create", {}, "{}", 0))
    with ControlDaemon(tmp_path / "2", handlers, recall=recall) as daemon, daemon.client() as client:
        assert client.call("create", id="one")["result"] == {"run": 4}  # another user's
        assert client.call("create", id="three")["result"] == {"run": 5}  # from long ago


def test_without_the_ledgers_memory_nothing_is_done_but_halt_is(serve):
    async def recall(request_id):
        raise OSError("disk")

    async def record(*args):
        raise OSError("disk")

    counted = Counted()
    handlers = {"create": operate(counted), "halt": operate(counted, "halt")}
    with serve(handlers, recall=recall, record=record).client() as client:
        assert client.call("create")["error"]["code"] == "UNAVAILABLE"
        assert counted.runs == 0
        assert client.call("halt")["result"] == {"run": 1}


def test_a_client_killed_in_mid_request_disturbs_nobody_and_its_work_is_done(serve):
    slow = Counted(finished=False)
    daemon = serve({"create": operate(slow)})
    pid = os.fork()
    if pid == 0:
        client = daemon.client()
        client.send("create", id="one")
        client.socket.poll(10_000)
        os._exit(0)
    with daemon.client() as client:
        until = time.monotonic() + 5
        while not slow.runs and time.monotonic() < until:
            client.ping()
            time.sleep(0.03)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        slow.may_finish.set()
        assert client.call("create", id="one")["result"] == {"run": 1}
        assert client.ping()


# -- versions and roles


def test_a_few_commands_work_across_versions_and_all_others_say_version(serve):
    counted = Counted()
    handlers = {
        "halt": operate(counted, "halt"),
        "stop": Handler(counted, Stop, "operate", True),
        "create": operate(counted),
    }
    with serve(handlers).client() as client:
        assert client.call("ping", {"new": 1}, tag=b"botd/2", extra=1)["ok"]
        assert client.call("halt", {"new": 1}, tag=b"botd/9")["ok"]
        assert client.call("stop", {"all": True, "new": 1}, tag=b"botd/2")["ok"]
        for cmd, args in (("stop", {"names": ["a"]}), ("create", {}), ("nonsense", {})):
            assert client.call(cmd, args, tag=b"botd/2")["error"]["code"] == "VERSION"
        client.raw(b"botd/2", b"\x00 another encoding")
        assert client.receive()["error"]["code"] == "VERSION"
        client.raw(b"http/1", b'{"id":"x","cmd":"ping"}')
        assert client.receive()["error"]["code"] == "INVALID"


def test_a_viewer_looks_and_does_not_operate(serve):
    class Viewing(AccessPolicy):
        def is_owner(self, uid):
            return False

        def role(self, uid, gid):
            return "viewer"

    counted = Counted()
    with serve({"halt": operate(counted, "halt")}, policy=Viewing(1)).client() as client:
        assert client.call("ping")["result"]["role"] == "viewer"
        assert client.call("halt")["error"]["code"] == "FORBIDDEN"
    assert counted.runs == 0


# -- limits


def test_sixty_four_requests_are_at_work_then_busy_but_halt_finds_a_place(serve):
    slow, halt = Counted(finished=False), Counted()
    daemon = serve({"show": Handler(slow, Nothing, "read"), "halt": operate(halt, "halt")}, limits=UNLIMITED)
    with daemon.client() as client, daemon.client() as other:
        for _ in range(64):
            client.send("show")
        assert client.call("show")["error"]["code"] == "BUSY"
        assert other.call("halt")["result"] == {"run": 1}
        assert other.ping()
        slow.may_finish.set()
        assert sum(client.receive()["ok"] for _ in range(64)) == 64
        assert client.ping()


def test_repeats_that_wait_are_bounded(serve):
    slow = Counted(finished=False)
    with serve({"create": operate(slow)}, limits=Limits(waiters=3, burst=100)).client() as client:
        for _ in range(3):
            client.send("create", id="one")
        assert client.call("create", id="one")["error"]["code"] == "BUSY"
        slow.may_finish.set()
        assert [client.receive()["result"]["run"] for _ in range(3)] == [1, 1, 1]


def test_fifty_a_second_per_peer_then_busy(serve):
    with serve(clock=VirtualClock()).client() as client:  # no time passes, no place comes back
        for _ in range(80):
            client.send("ping")
        replies = [client.receive() for _ in range(80)]
        assert sum(reply["ok"] for reply in replies) == 50
        assert {reply["error"]["code"] for reply in replies if not reply["ok"]} == {"BUSY"}
        assert all(reply["id"] for reply in replies)


# -- life


def test_what_is_at_work_at_the_end_is_waited_for_then_told(tmp_path):
    quick, stuck = Counted(finished=False), Counted(finished=False)
    handlers = {"show": Handler(quick, Nothing, "read"), "ls": Handler(stuck, Nothing, "read")}
    with ControlDaemon(tmp_path, handlers) as daemon, daemon.client() as client:
        client.send("show", id="quick")
        client.send("ls", id="stuck")
        client.ping()
        closing = asyncio.run_coroutine_threadsafe(daemon.server.close(0.5), daemon.loop)
        daemon.run(asyncio.sleep(0))  # twice through the loop: the closing has begun
        daemon.run(asyncio.sleep(0))
        assert client.call("ping")["error"]["code"] == "UNAVAILABLE"
        quick.may_finish.set()
        assert client.receive()["result"] == {"run": 1}
        assert client.receive()["error"]["code"] == "UNAVAILABLE"
        closing.result(5)
    assert daemon.problems == []


@pytest.mark.parametrize("replaced", [False, True])
def test_a_removed_socket_file_is_bound_again_and_connected_peers_stay(serve, replaced):
    daemon = serve()
    with daemon.client() as before:
        assert before.ping()
        daemon.path.unlink()
        daemon.events_path.unlink()
        if replaced:
            with zmq.Context() as context, context.socket(zmq.ROUTER) as thief:
                thief.bind(f"ipc://{daemon.path}")
                daemon.on_loop(daemon.doors[0].watch)
        else:
            daemon.on_loop(daemon.doors[0].watch)
        daemon.on_loop(daemon.events._on_timer)
        assert daemon.events_path.exists()
        assert os.stat(daemon.path).st_mode & 0o777 == 0o600
        with daemon.client() as after:
            assert after.ping() and before.ping()


def test_a_start_that_fails_leaves_nothing_open(tmp_path):
    (tmp_path / "events.sock").write_text("no socket")
    daemon = ControlDaemon(tmp_path)
    with pytest.raises(ConfigError):
        daemon.__enter__()
    assert daemon.path.exists()
    daemon.__exit__()
    assert not daemon.path.exists()
    assert (tmp_path / "events.sock").read_text() == "no socket"


# -- tcp


def is_refused(client):
    """A connection that is not admitted is closed before a request gets through."""
    client.socket.sndtimeo = 300
    try:
        client.send("ping")
    except zmq.Again:
        return True
    return client.receive(0.3) is None


def test_over_tcp_only_the_keys_of_the_list_come_in(serve, tmp_path):
    server_key = create_key_file(tmp_path)
    friend, viewer, stranger = (zmq.curve_keypair() for _ in range(3))
    listed = f"{friend[0].decode()} operator\n{viewer[0].decode()} viewer phone\n"
    (tmp_path / "curve.allow").write_text(listed)
    (tmp_path / "curve.allow").chmod(0o600)
    keys = load_keys(tmp_path)
    counted = Counted()
    daemon = serve(
        {"halt": operate(counted, "halt")},
        zap_keys=keys.clients,
        doors=lambda context: [CurveDoor(context, "tcp://127.0.0.1:0", keys)],
    )
    url = daemon.doors[1].bound

    def curve(pair):
        def prepare(socket):
            socket.curve_publickey, socket.curve_secretkey = pair
            socket.curve_serverkey = server_key

        return ControlClient(url, prepare)

    with curve(friend) as client:
        assert client.call("ping")["result"] == {"pong": True, "uid": -1, "pid": 0, "role": "operator"}
        assert client.call("halt")["ok"]
    with curve(viewer) as client:
        assert client.call("halt")["error"]["code"] == "FORBIDDEN"
    for refused in (curve(stranger), ControlClient(url)):
        with refused as client:
            assert is_refused(client)
    assert counted.runs == 1
    with pytest.raises(ConfigError, match=r"control\.tcp"):
        CurveDoor(zmq.Context.instance(), "ipc://here.sock", keys)


# -- events


def follow(daemon, topic=b""):
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    socket.subscribe(topic)
    socket.connect(f"ipc://{daemon.events_path}")
    return context, socket


def next_event(socket, *wanted):
    while socket.poll(3000):
        topic, body = socket.recv_multipart()
        if topic.decode() in wanted:
            return msgspec.json.decode(body)
    raise AssertionError(f"none of {wanted}")


def event(seq, topic="bot.state", **data):
    return {"seq": seq, "time_ms": 1_767_225_600_000, "topic": topic, "bot": "alpha", "data": data}


def test_a_follower_is_welcomed_then_hears_every_event_and_the_heartbeats(serve):
    daemon = serve()
    daemon.on_loop(daemon.events.publish, event(7))
    context, socket = follow(daemon)
    with context, socket:
        welcome = next_event(socket, "welcome")
        assert (welcome["seq"], welcome["epoch"]) == (7, "e1")
        daemon.on_loop(daemon.events.publish, event(8, state="running", price=Decimal("0.10")))
        assert next_event(socket, "bot.state") == {
            "seq": 8,
            "epoch": "e1",
            "ts": "2026-01-01T00:00:00Z",
            "topic": "bot.state",
            "bot": "alpha",
            "data": {"state": "running", "price": "0.10"},
        }
        assert next_event(socket, "heartbeat")["seq"] == 8


def test_a_second_follower_is_welcomed_too_and_topics_are_beginnings(serve):
    daemon = serve()
    first, second = follow(daemon, b"order."), follow(daemon, b"")
    with first[0], first[1], second[0], second[1]:
        next_event(second[1], "welcome")
        third = follow(daemon, b"")
        with third[0], third[1]:
            assert next_event(third[1], "welcome")
        daemon.on_loop(daemon.events.publish, event(1, "bot.state"))
        daemon.on_loop(daemon.events.publish, event(2, "order.filled"))
        assert first[1].poll(2000)
        assert msgspec.json.decode(first[1].recv_multipart()[1])["seq"] == 2


def test_a_follower_that_does_not_read_loses_events_and_holds_up_nobody(serve):
    daemon = serve()
    context, socket = follow(daemon)
    with context, socket, daemon.client() as client:
        next_event(socket, "welcome")

        def publish_many():
            began = time.perf_counter()
            for seq in range(20_000):
                daemon.events.publish(event(seq, text="x" * 200))
            return time.perf_counter() - began

        assert daemon.on_loop(publish_many) < 5
        assert client.ping()
        seen = []
        while (heard := next_event(socket, "bot.state", "heartbeat"))["topic"] == "bot.state" or heard["seq"] < 19_999:
            seen += [heard["seq"]] if heard["topic"] == "bot.state" else []
        assert len(seen) < 20_000  # lost, and not kept in the daemon's memory
        assert seen == sorted(seen)  # the heartbeat told of 19,999, so the gap is noticed


def test_an_event_that_cannot_be_encoded_does_not_disturb_its_publisher(serve):
    daemon = serve()
    daemon.on_loop(daemon.events.publish, event(1, odd=object()))
    context, socket = follow(daemon)
    with context, socket:
        assert next_event(socket, "welcome")["seq"] == 1
