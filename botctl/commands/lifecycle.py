"""Verbs that say what bots should be doing. One row a bot; all are tried; the worst decides the exit code."""

from __future__ import annotations

from typing import Any

import click

from botctl.arguments import (
    KeyValue,
    bot_argument,
    bots_argument,
    confirm,
    fraction_text,
    in_pairs,
    pair_hint,
    pairs,
    selector_of,
    yes_option,
)
from botctl.completion import complete_setting
from botctl.exit_codes import USAGE, Fault
from botctl.output import output_options, show_actions
from botctl.session import DEFAULT_TIMEOUT_S, SLOW_TIMEOUT_S, Session
from botctl.terms import FRACTIONS

LABEL = "label."


def act(session: Session, cmd: str, wire: dict[str, Any], default_s: float = DEFAULT_TIMEOUT_S) -> int:
    """Send an action and show its rows."""
    rows = session.call(cmd, wire, default_s)["rows"]
    if not rows:
        session.say("no bots")
    for row in rows:
        for warning in row.get("warnings") or ():
            session.warn(f"{row.get('name')}: {warning}")
    return show_actions(session, rows)


@click.command("start")
@bots_argument
@output_options
def start_command(session: Session, names: tuple[str, ...], everything: bool, labels: Any) -> int:
    """Start bots; a running one is left alone.

    \b
    Example:
      botctl start alpha beta
      botctl start -l team=a
    """
    return act(session, "start", selector_of(names, everything, labels))


@click.command("stop")
@bots_argument
@click.option("--close", is_flag=True, help="Sell what they hold, too.")
@yes_option
@output_options
def stop_command(
    session: Session, names: tuple[str, ...], everything: bool, labels: Any, close: bool, yes: bool
) -> int:
    """Stop bots: no more signals, working entries cancelled.

    What a bot holds stays, and its stop and target are still guarded; --close sells it. --all --close asks first.

    \b
    Example:
      botctl stop alpha
      botctl stop alpha --close
    """
    return _stop(session, selector_of(names, everything, labels), close, yes)


def _stop(session: Session, selector: dict[str, Any], close: bool, yes: bool) -> int:
    if close and "all" in selector:
        confirm(session, "stop all bots and sell everything they hold", yes)
    wire = {**selector, "close": True} if close else selector
    return act(session, "stop", wire, SLOW_TIMEOUT_S if close else DEFAULT_TIMEOUT_S)


@click.command("restart")
@bots_argument
@output_options
def restart_command(session: Session, names: tuple[str, ...], everything: bool, labels: Any) -> int:
    """Stop and start bots; clears a failure.

    \b
    Example:
      botctl restart alpha
    """
    return act(session, "restart", selector_of(names, everything, labels))


@click.command("pause")
@bots_argument
@output_options
def pause_command(session: Session, names: tuple[str, ...], everything: bool, labels: Any) -> int:
    """Pause bots: no new entries, exits go on.

    \b
    Example:
      botctl pause --all
    """
    return act(session, "pause", selector_of(names, everything, labels))


@click.command("resume")
@bots_argument
@output_options
def resume_command(session: Session, names: tuple[str, ...], everything: bool, labels: Any) -> int:
    """Let paused bots enter again.

    \b
    Example:
      botctl resume alpha
    """
    return act(session, "resume", selector_of(names, everything, labels))


@click.command("rm")
@bots_argument
@click.option("--force", is_flag=True, help="Also with a position or open orders; what is held becomes unassigned.")
@yes_option
@output_options
def rm_command(session: Session, names: tuple[str, ...], everything: bool, labels: Any, force: bool, yes: bool) -> int:
    """Remove bots; their orders, fills and trades are kept.

    A bot with a position or open orders is refused (5). --force removes it all the same, after asking, and prints
    what is now unassigned. --all asks first, too. See botctl ls --removed.

    \b
    Example:
      botctl rm alpha
      botctl rm alpha --force --yes
    """
    selector = selector_of(names, everything, labels)
    if force or everything:
        who = " ".join(names) or ("all bots" if everything else "them")
        confirm(session, f"remove {who}" + (", and leave what is held without a guard" if force else ""), yes)
    return act(session, "rm", {**selector, "force": True} if force else selector)


@click.command("start-all")
@output_options
def start_all_command(session: Session) -> int:
    """Start all bots.

    \b
    Example:
      botctl start-all
    """
    return act(session, "start", {"all": True})


@click.command("stop-all")
@click.option("--close", is_flag=True, help="Sell what they hold, too; asks first.")
@yes_option
@output_options
def stop_all_command(session: Session, close: bool, yes: bool) -> int:
    """Stop all bots; what they hold stays guarded.

    \b
    Example:
      botctl stop-all
    """
    return _stop(session, {"all": True}, close, yes)


class Change(KeyValue):
    """``key=value`` as a pair; ``label.key-`` is one with no value."""

    name = "change"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return the pair."""
        if isinstance(value, str) and value.startswith(LABEL) and value.endswith("-") and "=" not in value:
            value = value[:-1] + "="
        return super().convert(value, param, ctx)


class SetCommand(click.Command):
    """The verb that takes KEY=VALUE: who writes it as create's options is shown how."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except (click.NoSuchOption, click.BadArgumentUsage, click.BadParameter) as error:
            if hint := pair_hint(given, f"{ctx.command_path} "):
                wrong = getattr(error, "option_name", "")
                raise Fault(USAGE, f"set {wrong}: no such option" if wrong else error.format_message(), hint) from None
            raise


@click.command("set", cls=SetCommand)
@bot_argument
@click.argument(
    "changes", nargs=-1, required=True, type=Change(), metavar="KEY=VALUE...", shell_complete=complete_setting
)
@output_options
def set_command(session: Session, name: str, changes: tuple[tuple[str, str], ...]) -> int:
    """Change a bot's parameters, capital, sizing or stops.

    KEY is capital, fraction, risk_per_trade, stop_loss, take_profit, trailing_stop, atr_stop, break_even, time_stop,
    interval, or a parameter of the strategy. The value off takes a stop away. label.KEY=VALUE sets a label, label.KEY-
    takes it away.

    \b
    Example:
      botctl set alpha period=21 stop_loss=1.5%
      botctl set alpha label.team=b label.old-
    """
    wire = {key: _value(key, value) for key, value in pairs(changes, "set").items()}
    try:
        return act(session, "set", {"name": name, "changes": wire})
    except Fault as fault:
        raise Fault(fault.exit_code, in_pairs(fault.message), in_pairs(fault.hint), fault.code) from None


def _value(key: str, value: str) -> str:
    if "-" in key and not key.startswith(LABEL):  # no parameter of a strategy has one either
        raise Fault(USAGE, f"{key}: no such key", f"did you mean {key.replace('-', '_')}?")
    if key not in FRACTIONS or value in ("off", "none", ""):
        return value
    try:
        return fraction_text(value)
    except ValueError as error:
        raise Fault(USAGE, f"{key}: {error}") from None
