"""The file behind an ipc endpoint: where it may be, whose it is, and whether it is still ours.

ZeroMQ removes whatever is at the path before it binds, so the caller must hold the lock ``<socket>.lock``,
and this page refuses to have anything but a left-over socket removed.
"""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path
from typing import Any

import zmq

from botd.domain.errors import ConfigError

LONGEST_PATH = 107
"""Bytes: ``sun_path`` holds 108 with its closing zero."""
_ELSEWHERE = "choose another state_dir or control.socket"


class SocketFile:
    """One socket file, 0600 in a directory 0700, or 0660 and 0750 for a group; nobody else may write there."""

    def __init__(self, path: Path, group: str | None = None) -> None:
        """ConfigError where the path cannot be a socket's or the group does not exist."""
        if not path.is_absolute():
            raise ConfigError(f"{path}: the path of a socket must be absolute")
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise ConfigError(
                f"{path}: longer than the {LONGEST_PATH} bytes that a socket path may have",
                "choose a shorter state_dir, or set control.socket and control.events",
            )
        self.path = path
        self._gid = _gid_of(group) if group is not None else None
        self._inode: tuple[int, int] | None = None

    @property
    def url(self) -> str:
        """Return the endpoint as ZeroMQ writes it."""
        return f"ipc://{self.path}"

    def bind(self, socket: zmq.Socket[Any]) -> None:
        """Bind ``socket`` here; the file has its final mode before anybody can connect to it."""
        self._prepare_directory()
        self._refuse_other_files()
        before = os.umask(0o177)
        try:
            socket.bind(self.url)
        except zmq.ZMQError as error:
            raise ConfigError(f"{self.path}: cannot listen there: {error.strerror}", _ELSEWHERE) from None
        finally:
            os.umask(before)
        try:
            if self._gid is not None:
                os.chown(self.path, -1, self._gid)
                os.chmod(self.path, 0o660)
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot be given to the group of control.group: {error.strerror}",
                "botd's user must be a member of that group",
            ) from None
        self._inode = self._present()

    def is_ours(self) -> bool:
        """Return whether the file is the one that was bound: somebody may have removed it, or put another there."""
        return self._inode is not None and self._present() == self._inode

    def remove(self) -> None:
        """Remove the file if it is still the one that was bound."""
        if self.is_ours():
            self.path.unlink(missing_ok=True)
        self._inode = None

    def _present(self) -> tuple[int, int] | None:
        try:
            status = os.lstat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _prepare_directory(self) -> None:
        directory = self.path.parent
        try:
            if not directory.is_dir():
                directory.parent.mkdir(parents=True, exist_ok=True)
                directory.mkdir(mode=0o700)
            status = directory.stat()
            if self._gid is not None and status.st_mode & 0o777 == 0o700 and status.st_uid == os.geteuid():
                os.chown(directory, -1, self._gid)  # made for its owner alone, by the locks: let the group reach in
                os.chmod(directory, 0o750)
            mode = status.st_mode
        except OSError as error:
            raise ConfigError(f"{directory}: cannot be used for a socket: {error.strerror}", _ELSEWHERE) from None
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise ConfigError(
                f"{directory}: anybody could replace the socket in this directory", f"chmod o-w {directory}"
            )

    def _refuse_other_files(self) -> None:
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be used for a socket: {error.strerror}", _ELSEWHERE) from None
        if not stat.S_ISSOCK(mode):
            raise ConfigError(f"{self.path}: there is a file that is no socket", "choose another path for the socket")


def _gid_of(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"control.group: there is no group {group!r}", f"groupadd --system {group}") from None
