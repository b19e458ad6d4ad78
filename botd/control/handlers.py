"""The table of commands: the method that answers each; what it takes is in :mod:`botd.control.requests`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from botd.control.handler import Handler
from botd.control.handlers_daemon import DaemonHandlers
from botd.control.handlers_inspect import InspectHandlers
from botd.control.handlers_lifecycle import LifecycleHandlers
from botd.control.handlers_live import LiveHandlers
from botd.control.handlers_trading import TradingHandlers
from botd.control.requests import COMMANDS
from botd.control.services import Services

Method = Callable[[Any, Any], Awaitable[Any]]


def handlers(services: Services) -> dict[str, Handler]:
    """Return every command of the control socket."""
    life, trade = LifecycleHandlers(services), TradingHandlers(services)
    live = LiveHandlers(services)
    look, daemon = InspectHandlers(services), DaemonHandlers(services, list(COMMANDS))
    methods: dict[str, Method] = {
        "hello": daemon.hello,
        "ping": daemon.ping,
        "create": life.create,
        "start": life.start,
        "stop": life.stop,
        "restart": life.restart,
        "pause": life.pause,
        "resume": life.resume,
        "rm": life.remove,
        "set": life.set,
        "apply": life.apply,
        "export": life.export,
        "ls": look.ls,
        "show": look.show,
        "stats": look.stats,
        "portfolio": look.portfolio,
        "health": look.health,
        "why": look.why,
        "orders": look.orders,
        "fills": look.fills,
        "trades": look.trades,
        "positions": look.positions,
        "equity": look.equity,
        "prices": look.prices,
        "symbols": look.symbols,
        "candles": look.candles,
        "events": look.events,
        "top": look.top,
        "close": trade.close,
        "flatten": trade.flatten,
        "halt": trade.halt,
        "reduce": trade.reduce,
        "release": trade.release,
        "risk.show": trade.risk_show,
        "risk.set": trade.risk_set,
        "market.play": trade.market_play,
        "market.pause": trade.market_pause,
        "market.status": trade.market_status,
        "live.arm": live.arm,
        "live.disarm": live.disarm,
        "live.status": live.status,
        "limits": live.limits,
        "resolve": live.resolve,
        "reconcile": live.reconcile,
        "logs": daemon.logs,
        "backup": daemon.backup,
        "reload": daemon.reload,
        "shutdown": daemon.shutdown,
    }
    return {cmd: Handler(methods[cmd], *asked) for cmd, asked in COMMANDS.items()}
