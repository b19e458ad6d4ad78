"""The verb that makes a bot. The daemon checks the strategy, its parameters, the symbol and the limits."""

from __future__ import annotations

from typing import Any

import click

from botctl.arguments import KeyValue, once, pairs
from botctl.cells import Column
from botctl.completion import complete_interval, complete_strategy, complete_symbol
from botctl.exit_codes import FAILED, OK, USAGE, Fault
from botctl.output import Row, output_options, show_object, silent
from botctl.session import Session, clean
from botctl.terms import how_of, how_options


@click.command("create")
@click.argument("name")
@click.option("--strategy", required=True, shell_complete=complete_strategy, help="See botctl strategies.")
@click.option(
    "--symbol",
    required=True,
    multiple=True,
    callback=once,
    shell_complete=complete_symbol,
    help="What to trade: BTC/USDT.",
)
@click.option(
    "--interval",
    required=True,
    multiple=True,
    callback=once,
    shell_complete=complete_interval,
    help="Candles to decide on: 1m, 5m, 1h ...",
)
@click.option("--capital", required=True, help="What it may use, in the quote currency.")
@click.option("--set", "params", type=KeyValue(), multiple=True, help="A parameter of the strategy: period=21.")
@how_options
@click.option("--label", "labels", type=KeyValue(), multiple=True, help="A label to select by: team=a.")
@click.option("--live", is_flag=True, help="Trade with real money, not on paper.")
@click.option("--start", is_flag=True, help="Start it at once.")
@click.option("--replace", is_flag=True, help="Change a bot of this name to this.")
@output_options
def create_command(session: Session, name: str, **options: Any) -> int:
    """Create a bot; the same again changes nothing.

    A bot of the same name with another specification is refused (5) unless --replace.

    \b
    Example:
      botctl create alpha --strategy rsi --symbol BTC/USDT --interval 1m --capital 1000 \\
          --set period=21 --stop-loss 2% --take-profit 4% --start
    """
    spec = spec_of(name, options)
    wire = {"spec": spec, "start": options["start"], "replace": options["replace"]}
    made = session.call("create", wire)
    for warning in made.get("warnings") or []:
        session.warn(f"{name}: {warning}")
    if not silent(session):
        columns = [Column(key) for key in ("name", "number", "result", "state", "largest_order", "guard", "detail")]
        show_object(session, made, _line, columns)
    return FAILED if made.get("start_error") else OK  # 1: it was made, and --start failed


def spec_of(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the specification for the wire; raises Fault for what contradicts itself."""
    how = how_of(options)
    stop = how["stop_loss"] or how["trailing_stop"] or how["atr_stop"]
    if how["risk_per_trade"] is not None and stop is None:
        raise Fault(USAGE, "--risk-per-trade needs a stop", "add --stop-loss 2%, --trailing-stop 2% or --atr-stop 3x14")
    return {
        "name": name,
        "strategy": options["strategy"],
        "symbol": options["symbol"],
        "interval": options["interval"],
        "capital": options["capital"],
        "params": pairs(options["params"], "--set"),
        "labels": pairs(options["labels"], "label"),
        "mode": "live" if options["live"] else "paper",
        **{key: value for key, value in how.items() if value is not None},
    }


def _line(made: Row) -> str:
    detail = made.get("detail") or (f"largest order {made['largest_order']}" if made.get("largest_order") else "")
    words = [str(made["name"]), str(made["result"]), str(made.get("state", "")), detail, made.get("guard") or ""]
    return clean("  ".join(filter(None, words))) + "\n"
