"""The verb that waits until something is so, for scripts. It observes and changes nothing."""

from __future__ import annotations

import time
from typing import Any

import click

from botctl.cells import Column
from botctl.completion import complete_bot, complete_condition
from botctl.exit_codes import FAILED, OK, TIMEOUT, UNAVAILABLE, USAGE, Fault
from botctl.output import output_options, show_object, silent
from botctl.session import Session

OF_A_BOT = ("state", "desired", "position")
OF_THE_DAEMON = ("market", "health", "ready")
MARKET = ["playing", "paused", "ended", "waiting", "ready"]  # the last two: of an exchange
VALUES = {
    "state": ["created", "starting", "running", "degraded", "paused", "stopping", "stopped", "backoff", "failed"],
    "desired": ["running", "paused", "stopped"],
    "position": ["flat", "open"],
    "market": MARKET,
    "health": ["ok", "degraded", "failed"],
}
"""What can be waited for at all: a mistyped word would be waited for for ever."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.25
ABSENCE_S = 30.0  # how long a daemon that was there may be gone: a restart


class Condition:
    """What to wait for: a key and the values that end the wait."""

    def __init__(self, name: str | None, text: str) -> None:
        key, equals, values = text.partition("=")
        known = OF_A_BOT if name else OF_THE_DAEMON
        if key not in known:
            other = " (give the bot's NAME)" if key in OF_A_BOT else " (of the daemon: without a NAME)"
            remedy = "one of " + ", ".join(known)
            raise Fault(
                USAGE, f"--for {key}: {'not here' + other if key in OF_A_BOT + OF_THE_DAEMON else 'unknown'}", remedy
            )
        if key == "ready" and not equals:
            values = "true"
        if not values or (key == "ready" and values != "true"):
            raise Fault(USAGE, f"--for {text}: which value?", f"write {key}=VALUE or {key}=VALUE,VALUE")
        possible = VALUES.get(key) or values.split(",")
        if odd := [value for value in values.split(",") if value not in possible]:
            raise Fault(USAGE, f"--for {text}: {odd[0]!r} is no {key}", "one of " + ", ".join(possible))
        self.name, self.key, self.values = name, key, values.split(",")

    def observe(self, session: Session, timeout_s: float) -> str:
        """Ask the daemon once and return the present value; a failed bot that nobody waits for is a Fault."""
        if self.key == "ready":
            session.client.call("hello", {}, timeout_s)
            return "true"
        if self.key == "health":
            return str(session.client.call("health", {}, timeout_s).get("status"))
        if self.key == "market":
            return str(session.client.call("market.status", {}, timeout_s).get("state"))
        bot = session.client.call("show", {"name": self.name}, timeout_s)
        if bot.get("state") == "failed" and not (self.key == "state" and "failed" in self.values):
            raise Fault(
                FAILED, f"{self.name}: failed: {bot.get('note') or 'no reason given'}", f"botctl show {self.name}"
            )
        return self._value_of(bot)

    def _value_of(self, bot: dict[str, Any]) -> str:
        if self.key != "position":
            return str(bot.get(self.key))
        quantity = (bot.get("position") or {}).get("quantity") or "0"
        return "flat" if float(quantity) == 0 else "open"


@click.command("wait")
@click.argument("name", required=False, metavar="[NAME]", shell_complete=complete_bot)
@click.option(
    "--for",
    "what",
    required=True,
    metavar="KEY=VALUE[,VALUE]",
    shell_complete=complete_condition,
    help="What to wait for.",
)
@output_options
def wait_command(session: Session, name: str | None, what: str) -> int:
    """Wait until a bot, the market or the daemon is as asked.

    With NAME: state, desired, position=flat. Without: market, health, ready. Exit 75 after --timeout, and 1 at once
    when the bot is failed and that was not asked.

    \b
    Example:
      botctl wait alpha --for state=running --timeout 30s
      botctl wait --for market=ended
      botctl daemon restart && botctl wait --for ready
    """
    condition = Condition(name, what)
    began = time.monotonic()
    value = _wait(session, condition, session.timeout_s, began)
    if not silent(session):
        seconds = round(time.monotonic() - began, 3)
        seen = {"name": name, "key": condition.key, "value": value, "seconds": seconds}
        show_object(
            session, seen, lambda _: f"{name or 'botd'}  {condition.key} {value}\n", [Column(key) for key in seen]
        )
    return OK


def _wait(session: Session, condition: Condition, limit_s: float | None, began: float) -> str:
    last, pause = "nothing yet", FIRST_PAUSE_S
    seen_at: float | None = None
    while True:
        left = None if limit_s is None else limit_s - (time.monotonic() - began)
        if left is not None and left <= 0:
            who = condition.name or "botd"
            wanted = ",".join(condition.values)
            look = f"botctl show {condition.name}" if condition.name else "botctl health"
            raise Fault(TIMEOUT, f"{who}: {condition.key} is not {wanted} after {limit_s:g} s (now: {last})", look)
        try:
            value = condition.observe(session, min(5.0, left or 5.0))
        except Fault as fault:
            _bear(fault, condition, seen_at)
            last = "daemon not reachable"
        else:
            seen_at = time.monotonic()
            if value in condition.values:
                return value
            last = value
        time.sleep(pause if left is None else max(0.0, min(pause, left)))
        pause = min(LONGEST_PAUSE_S, pause * 1.3)


def _bear(fault: Fault, condition: Condition, seen_at: float | None) -> None:
    """Raise the fault, unless it is an absence that this wait lives through."""
    absent = fault.exit_code in (UNAVAILABLE, TIMEOUT)
    restarting = seen_at is not None and time.monotonic() - seen_at < ABSENCE_S
    if not absent or not (condition.key == "ready" or restarting):
        raise fault
