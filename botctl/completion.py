"""Names for the TAB key: bots, symbols, strategies and limits, as the daemon has them, and the words of the verbs.

It has 200 ms and never complains: where nothing answers in time, nothing is offered.
"""

from __future__ import annotations

import os
from typing import Any

import click

BUDGET_S = 0.2
INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
ORDER_STATES = (
    "intent", "unknown", "open", "partial", "filled", "canceled", "expired", "rejected", "not_placed", "denied",
)  # fmt: skip
TOPICS = (
    "account", "book", "bot", "daemon", "ledger", "live", "market", "order", "protection", "reconcile", "risk", "trade",
)  # fmt: skip
"""The topics of events; each has more below it."""
AUDIT_KINDS = ("command", "order", "fill", "risk.state", "live.armed", "live.disarmed", "accepted")


def _ask(context: click.Context, cmd: str, args: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    from botctl.client import Client
    from botctl.exit_codes import Fault
    from botctl.session import Session

    client = Client(context.ensure_object(Session).endpoint)
    try:
        rows: list[dict[str, Any]] = client.call(cmd, args or {}, BUDGET_S)["rows"]
        return rows
    except (Fault, KeyError, TypeError, OSError):
        return []
    finally:
        client.close()


def _starting(names: list[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def complete_bot(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the bots whose names begin so, without those on the line already."""
    given = context.params.get(parameter.name or "") or ()
    names = [str(row["name"]) for row in _ask(context, "ls", {"all": True})]
    return [name for name in _starting(names, incomplete) if name not in given]


def complete_symbol(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the symbols that begin so."""
    return _starting([str(row["symbol"]) for row in _ask(context, "symbols")], incomplete.upper())


def complete_strategy(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the strategies that begin so: the file names of the catalogue and of the user's directory.

    No file is imported: the TAB key runs nobody's code.
    """
    from importlib.util import find_spec

    from botctl.client import home

    catalogue = find_spec("strategies")
    folders = list(catalogue.submodule_search_locations or ()) if catalogue else []
    folders.append(os.path.join(home() or "", ".config/botd/strategies"))
    files = [file for folder in folders if os.path.isdir(folder) for file in os.listdir(folder)]
    names = [file[:-3] for file in files if file.endswith(".py") and file[0].isalpha() and not file.startswith("test_")]
    return _starting(names, incomplete)


def complete_interval(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the intervals that begin so, the shortest first."""
    return [interval for interval in INTERVALS if interval.startswith(incomplete)]


def complete_status(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the states of orders that begin so."""
    return _starting(list(ORDER_STATES), incomplete)


def complete_topic(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the topics of events that begin so."""
    return _starting(list(TOPICS), incomplete)


def complete_kind(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the kinds of the audit's entries that begin so."""
    return _starting(list(AUDIT_KINDS), incomplete)


def complete_condition(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return what ``wait --for`` takes, with a NAME or without: the keys, then the values of one."""
    from botctl.commands.wait import OF_A_BOT, OF_THE_DAEMON, VALUES

    key, equals, typed = incomplete.partition("=")
    named = context.params.get("name") or context.args  # where click stopped before it: at an option without its value
    keys = OF_A_BOT if named else OF_THE_DAEMON
    if not equals:
        return _starting([f"{known}=" if known in VALUES else known for known in keys], incomplete)
    given, comma, last = typed.rpartition(",")
    values = [value for value in VALUES.get(key, ()) if value not in given.split(",")]
    return [f"{key}={given}{comma}{value}" for value in _starting(values, last)]


def complete_setting(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return ``capital=`` and the other keys of ``set``, with the parameters of the bot's strategy."""
    from botctl.terms import HOW

    name = str(context.params.get("name") or "")
    bots = _ask(context, "ls", {"names": [name]}) if name else []
    parameters = [key for bot in bots for key in bot["params"]]
    return _starting([f"{key}=" for key in ("capital", "interval", *HOW, *parameters)], incomplete)


def complete_limit(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the controls as ``risk set`` takes them (``daily_loss.bot=``), before them a bot's name."""
    words = context.params.get(parameter.name or "") or ()
    rows = _ask(context, "risk.show")
    account = [row for row in rows if row.get("scope") == "account"]
    controls = [row["control"] for row in account]
    limits = [
        f"{row['control']}=" if controls.count(row["control"]) == 1 else f"{row['control']}.{row['limit']}="
        for row in account
    ]
    bots = [] if words else _ask(context, "ls", {"all": True})
    return _starting([str(row["name"]) for row in bots], incomplete) + _starting(limits, incomplete)
