"""Where the daemon of a configuration is, and whether that is the daemon the endpoint names."""

from __future__ import annotations

import os
from typing import Any

from botctl.client import asked_for, candidates
from botctl.exit_codes import USAGE, Fault
from botctl.offline_calls import offline
from botctl.session import Session


def places(config: Any) -> tuple[str, str]:
    """Return the socket and the state directory of the botd that this configuration makes."""
    found = offline("config", config)
    return str(found.socket), str(found.state_dir)


OF_THE_LEDGER = "the ledger that would be read belongs to the botd at"


def refuse_another_daemon(session: Session, config: Any, does: str) -> None:
    """Refuse what concerns one daemon while the endpoint names another; ``does`` what is done at the first's socket."""
    if not asked_for(session.endpoint):
        return
    endpoint, (socket, _) = candidates(session.endpoint)[0], places(config)
    if os.path.realpath(endpoint) == os.path.realpath(socket):
        return
    name = "--endpoint" if session.endpoint else "$BOTCTL_ENDPOINT"
    remedy = "leave it out" if session.endpoint else "unset BOTCTL_ENDPOINT"
    raise Fault(
        USAGE,
        f"{name} is {endpoint}, but {does} {socket}",
        f"give --config FILE, the configuration with that socket, or {remedy}",
    )
