"""The table of commands: what each takes, who may ask, and the method that answers."""

from __future__ import annotations

from botd.control import requests as r
from botd.control.handler import Handler
from botd.control.handlers_daemon import DaemonHandlers
from botd.control.handlers_inspect import InspectHandlers
from botd.control.handlers_lifecycle import LifecycleHandlers
from botd.control.handlers_trading import TradingHandlers
from botd.control.services import Services


def handlers(services: Services) -> dict[str, Handler]:
    """Return every command of the control socket."""
    names: list[str] = []
    life, trade = LifecycleHandlers(services), TradingHandlers(services)
    look, daemon = InspectHandlers(services), DaemonHandlers(services, names)
    table = {
        "hello": Handler(daemon.hello, r.Hello, "read", True),
    }
    names.extend(table)
    return table
