"""botd's own command line: configuration, locks, daemonising and logs, in that order; then the daemon itself.

Everything heavy is imported after the fork, by :func:`botd.app.serve`. This page ends in an exit code and,
where something is wrong, one line on stderr with the remedy below it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from botd import __version__
from botd.control.protocol import EXIT_CODES
from botd.domain.errors import BotdError

if TYPE_CHECKING:
    from botd.config import Config
    from botd.daemonize import Readiness
    from botd.locks import Locks
    from botd.logs import Logs
    from botd.systemd import Notifier

Serve = Callable[..., int]
"""``serve(config, ready=, logs=, notifier=, locks=) -> exit code``: runs until told to stop; see botd.app."""

USAGE, INTERNAL, INTERRUPTED = 2, 70, 130
LOG = logging.getLogger("botd.cli")


@dataclass(frozen=True, slots=True)
class Options:
    """The command line as given."""

    config: Path | None
    state_dir: str | None
    log_level: str | None
    daemon: bool

    def overrides(self) -> dict[str, str]:
        given = {"state_dir": self.state_dir, "log.level": self.log_level}
        return {key: text for key, text in given.items() if text is not None}


@click.command("botd", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Read this file; else $BOTD_CONFIG.")
@click.option("--state-dir", metavar="DIR", help="Keep ledger, logs and socket here.")
@click.option(
    "--log-level",
    metavar="LEVEL",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="debug, info (the default), warning or error.",
)
@click.option("--daemon", is_flag=True, help="Detach; return when commands are answered.")
@click.version_option(__version__, message="botd %(version)s")
def command(config: Path | None, state_dir: str | None, log_level: str | None, daemon: bool) -> Options:
    """Run many trading bots on one market; steer them with botctl.

    Without a configuration: paper money on a synthetic market. Stays in the foreground and logs to stderr
    unless --daemon is given.
    """
    return Options(config, state_dir, log_level, daemon)


def main() -> None:
    """Run the command line of this process."""
    os.umask(0o027)
    sys.exit(run())


def run(
    arguments: list[str] | None = None, *, serve: Serve | None = None, environ: MutableMapping[str, str] = os.environ
) -> int:
    """Run one command line and return its exit code; ``serve`` stands in for the daemon in tests."""
    _open_standard_streams()
    try:
        options = command.main(args=arguments, prog_name="botd", standalone_mode=False)
        if not isinstance(options, Options):  # --help and --version have said their part
            return int(options or 0)
        return launch(options, serve, environ)
    except click.ClickException as error:
        return _report(USAGE, error.format_message(), "botd --help lists the options")
    except BotdError as error:
        return _report(exit_code_of(error), error.message, error.hint)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except Exception as error:  # before there are logs: one line all the same
        return _report(INTERNAL, f"internal error: {type(error).__name__}: {error}")


def launch(options: Options, serve: Serve | None, environ: MutableMapping[str, str]) -> int:
    """Read the configuration, take the locks, detach where asked, and serve."""
    from botd.config import load
    from botd.daemonize import Outcome, Readiness, detach
    from botd.locks import acquire, make_private
    from botd.logs import main_file
    from botd.offline import risk_check
    from botd.systemd import Notifier

    config = load(options.config, environ, overrides=options.overrides(), check_risk=risk_check())
    locks = acquire(config.state_dir, config.socket)
    notifier = Notifier(environ)
    try:
        if not options.daemon:
            return _serve(config, Readiness(notifier), serve, environ, (locks, notifier))
        make_private(config.state_dir / "logs")
        started = detach(keep=locks.descriptors, stderr=main_file(config), notifier=notifier)
        if isinstance(started, Outcome):
            for warning in config.warnings if started.exit_code == 0 else ():
                _tell(f"warning: {warning}")  # the log has it too, but who looks there after a start that went well
            return _report(started.exit_code, started.message, started.hint)
        return _serve(config, started, serve, environ, (locks, notifier), detached=True)
    finally:
        locks.release()


def exit_code_of(error: BotdError) -> int:
    """Return the exit code of an error's code."""
    return EXIT_CODES.get(error.code, INTERNAL)


def _serve(
    config: Config,
    readiness: Readiness,
    serve: Serve | None,
    environ: MutableMapping[str, str],
    parts: tuple[Locks, Notifier],
    *,
    detached: bool = False,
) -> int:
    from botd import logs
    from botd.domain.clock import WallClock

    locks, notifier = parts
    running: Logs | None = None
    try:
        if detached:
            locks.write_pid()
        running = logs.start(config, clock=WallClock(), environ=environ, stderr=None if detached else sys.stderr)
        for warning in config.warnings:
            LOG.warning("%s", warning)
        serve = serve or _daemon()
        exit_code = serve(config, ready=readiness.ready, logs=running, notifier=notifier, locks=locks)
        failure = (exit_code, "botd ended before it was ready", f"see {logs.main_file(config)}")
        _tell_caller(readiness, (exit_code or INTERNAL, *failure[1:]))
        return exit_code
    except BotdError as error:
        failure = (exit_code_of(error), error.message, error.hint)
        if detached:
            LOG.error("%s", f"{error.message} ({error.hint})" if error.hint else error.message)
    except Exception as error:
        LOG.exception("botd ends: an error that it does not know")
        failure = (INTERNAL, f"internal error: {type(error).__name__}: {error}", f"see {logs.main_file(config)}")
    finally:
        if running is not None:
            running.close()
    _tell_caller(readiness, failure)
    return failure[0] if detached else _report(*failure)


def _daemon() -> Serve:
    from botd.app import serve

    return serve


def _tell_caller(readiness: Readiness, failure: tuple[int, str, str]) -> None:
    from botd.daemonize import Outcome

    readiness.failed(Outcome(*failure))


def _report(exit_code: int, message: str, hint: str = "") -> int:
    """Print what is wrong and its remedy, and return the exit code."""
    if message:
        _tell(f"error: {message}", hint)
    return exit_code


def _tell(message: str, hint: str = "") -> None:
    from botd.log_text import escape

    sys.stderr.write(f"botd: {escape(message)}\n")
    if hint:
        sys.stderr.write(f"  hint: {escape(hint)}\n")
    sys.stderr.flush()


def _open_standard_streams() -> None:
    """Open /dev/null for closed standard streams: else a lock or the pipe would get their numbers, and be lost."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    main()
