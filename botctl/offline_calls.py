"""Calls of ``botd.offline``, the façade of what works without a daemon; its errors become faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from botctl.exit_codes import FAILED, Fault, fault_of


def config_option(meaning: str) -> Callable[[Any], Any]:
    """Add --config, a path for the façade; ``meaning`` says what is read there."""
    from pathlib import Path

    return click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help=meaning)


def offline(function: str, *arguments: Any) -> Any:
    """Call a function of the façade by name and return what it returns.

    Errors of botd carry a code, a message and a hint, like those on the wire; others are not touched.
    """
    from botd import offline as facade

    try:
        return getattr(facade, function)(*arguments)
    except OSError as error:
        raise Fault(FAILED, f"{error.filename or function}: {error.strerror or error}") from None
    except Exception as error:
        if not hasattr(error, "code") or not hasattr(error, "hint"):
            raise
        raise fault_of({"code": error.code, "message": str(error), "hint": error.hint}) from None
