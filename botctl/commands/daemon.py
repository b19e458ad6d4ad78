"""Verbs about the daemon itself: start, stop, status, ping, reload, its unit file, and a backup of its ledger."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from botctl.cells import Column, age
from botctl.client import LISTENING, Client, asked_for, candidates, probe, start_hint
from botctl.details import details
from botctl.exit_codes import FAILED, NOT_RUNNING, OK, TIMEOUT, UNAVAILABLE, USAGE, Fault
from botctl.offline_calls import offline
from botctl.output import MARKETS, Row, output_options, show_object, silent, write
from botctl.places import places, refuse_another_daemon
from botctl.session import SLOW_TIMEOUT_S, Session, clean

STOP_TIMEOUT_S = 45.0  # the daemon gives itself 38
LEDGER_READ_S = 1.0


class DaemonGroup(click.Group):
    """The group of these verbs; who looks here for another one is told where it is."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        root = ctx.find_root().command
        if args[0] not in self.commands and isinstance(root, click.Group) and args[0] in root.list_commands(ctx):
            raise Fault(USAGE, f"daemon {args[0]}: no such verb", f"it stands by itself: botctl {args[0]}")
        return super().resolve_command(ctx, args)


@click.group("daemon", cls=DaemonGroup)
@output_options
def daemon_command(session: Session) -> None:
    """Start, stop and look at the daemon.

    \b
    Example:
      botctl daemon start
      botctl daemon status
    """


def config_option(function: Any) -> Any:
    """Add --config, passed on to botd."""
    return click.option("--config", type=click.Path(dir_okay=False), help="The configuration file for botd.")(function)


@daemon_command.command("start")
@config_option
@output_options
def daemon_start(session: Session, config: str | None) -> int:
    """Start botd in the background; returns when it answers.

    It says where its socket and its state are, and what is wrong with its configuration or its ledger; an endpoint
    that names another socket is refused.

    \b
    Example:
      botctl daemon start --config ~/.config/botd/botd.yaml
    """
    return _start(session, config)


@daemon_command.command("stop")
@output_options
def daemon_stop(session: Session) -> int:
    """Stop botd; positions stay, and the bots run again at the next start.

    \b
    Example:
      botctl daemon stop
    """
    hello = _hello(session)
    if hello is None:
        session.say("botd is not running")
        return OK
    _stop(session, hello)
    session.say("botd is stopped")
    return OK


@daemon_command.command("restart")
@config_option
@output_options
def daemon_restart(session: Session, config: str | None) -> int:
    """Stop botd and start it again, with the configuration that it had.

    The configuration, and what it names, is read first: where botd could not start with it, the running one goes on.

    \b
    Example:
      botctl daemon restart && botctl wait --for ready
    """
    if config and not asked_for(session.endpoint):
        session.endpoint = places(config)[0]  # the daemon of this configuration, not the user's usual one
    hello = _hello(session)
    if hello is None:
        return _start(session, config)
    if config:
        refuse_another_daemon(session, config, "botd would listen on")
    arguments = ["--config", os.path.abspath(config)] if config else _arguments_of(hello)
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    offline("start_check", options.get("--config"), options.get("--state-dir"))  # a mistake stops nothing
    _stop(session, hello)
    code = _run_botd(arguments)
    if code == OK:
        _tell_where(session, *(places(config) if config else (session.client.path, str(hello.get("state_dir", "")))))
    return code


@daemon_command.command("status")
@output_options
def daemon_status(session: Session) -> int:
    """Show whether botd runs: process, version, market; exit 3 if not.

    \b
    Example:
      botctl daemon status -q || botctl daemon start
    """
    hello = _hello(session)
    if hello is None:
        if not silent(session):
            show_object(session, {"running": False}, lambda _: "botd is not running\n", [Column("running")])
            session.say(start_hint(session.endpoint))
        return NOT_RUNNING
    status = {"running": True, "socket": session.client.path, **hello}
    if not silent(session):
        show_object(session, status, _status_text)
    return OK


@daemon_command.command("ping")
@output_options
def daemon_ping(session: Session) -> int:
    """Ask botd for a sign of life, and print how long it took.

    \b
    Example:
      botctl daemon ping
    """
    session.client.connect()
    began = time.perf_counter()
    answer = session.call("ping")
    milliseconds = round((time.perf_counter() - began) * 1000, 3)
    show_object(session, {**answer, "ms": milliseconds}, lambda _: f"pong in {milliseconds:.2f} ms\n")
    return OK


@daemon_command.command("reload")
@output_options
def daemon_reload(session: Session) -> int:
    """Let botd read its configuration again; on an error the old one stays.

    \b
    Example:
      botctl daemon reload
    """
    show_object(session, session.call("reload"), _reload_text)
    return OK


@daemon_command.command("unit")
@output_options
def daemon_unit_command(session: Session) -> int:
    """Print a systemd unit for botd.

    \b
    Example:
      botctl daemon unit | sudo tee /etc/systemd/system/botd.service
    """
    write(offline("daemon_unit").rstrip("\n") + "\n")
    if warning := offline("daemon_unit_warning"):
        session.warn(warning)
    return OK


@click.command("backup")
@click.option("--verify", is_flag=True, help="Open the copy and check it.")
@output_options
def backup_command(session: Session, verify: bool) -> int:
    """Copy the ledger while botd runs; prints where it is.

    --verify reads every row of the copy. One with damaged rows is kept, named as damaged, and the exit code is 1.
    Without a daemon a copy of the whole state directory is as good.

    \b
    Example:
      botctl backup --verify
    """
    try:
        made = session.call("backup", {"verify": verify}, SLOW_TIMEOUT_S)
    except Fault as fault:
        if fault.exit_code == UNAVAILABLE and "daemon start" in fault.hint:
            hint = f"{fault.hint}; while botd is stopped, copy its whole state directory: cp -a STATE_DIR COPY"
            raise Fault(UNAVAILABLE, fault.message, hint) from None
        raise

    def line(value: Row) -> str:
        checked = "  verified" if value.get("verified") else "  DAMAGED" if value.get("damage") else ""
        return clean(f"{value['path']}  {value.get('bytes', 0):,} bytes{checked}") + "\n"

    show_object(session, made, line)
    if damage := made.get("damage"):
        session.say(f"error: the ledger is damaged, and so is the copy: {clean(str(damage))}")
        session.say("see botctl audit verify for the rest; an earlier backup may be sound")
        return FAILED
    return OK


def _hello(session: Session) -> Row | None:
    """Return what the daemon says of itself, None where no daemon is there."""
    try:
        hello: Row = session.call("hello")
    except Fault as fault:
        if fault.exit_code == UNAVAILABLE:
            return None
        raise
    return hello


def _start(session: Session, config: str | None) -> int:
    refuse_another_daemon(session, config, "botd would listen on")
    arguments = ["--config", os.path.abspath(config)] if config else []
    if given := os.environ.get("BOTD_STATE_DIR"):
        arguments += ["--state-dir", os.path.abspath(given)]
    code = _run_botd(arguments)
    if code == OK:
        _tell_where(session, *places(config))
    return code


def _tell_where(session: Session, socket: str, state_dir: str) -> None:
    """Say which botd was started, and how to reach it where botctl does not look by itself."""
    session.say(f"botd is running: socket {socket}, state in {state_dir}")
    if socket not in candidates(session.endpoint):
        session.say(f"reach it with: export BOTCTL_ENDPOINT={socket}")
    for warning in _warnings_at(socket):
        session.warn(warning)


def _warnings_at(socket: str) -> list[str]:
    """Return what a botd that was just started warns of; its ledger is read first, for a second at most."""
    client, until = Client(socket), time.monotonic() + LEDGER_READ_S
    try:
        while True:
            hello = client.call("hello", {}, LEDGER_READ_S)
            if hello.get("ledger_checked", True) or time.monotonic() > until:
                return [str(warning) for warning in hello.get("warnings") or ()]
            time.sleep(0.02)
    except Fault:
        return []  # it runs, and says so later: daemon status, health
    finally:
        client.close()


def _run_botd(arguments: list[str]) -> int:
    import subprocess

    code = subprocess.run([*offline("daemon_command"), "--daemon", *arguments], check=False).returncode
    return code if code >= 0 else 128 - code


def _arguments_of(hello: Row) -> list[str]:
    """Return the options that the running botd was started with: --config and --state-dir."""
    try:
        with open(f"/proc/{int(hello['pid'])}/cmdline", "rb") as file:
            words = [os.fsdecode(word) for word in file.read().split(b"\0")]
    except (OSError, ValueError, KeyError):
        return ["--config", str(hello["config"])] if hello.get("config") else []
    kept: list[str] = []
    for index, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in ("--config", "--state-dir", "--log-level"):
            given = value if equals else words[index + 1]
            kept += [option, str(hello.get("config") or given) if option == "--config" else given]
    return kept


def _stop(session: Session, hello: Row) -> None:
    """Ask botd to end, and wait until its socket and its process are gone."""
    pid, path = int(hello.get("pid") or 0), session.client.path
    watched = pid if pid and _alive(pid) else 0
    limit_s = session.timeout_s or STOP_TIMEOUT_S
    session.client.call("shutdown", {}, min(limit_s, 10.0))
    session.client.close()
    until = time.monotonic() + limit_s
    while probe(path) == LISTENING or (watched and _alive(watched)):
        if time.monotonic() > until:
            raise Fault(
                TIMEOUT, f"botd (pid {pid}) is still stopping after {limit_s:g} s", "botctl logs, or look at it with ps"
            )
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def _status_text(status: Row) -> str:
    hidden = ("running", "commands", "protocol", "events", "ledger_checked")
    shown = {key: value for key, value in status.items() if key not in hidden and value != []}
    if shown.get("source") in MARKETS and "exchange" in shown:
        shown["exchange"] = "simulated"
    if shown.get("uptime_s") is not None:
        shown["uptime"] = age(shown.pop("uptime_s"))
    return "botd is running\n" + "".join(clean(line) + "\n" for line in details(shown, "  "))


def _reload_text(outcome: Row) -> str:
    changed, waiting = outcome.get("changed") or [], outcome.get("restart_needed") or []
    lines = ["changed: " + ", ".join(map(str, changed)) if changed else "nothing changed"]
    if waiting:
        lines.append("needs a restart: " + ", ".join(map(str, waiting)))
    return "".join(clean(line) + "\n" for line in lines)
