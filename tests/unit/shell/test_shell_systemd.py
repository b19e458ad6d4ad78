"""sd_notify over real datagram sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from botd.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@botd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + address[1:] if address.startswith("@") else address)
        channel.settimeout(2)
        yield channel, address


def test_every_message_arrives_as_systemd_wants_it(manager: tuple[socket.socket, str]) -> None:
    channel, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    sent = [notifier.ready(), notifier.watchdog(), notifier.reloading(1.5), notifier.stopping()]
    assert sent == [True] * 4
    assert [channel.recv(1000).decode() for _ in range(4)] == [
        f"READY=1\nMAINPID={os.getpid()}\nSTATUS=answering",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=1500000",
        "STOPPING=1\nSTATUS=stopping",
    ]


@pytest.mark.parametrize("address", ["", "vsock:2:1", "/nowhere/notify", "@botd-nobody-listens"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    assert Notifier({"NOTIFY_SOCKET": address}).ready() is False
    assert Notifier({}).watchdog() is False


def test_a_manager_that_does_not_read_never_blocks(manager: tuple[socket.socket, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[1]})
    assert not all(notifier.watchdog() for _ in range(100_000))


def test_the_watchdog_is_fed_at_half_its_limit_by_the_process_that_is_watched() -> None:
    own = str(os.getpid())
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": own}).watchdog_interval_s() == 15.0
    assert Notifier({"WATCHDOG_USEC": "30000000"}).watchdog_interval_s() == 15.0
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_interval_s() is None
    assert Notifier({"WATCHDOG_USEC": "0"}).watchdog_interval_s() is None
    assert Notifier({}).watchdog_interval_s() is None
