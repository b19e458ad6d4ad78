"""Commands that are turned away before they begin are told to the audit: who, what and why, and not without end."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from botd.control import refusals
from botd.control.access import AccessPolicy
from botd.control.handler import Handler
from botd.control.memory import Remembered
from botd.control.requests import Nothing
from botd.domain.clock import WallClock
from tests.fakes.control_daemon import UNLIMITED, ControlDaemon

Told = tuple[str, str, dict[str, Any], str]


class Viewers(AccessPolicy):
    """Everybody may look, nobody operate."""

    def is_owner(self, uid: int) -> bool:
        return False

    def role(self, uid: int, gid: int) -> Any:
        return "viewer"


async def done(args: Any, caller: Any) -> dict[str, Any]:
    return {}


HANDLERS = {"halt": Handler(done, Nothing, "operate", True), "show": Handler(done, Nothing, "read")}


@pytest.fixture
def told() -> list[Told]:
    return []


def serve(place: Path, told: list[Told], **server: Any) -> ControlDaemon:
    async def tell(request_id: str, caller: Any, cmd: str, args: dict[str, Any], code: str) -> None:
        told.append((request_id, cmd, args, code))

    return ControlDaemon(place, HANDLERS, tell_refused=tell, limits=UNLIMITED, **server)


def settled(told: list[Told], count: int) -> list[Told]:
    until = time.monotonic() + 5
    while len(told) < count and time.monotonic() < until:
        time.sleep(0.005)
    return told


def test_a_viewers_command_is_told_and_what_he_may_look_at_is_not(tmp_path: Path, told: list[Told]) -> None:
    with serve(tmp_path, told, policy=Viewers(0)) as daemon, daemon.client() as client:
        assert client.call("halt", id="one")["error"]["code"] == "FORBIDDEN"
        assert client.call("show", {"wrong": 1}, id="two")["error"]["code"] == "INVALID"
        assert client.call("nothing", id="three")["error"]["code"] == "USAGE"
        assert client.call("show", id="four")["ok"]
        assert settled(told, 1) == [("one", "halt", {}, "FORBIDDEN")]


def test_ill_formed_commands_and_ids_used_again_are_told(tmp_path: Path, told: list[Told]) -> None:
    async def recall(request_id: str) -> list[Remembered]:
        return [Remembered(os.geteuid(), "other", {}, "{}", WallClock().wall_ms())] if request_id == "used" else []

    with serve(tmp_path, told, recall=recall) as daemon, daemon.client() as client:
        assert client.call("halt", {"wrong": 1}, id="one")["error"]["code"] == "INVALID"
        assert client.call("halt", id="used")["error"]["code"] == "CONFLICT"
        assert client.call("halt", id="good")["ok"]
        assert settled(told, 2) == [("one", "halt", {"wrong": 1}, "INVALID"), ("used", "halt", {}, "CONFLICT")]


def test_who_is_refused_for_ever_does_not_fill_the_ledger(tmp_path: Path, told: list[Told]) -> None:
    with serve(tmp_path, told) as daemon, daemon.client() as client:
        client.call("halt", {"wrong": "x" * 10_000}, id="long")
        for number in range(2 * refusals.A_MINUTE):
            client.call("halt", {"wrong": number})
        daemon.run(daemon.server._refusals.close())
        assert refusals.A_MINUTE <= len(told) <= 2 * refusals.A_MINUTE  # a minute may turn in between
        assert told[0][2] == {"bytes": 10_012}
