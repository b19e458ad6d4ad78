"""Who may use the socket: every connection is decided once, by the kernel's word on uid, gid and pid.

ZeroMQ asks through ZAP (https://rfc.zeromq.org/spec/27/) on ``inproc://zeromq.zap.01`` of the context; the
answer's user id comes back with every message of that connection. The question is answered on the loop and
never blocks it: what may have to look into the user database is looked up on a thread. It decides nothing
about single commands; the server does, by the role.
"""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import zmq
from zmq.utils import z85

from botd.control.reader import Reader

logger = logging.getLogger(__name__)

Role = Literal["operator", "viewer"]

IPC_DOMAIN = b"botd"
CURVE_DOMAIN = b"botd-curve"
ENDPOINT = "inproc://zeromq.zap.01"
NOBODY = -1
"""The uid of callers that come with a key over TCP."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``key`` is the public key of a caller over TCP, who has no uid here."""

    uid: int
    gid: int
    pid: int
    role: Role
    key: str = ""

    @property
    def identity(self) -> str:
        """Return what owns the request ids of this caller."""
        return self.key or str(self.uid)

    @property
    def told(self) -> str:
        """Return who it is in the words of the audit and of trading states."""
        return f"key {self.key}" if self.key else f"uid {self.uid}"

    @classmethod
    def from_user_id(cls, text: str) -> Caller:
        """Return the caller for a user id as made by :meth:`user_id`."""
        role, uid, gid, pid, key = text.split(" ")
        return cls(int(uid), int(gid), int(pid), "operator" if role == "operator" else "viewer", key)

    def user_id(self) -> bytes:
        """Return the text that ZeroMQ attaches to every message of the connection."""
        return f"{self.role} {self.uid} {self.gid} {self.pid} {self.key}".encode()


class AccessPolicy:
    """The owner and root operate; members of a configured group operate, or view; nobody else gets in."""

    def __init__(self, owner_uid: int, *, operators: str | None = None, viewers: str | None = None) -> None:
        """``operators`` and ``viewers`` are names of groups."""
        self._owner_uid = owner_uid
        self._groups: tuple[tuple[Role, str | None], ...] = (("operator", operators), ("viewer", viewers))

    def is_owner(self, uid: int) -> bool:
        """Return whether ``uid`` needs no looking up."""
        return uid in (0, self._owner_uid)

    def role(self, uid: int, gid: int) -> Role | None:
        """Return the role of a user, None for strangers. May read the user database: call it on a thread."""
        if self.is_owner(uid):
            return "operator"
        gids = _group_ids(uid, gid)
        for role, group in self._groups:
            if group is not None and _gid_of(group) in gids:
                return role
        return None


class ZapHandler:
    """Answers ZeroMQ's question who may connect, for all sockets of one context."""

    def __init__(self, context: zmq.Context[Any], policy: AccessPolicy, curve: Mapping[bytes, Role] | None = None):
        """``curve`` is the allow list for TCP: public key (Z85) -> role."""
        self._context = context
        self._policy = policy
        self._curve = dict(curve or {})
        self._reader: Reader | None = None

    def bind(self) -> None:
        """Start to answer; before any socket that it guards is bound."""
        socket = self._context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.bind(ENDPOINT)
        self._reader = Reader(socket, self._on_request)
        self._reader.start()

    def close(self) -> None:
        """Stop to answer: nobody new gets in."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _on_request(self, frames: list[zmq.Frame]) -> None:
        parts = [frame.bytes for frame in frames]
        if len(parts) < 8 or parts[2] != b"1.0":
            return
        route, request_id, domain, address, mechanism = parts[:2], parts[3], parts[4], parts[5], parts[7]
        if mechanism == b"NULL" and domain == IPC_DOMAIN:
            self._admit_ipc(route, request_id, address.decode("ascii", "replace"))
        elif mechanism == b"CURVE" and domain == CURVE_DOMAIN and len(parts) == 9:
            key = z85.encode(parts[8])
            role = self._curve.get(key)
            caller = Caller(NOBODY, NOBODY, 0, role, key.decode()) if role else None
            self._reply(route, request_id, caller, f"{address.decode('ascii', 'replace')} with key {key.decode()}")
        else:
            self._reply(route, request_id, None, "a mechanism that is not served")

    def _admit_ipc(self, route: list[bytes], request_id: bytes, address: str) -> None:
        try:
            uid, gid, pid = (int(part) for part in address.split(":")[1:])
        except ValueError:
            self._reply(route, request_id, None, f"an address without a user id ({address!r})")
            return
        if self._policy.is_owner(uid):
            self._reply(route, request_id, Caller(uid, gid, pid, "operator"), "")
            return
        found = asyncio.get_running_loop().run_in_executor(None, self._policy.role, uid, gid)

        def answer(done: asyncio.Future[Role | None]) -> None:
            role = None if done.cancelled() or done.exception() else done.result()
            self._reply(route, request_id, Caller(uid, gid, pid, role) if role else None, f"uid {uid}, pid {pid}")

        found.add_done_callback(answer)

    def _reply(self, route: list[bytes], request_id: bytes, caller: Caller | None, who: str) -> None:
        if self._reader is None:
            return
        if caller is None:
            logger.warning("control socket: refused %s", who)
            outcome = [b"400", b"not allowed", b"", b""]
        else:
            outcome = [b"200", b"OK", caller.user_id(), b""]
        self._reader.send([*route, b"1.0", request_id, *outcome])


def _group_ids(uid: int, gid: int) -> set[int]:
    try:
        return {gid, *os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)}
    except KeyError:
        return {gid}


def _gid_of(group: str) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None
