"""botctl's root: the table of verbs, loaded when called, and the one place where a fault becomes an exit code.

This page knows the name of every verb and where its page is; it knows nothing of what they do.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

import click

from botctl.exit_codes import FAILED, INTERNAL, INTERRUPTED, OK, USAGE, Fault
from botctl.output import output_options
from botctl.session import Session, report_error

# verb -> module of botctl.commands; the object there has the verb's name with _ for -, and _command at its end
VERBS: dict[str, dict[str, str]] = {
    "Lifecycle": {
        "create": "create",
        "start": "lifecycle",
        "stop": "lifecycle",
        "restart": "lifecycle",
        "pause": "lifecycle",
        "resume": "lifecycle",
        "set": "lifecycle",
        "rm": "lifecycle",
        "start-all": "lifecycle",
        "stop-all": "lifecycle",
    },
    "Inspect": {
        "ls": "inspect",
        "show": "inspect",
        "top": "top",
        "why": "why",
        "stats": "inspect",
        "portfolio": "portfolio",
        "health": "portfolio",
        "wait": "wait",
    },
    "Trading": {
        "orders": "trading",
        "fills": "trading",
        "trades": "trading",
        "positions": "trading",
        "equity": "trading",
        "close": "closing",
        "flatten": "closing",
        "panic": "panic",
    },
    "Risk": {"halt": "risk", "reduce": "risk", "release": "risk", "risk": "risk", "live": "live", "limits": "live"},
    "Market": {"prices": "market", "candles": "market", "symbols": "market", "market": "market"},
    "Logs": {"logs": "logs", "events": "events"},
    "Lab": {
        "strategies": "lab",
        "check": "backtest",
        "backtest": "backtest",
        "sweep": "sweep",
        "walk-forward": "sweep",
        "report": "backtest",
        "replay": "replay",
    },
    "Data": {"data": "data"},
    "Audit": {"audit": "audit", "reconcile": "live", "resolve": "live"},
    "Fleet": {"apply": "fleet", "export": "fleet"},
    "Daemon": {
        "daemon": "daemon",
        "config": "setup",
        "doctor": "setup",
        "backup": "daemon",
        "completion": "setup",
        "demo": "demo",
    },
}


class LazyGroup(click.Group):
    """The root group: a verb's page is imported when the verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all verbs, in the order of the groups."""
        return [verb for verbs in VERBS.values() for verb in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a verb's command, or None."""
        for verbs in VERBS.values():
            if cmd_name in verbs:
                page = __import__("botctl.commands." + verbs[cmd_name], fromlist=["page"])
                command: click.Command = getattr(page, cmd_name.replace("-", "_") + "_command")
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; a wrong one is answered with the nearest right one."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-") and not ctx.resilient_parsing:
            from botctl.hints import did_you_mean

            hint = did_you_mean(args[0], self.list_commands(ctx)) or "botctl --help lists all verbs"
            raise Fault(USAGE, f"{args[0]}: no such verb", hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs, group by group, each with its one line."""
        for title, verbs in VERBS.items():
            with formatter.section(title):
                lines = []
                for verb in verbs:
                    command = self.get_command(ctx, verb)
                    lines.append((verb, command.get_short_help_str(100) if command else ""))
                formatter.write_dl(lines)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@output_options
def botctl(session: Session) -> None:
    """Steer botd, the daemon that runs trading bots.

    Options may stand before or after the verb. Data goes to stdout, talk to stderr. Exit codes: 0 done or already so,
    1 failed, 2 usage, 3 not running, 4 not found, 5 refused, 69 unavailable, 75 timeout, 77 no permission,
    78 configuration.

    \b
    Example:
      botctl create alpha --strategy rsi --symbol BTC/USDT --interval 1m --capital 1000 --start
      botctl ls
    """


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; all output is flushed."""
    try:
        words = _in_full(sys.argv[1:] if arguments is None else arguments)
        outcome: Any = botctl.main(args=words, prog_name="botctl", standalone_mode=False)
        sys.stdout.flush()
    except Fault as fault:
        return _failed(fault.exit_code, fault.message, fault.hint)
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # click 8.2 and newer: a group without a verb
            click.echo(error.format_message(), err=True)
            return USAGE
        return _failed(USAGE, _in_words(error), _usage_hint(error))
    except click.ClickException as error:
        return _failed(USAGE, error.format_message())
    except (KeyboardInterrupt, click.Abort):  # click has ended the line
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # what click makes of it, and the end of an answer to TAB
        # The reader went away (head, a closed pager): nothing to say, and nothing left to flush.
        _drop_output()
        return OK
    except OSError as error:  # stdout: a full disk, a closed descriptor
        return _failed(FAILED, f"cannot write: {error.strerror or error}")
    except Exception as error:  # a mistake in botctl: one line all the same
        return _failed(INTERNAL, f"internal error: {type(error).__name__}: {error}")
    return outcome if isinstance(outcome, int) else OK


def _in_full(words: list[str]) -> list[str]:
    """Return the words with -o and -q in full: of a short option click first seeks what it might be a slip of."""
    end = words.index("--") if "--" in words else len(words)
    return [{"-o": "--output", "-q": "--quiet"}.get(word, word) for word in words[:end]] + words[end:]


def _in_words(error: click.UsageError) -> str:
    """Return click's message; of a number it says what it must be, where click speaks of ``valid float range``."""
    message = error.format_message()
    kind: Any = getattr(getattr(error, "param", None), "type", None)
    word = {"integer": "a whole number", "float": "a number"}.get(getattr(kind, "name", "").split(" ")[0], "")
    fact, found, _ = message.rpartition(" is not ")
    if not word or not found:
        return message
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    bounds = f" from {low} to {high}" if high is not None else f" of at least {low}" if low is not None else ""
    return f"{fact} is not {word}{bounds}"


def _usage_hint(error: click.UsageError) -> str:
    return f"{error.ctx.command_path} --help" if error.ctx is not None else ""


def _failed(exit_code: int, message: str, hint: str = "") -> int:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    report_error(message.replace("\n", " "), hint)
    return exit_code


def _drop_output() -> None:
    """Let what is not written yet go nowhere."""
    with suppress(OSError):
        sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Run the command line of this process and end it.

    Everything is flushed, so the process ends at once: taking the interpreter apart costs as much as a request.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller; opened in order, each gets its own number back
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - lives as long as the process
    for stream in (sys.stdout, sys.stderr):
        lossless = stream.encoding.lower() == "utf-8"  # what it cannot hold are half surrogates: JSON's own escapes
        stream.reconfigure(errors="backslashreplace" if lossless else "replace")  # type: ignore[union-attr]
    exit_code = run()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
