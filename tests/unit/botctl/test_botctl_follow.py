"""events -f and logs -f: nothing twice, nothing missed, also across a restart of the daemon."""

from __future__ import annotations

import itertools
import json
import threading

import pytest
import zmq

from botctl.follow import Follower
from botctl.session import Session
from tests.fakes.fake_botd import FakeBotd
from tests.unit.botctl.conftest import HELLO


def event(seq, epoch="e1", **changes):
    made = {
        "seq": seq,
        "epoch": epoch,
        "ts": "2026-01-01T00:00:00Z",
        "topic": "bot.state",
        "bot": "a",
        "data": {"n": seq},
    }
    return {**made, **changes}


class Ledger:
    """The events that a daemon has, its publisher, and the handlers that read them."""

    def __init__(self, directory, count, epoch="e1"):
        self.path = directory / "events.sock"
        self.epoch = epoch
        self.events = [event(seq, epoch) for seq in range(1, count + 1)]
        self.publisher = zmq.Context.instance().socket(zmq.XPUB)
        self.publisher.linger = 0
        self.publisher.bind(f"ipc://{self.path}")

    def handlers(self):
        return {"hello": lambda args: {**HELLO, "events": str(self.path), "epoch": self.epoch}, "events": self.read}

    def read(self, args):
        if "since_seq" in args:
            rows = [row for row in self.events if row["seq"] > args["since_seq"]][: args["limit"]]
        else:
            rows = self.events[-args["limit"] :]
        return {"rows": rows, "next": None, "seq": self.events[-1]["seq"] if self.events else 0, "epoch": self.epoch}

    def subscribed(self):
        assert self.publisher.poll(5000)
        self.publisher.recv()

    def add(self, publish=True):
        new = event(self.events[-1]["seq"] + 1 if self.events else 1, self.epoch)
        self.events.append(new)
        if publish:
            self.say(new["topic"], new)
        return new

    def say(self, topic, body):
        self.publisher.send_multipart([topic.encode(), json.dumps(body).encode()])


@pytest.fixture
def ledger(botd, tmp_path):
    made = Ledger(tmp_path, 5)
    botd.handlers |= made.handlers()
    yield made
    made.publisher.close()


def take(stream, count):
    return [row["seq"] for row in itertools.islice(stream, count)]


def test_the_snapshot_comes_first_then_what_is_published(ledger):
    stream = Follower(Session()).follow(None, 2)
    assert take(stream, 2) == [4, 5]
    ledger.subscribed()
    ledger.add()
    ledger.add()
    assert take(stream, 2) == [6, 7]


def test_what_was_lost_on_the_way_is_fetched_in_order(ledger):
    stream = Follower(Session()).follow(None, 1)
    assert take(stream, 1) == [5]
    ledger.subscribed()
    ledger.add(publish=False)
    ledger.add(publish=False)
    ledger.add()
    assert take(stream, 3) == [6, 7, 8]


def test_a_heartbeat_or_a_welcome_tells_of_a_loss(ledger):
    stream = Follower(Session()).follow(None, 1)
    assert take(stream, 1) == [5]
    ledger.subscribed()
    ledger.say("welcome", {"seq": 5, "epoch": "e1"})
    ledger.add(publish=False)
    ledger.say("heartbeat", {"seq": 6, "epoch": "e1", "topic": "heartbeat"})
    assert take(stream, 1) == [6]


def test_an_event_is_never_given_twice(ledger):
    stream = Follower(Session()).follow(4, 0)
    assert take(stream, 1) == [5]
    ledger.subscribed()
    ledger.say("bot.state", event(5))
    ledger.add()
    assert take(stream, 1) == [6]


def test_silence_is_not_trusted(ledger):
    stream = Follower(Session()).follow(None, 1)
    assert take(stream, 1) == [5]
    ledger.add(publish=False)
    assert take(stream, 1) == [6]


def test_another_ledger_begins_anew_and_is_told(ledger, botd, capsys):
    stream = Follower(Session()).follow(None, 1)
    assert take(stream, 1) == [5]
    ledger.epoch, ledger.events = "e2", [event(1, "e2")]
    assert take(stream, 1) == [1]
    assert "another ledger (epoch e2)" in capsys.readouterr().err


def test_a_restart_is_lived_through_without_a_gap(tmp_path, monkeypatch, capsys):
    path = tmp_path / "control.sock"
    monkeypatch.setenv("BOTCTL_ENDPOINT", str(path))
    ledger = Ledger(tmp_path, 3)
    with FakeBotd(path, ledger.handlers()):
        stream = Follower(Session()).follow(None, 1)
        assert take(stream, 1) == [3]
    ledger.add(publish=False)
    second = FakeBotd(path, ledger.handlers())
    threading.Timer(1.5, second.__enter__).start()
    try:
        assert take(stream, 1) == [4]
        told = capsys.readouterr().err
        assert "botd is away" in told and "botd is back" in told
    finally:
        second.__exit__()
        ledger.publisher.close()


@pytest.mark.parametrize("verb", ["events", "logs"])
def test_following_ends_with_75_when_its_time_is_up(botctl, ledger, botd, verb):
    botd.handlers["logs"] = lambda args: {"lines": [] if "cursor" in args else ["one"], "cursor": "1"}
    result = botctl(verb, "-f", "-n", "1", "--timeout", "300ms")
    assert result.code == 75 and result.out.count("\n") == 1
    assert f"{verb}: followed for 0.3 s" in result.err


def test_events_without_follow_end_and_filter(botctl, ledger):
    ledger.events[2]["topic"] = "order.denied"
    ledger.events[3]["bot"] = "b"
    assert [row["seq"] for row in json.loads(botctl("events", "-o", "json").out)] == [1, 2, 3, 4, 5]
    assert [row["seq"] for row in json.loads(botctl("events", "b", "-o", "json").out)] == [4]
    assert [row["seq"] for row in json.loads(botctl("events", "-n", "2", "-o", "json").out)] == [4, 5]
    assert [row["seq"] for row in json.loads(botctl("events", "--topic", "order", "-o", "json").out)] == [3]


def test_logs_are_printed_page_by_page_to_the_end(botctl, botd):
    pages = {None: (["one", "two"], "c1"), "c1": (["three\x1b[31m"], "c2"), "c2": ([], "c2")}
    botd.handlers["logs"] = lambda args: dict(zip(("lines", "cursor"), pages[args.get("cursor")], strict=True))
    assert botctl("logs").out == "one\ntwo\nthree [31m\n"
    assert json.loads(botctl("logs", "alpha", "-o", "json").out)[1] == {"line": "two"}
    assert botd.asked("logs")[-2:] == [{"name": "alpha", "cursor": "c1"}, {"name": "alpha", "cursor": "c2"}]


def test_logs_follow_a_cursor_through_a_restart(botctl, tmp_path, capsys):
    path = tmp_path / "s"
    lines = ["one", "two"]

    def logs(args):
        if "cursor" in args and int(args["cursor"]) >= 3:
            raise KeyboardInterrupt  # ends the thread of the fake: the daemon is gone for good
        start = int(args.get("cursor", 0))
        return {"lines": lines[start:], "cursor": str(len(lines))}

    first = FakeBotd(path, {"logs": logs})
    second = FakeBotd(
        path, {"logs": lambda args: {"lines": ["three"], "cursor": "3"} if args["cursor"] == "2" else stop()}
    )

    def stop():
        import _thread

        _thread.interrupt_main()
        return ...

    def restart():
        first.__exit__()
        second.__enter__()

    with first:
        threading.Timer(0.6, restart).start()
        result = botctl("logs", "-f", "--endpoint", str(path))
    second.__exit__()
    assert result.code == 130
    assert result.out == "one\ntwo\nthree\n"
