"""Names for the TAB key: bots, symbols and strategies, as the daemon has them.

It has 200 ms and never complains: where nothing answers in time, nothing is offered.
"""

from __future__ import annotations

import os
from typing import Any

import click

BUDGET_S = 0.2


def _ask(context: click.Context, cmd: str, key: str, args: dict[str, Any] | None = None) -> list[str]:
    from botctl.client import Client
    from botctl.exit_codes import Fault
    from botctl.session import Session

    client = Client(context.ensure_object(Session).endpoint)
    try:
        result = client.call(cmd, args or {}, BUDGET_S)
        return [str(row[key]) for row in result["rows"]]
    except (Fault, KeyError, TypeError, OSError):
        return []
    finally:
        client.close()


def _starting(names: list[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def complete_bot(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the bots whose names begin so, without those on the line already."""
    given = context.params.get(parameter.name or "") or ()
    return [name for name in _starting(_ask(context, "ls", "name", {"all": True}), incomplete) if name not in given]


def complete_symbol(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the symbols that begin so."""
    return _starting(_ask(context, "symbols", "symbol"), incomplete.upper())


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
