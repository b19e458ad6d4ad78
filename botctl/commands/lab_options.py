"""The options that verbs of the lab share, and what they mean for the façade: a dictionary of plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from botctl import offline_calls
from botctl.arguments import Decorator, Fraction, KeyValue, moment_ms, once, pairs, together
from botctl.completion import complete_strategy, complete_symbol
from botctl.exit_codes import USAGE, Fault
from botctl.session import Session
from botctl.terms import how_of, how_options

config_option = offline_calls.config_option("The configuration that says where data_dir and strategies_dir are.")
set_option = click.option(
    "--set", "params", type=KeyValue(), multiple=True, help="A parameter of the strategy: period=21, rsi.period=21."
)


def candle_options(many: bool) -> Decorator:
    """Add --symbol, --interval, --data, --from, --to and --config; ``many``: of several symbols."""
    several = " May be repeated." if many else ""
    return together(
        click.option(
            "--symbol",
            "symbols",
            required=True,
            multiple=True,
            callback=None if many else once,
            metavar="S",
            shell_complete=complete_symbol,
            help=f"BTC/USDT and the like.{several}",
        ),
        click.option("--interval", required=True, multiple=True, callback=once, help="1m, 5m, 1h ..."),
        click.option(
            "--data",
            "files",
            multiple=True,
            callback=None if many else once,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"Candles from this CSV, not from the local store.{' One a symbol.' if many else ''}",
        ),
        click.option("--from", "since", metavar="TIME", help="From this time, or how long ago: 30d."),
        click.option("--to", "until", metavar="TIME", help="Until this time."),
        config_option,
    )


term_options = together(
    set_option,
    click.option("--capital", default="10000", show_default=True, help="What it begins with, in quote."),
    click.option("--fee", type=Fraction(), default="0.1%", show_default=True, help="Of each fill's notional."),
    click.option(
        "--slippage",
        type=Fraction(),
        default="0.05%",
        show_default=True,
        help="Market and stop fills: so much worse.",
    ),
    how_options,
)
range_options = together(
    click.option(
        "--range",
        "ranges",
        multiple=True,
        metavar="NAME=LOW:HIGH:STEP",
        help="Vary a parameter or a stop: fast=5:20:5, fast=5,8,13, stop-loss=1%:5%:1%; a name alone: its bounds.",
    ),
    click.option(
        "--random", "random", type=click.IntRange(1), metavar="N", help="N sets by chance, not the whole grid."
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="For --random and --tpe."),
    click.option("--by", default="sharpe", show_default=True, help="Rank by this statistic: sharpe, return_pct ..."),
)
exact_option = click.option(
    "--exact",
    is_flag=True,
    help="Play by the bot itself, candle by candle, as strategies with orders of their own are.",
)
together_option = click.option(
    "--together", is_flag=True, help="Play all by bots of one account, under the configuration's risk limits."
)
strategies_argument = click.argument(
    "strategies", nargs=-1, required=True, metavar="STRATEGY...", shell_complete=complete_strategy
)
strategy_argument = click.argument("strategy", metavar="STRATEGY", shell_complete=complete_strategy)


def asked_of(session: Session, options: dict[str, Any]) -> dict[str, Any]:
    """Return what the façade is asked, from the options of a verb."""
    symbols = options.get("symbols") or ()
    files = options.get("files") or ()
    strategies = options["strategies"] if "strategies" in options else (options["strategy"],)
    if len(set(strategies)) != len(strategies):
        raise Fault(USAGE, "a strategy is given twice", "each once; sweep varies its parameters")
    return {
        "strategies": list(strategies),
        "symbols": [symbols] if isinstance(symbols, str) else list(symbols),
        "interval": options["interval"],
        "files": [files] if isinstance(files, Path) else list(files),
        "from_ms": moment_ms(session, options.get("since"), wall=True),
        "to_ms": moment_ms(session, options.get("until"), wall=True),
        "params": pairs(options["params"], "--set"),
        "terms": {key: options.get(key) for key in ("capital", "fee", "slippage")} | how_of(options),
    }


def ranges_of(given: tuple[str, ...]) -> dict[str, str]:
    """Return the ranges by name; a name alone has no text."""
    found: dict[str, str] = {}
    for text in given:
        name, _, words = text.partition("=")
        if not name.strip():
            raise Fault(USAGE, f"--range {text}: write name=low:high:step")
        if name.strip() in found:
            raise Fault(USAGE, f"--range {name.strip()}: given twice")
        found[name.strip()] = words.strip()
    return found
