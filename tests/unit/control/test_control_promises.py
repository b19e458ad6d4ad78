"""The directory of a socket that a group may use: made by the locks for its owner alone, it lets the group reach in."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import zmq

from botd.control.endpoint import SocketFile
from botd.locks import make_private


def mode(path: Path) -> int:
    return os.stat(path).st_mode & 0o777


def bound(path: Path, group: str | None) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        SocketFile(path, group).bind(router)


def test_a_directory_that_the_locks_made_is_opened_to_the_group_and_to_nobody_else(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getegid()) if os.geteuid() else grp.getgrall()[-1]
    make_private(tmp_path / "run")
    bound(tmp_path / "run" / "c.sock", None)
    assert mode(tmp_path / "run") == 0o700
    bound(tmp_path / "run" / "c.sock", group.gr_name)
    assert mode(tmp_path / "run") == 0o750
    assert os.stat(tmp_path / "run").st_gid == group.gr_gid


def test_a_directory_that_somebody_chose_to_open_stays_as_it_is(tmp_path: Path) -> None:
    chosen = tmp_path / "run"
    chosen.mkdir()
    chosen.chmod(0o755)
    before = os.stat(chosen).st_gid
    bound(chosen / "c.sock", grp.getgrgid(os.getegid()).gr_name)
    assert (mode(chosen), os.stat(chosen).st_gid) == (0o755, before)
