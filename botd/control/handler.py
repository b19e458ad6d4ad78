"""What the server needs to know of a command: what it does, what it takes, who may ask for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from botd.control.access import Caller

Kind = Literal["read", "operate"]


@dataclass(frozen=True, slots=True)
class Handler:
    """One command.

    ``fn`` gets the checked arguments and the caller, and returns what the reply carries, or raises a
    BotdError. Commands of kind ``operate`` need an operator and are done once for each request id.
    ``cross_version`` commands answer whatever version the caller speaks, and still find a free place when
    ordinary requests have taken all of them.
    """

    fn: Callable[[Any, Caller], Awaitable[Any]]
    schema: type[msgspec.Struct]
    kind: Kind
    cross_version: bool = False
