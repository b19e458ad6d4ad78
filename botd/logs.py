"""Where the logs go: stderr, ``<state_dir>/logs/botd.log`` and one file a bot, behind one bounded queue.

The loop only puts records into the queue; a thread of its own formats and writes them, so that a full disk
or a stalled terminal never stops trading. Records of ``botd.bot.NAME`` go to ``NAME.log`` too. Files are
rotated here at 10 MB unless somebody else (logrotate) did it before. It makes no log lines of its own
business.
"""

from __future__ import annotations

import copy
import logging
import logging.handlers
import os
import queue
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from botd.config import Config, LogConfig
from botd.domain.clock import Clock
from botd.domain.errors import ForbiddenError
from botd.log_text import JsonFormatter, Redactor, TextFormatter, trace_of

BOT_PREFIX = "botd.bot."
MAX_BYTES = 10_000_000
KEEP = 10
QUEUE_SIZE = 20_000
OPEN_BOT_FILES = 64
_BOT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class RotatingFile(logging.handlers.WatchedFileHandler):
    """A file that is reopened when somebody moved it, and moved by us when it is too large."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, keep: int = KEEP) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace", delay=True)
        self._max_bytes = max_bytes
        self._keep = keep
        self.failures = 0

    def open(self) -> None:
        """Open the file now; OSError where that fails."""
        self.stream = self._open()
        self._statstream()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._rotate_when_full()
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of the base class
        """Count and go on: a full disk must not stop the daemon. What could not be written is dropped."""
        self.failures += 1
        self.close()

    def close(self) -> None:
        """Close the file, whether or not its last lines still fit on the disk."""
        try:
            super().close()
        except OSError:
            self.failures += 1

    def _rotate_when_full(self) -> None:
        if self.stream is None:
            self.open()
        self.reopenIfNeeded()
        if self.stream is None or os.fstat(self.stream.fileno()).st_size < self._max_bytes:
            return
        for number in range(self._keep - 1, 0, -1):
            if os.path.exists(f"{self.baseFilename}.{number}"):
                os.replace(f"{self.baseFilename}.{number}", f"{self.baseFilename}.{number + 1}")
        os.replace(self.baseFilename, f"{self.baseFilename}.1")
        self.reopenIfNeeded()


class BotFiles(logging.Handler):
    """Routes the records of ``botd.bot.NAME`` to ``NAME.log``; the files least used are closed."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._files: OrderedDict[str, RotatingFile] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        name = record.name.removeprefix(BOT_PREFIX)
        if name == record.name or not _BOT_NAME.fullmatch(name):
            return
        file = self._files.pop(name, None)
        if getattr(record, "closes_file", False):
            if file:
                file.close()
            return
        if file is None:
            file = RotatingFile(self._directory / f"{name}.log")
            file.setFormatter(self.formatter)
        self._files[name] = file
        file.emit(record)
        while len(self._files) > OPEN_BOT_FILES:
            self._files.popitem(last=False)[1].close()

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
        super().close()


class _Inlet(logging.handlers.QueueHandler):
    """Stamps a record with wall time, and with the market's where that is its own, and queues it.

    When the queue is full it is counted, not kept.
    """

    def __init__(self, records: queue.Queue[Any], clock: Clock) -> None:
        super().__init__(records)
        self.records = records
        self._clock = clock
        self.market_ms: Callable[[], int] | None = None
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        record = copy.copy(record)
        record.msg, record.args = record.getMessage(), None
        record.exc_text, record.exc_info = trace_of(record), None
        record.wall_ms = self._clock.wall_ms()
        if self.market_ms is not None and record.name.startswith("botd."):
            record.market_ms = self.market_ms()
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A message that cannot be formatted is a mistake in a log call, not a reason to stop."""
        self.dropped += 1


class _Stderr(logging.StreamHandler[Any]):
    """stderr, with failures to write ignored: the terminal may be gone."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass


class Logs:
    """The running logs: change the level, end a bot's file, learn a secret, close."""

    def __init__(self, inlet: _Inlet, outlets: list[logging.Handler], redactor: Redactor, directory: Path) -> None:
        self.directory = directory
        self.redactor = redactor
        self._inlet = inlet
        self._outlets = outlets
        self._listener = logging.handlers.QueueListener(inlet.records, *outlets)
        self._listener.start()

    def show_market_time(self, market_ms: Callable[[], int]) -> None:
        """From now on every line of botd's own says what time it is on the market too (a simulated one)."""
        self._inlet.market_ms = market_ms

    def set_level(self, level: str) -> None:
        """Set the level of botd's own records; other libraries never say more than info."""
        number = logging.getLevelName(level.upper())
        logging.getLogger("botd").setLevel(number)
        logging.getLogger().setLevel(max(number, logging.INFO))
        for library in ("ccxt", "aiohttp"):  # at debug they would log signed requests
            logging.getLogger(library).setLevel(max(number, logging.INFO))

    def close_bot(self, name: str) -> None:
        """Close the file of a bot that was removed; the file stays, and a new record would open it again."""
        record = logging.LogRecord(BOT_PREFIX + name, logging.INFO, "", 0, "removed", None, None)
        record.closes_file = True
        self._inlet.enqueue(record)

    def path(self, name: str | None = None) -> Path:
        """Return the file of a bot, or of the daemon."""
        return self.directory / f"{name}.log" if name else self.directory / "botd.log"

    def statistics(self) -> dict[str, int]:
        """Return how many lines were lost, and could not be written, and how many wait."""
        failures = sum(getattr(outlet, "failures", 0) for outlet in self._outlets)
        return {"dropped": self._inlet.dropped, "failures": failures, "waiting": self._inlet.records.qsize()}

    def close(self) -> None:
        """Write what is queued and close the files."""
        logging.getLogger().removeHandler(self._inlet)
        self._listener.stop()
        for outlet in self._outlets:
            outlet.close()


def start(
    config: Config,
    *,
    clock: Clock,
    environ: Mapping[str, str],
    stderr: TextIO | None,
    secrets: Iterable[str] = (),
) -> Logs:
    """Send all logging of this process to where ``config`` says, from a thread of its own.

    ``stderr`` is None for a detached daemon. Call after forking. Raises ForbiddenError when the log
    directory cannot be made.
    """
    directory = config.state_dir / "logs"
    redactor = Redactor(secrets)
    if config.keys is not None:
        redactor.add(config.keys.api_key.reveal())
        redactor.add(config.keys.api_secret.reveal())
    outlets = _outlets(config.log, directory, redactor, stderr, journal=bool(environ.get("JOURNAL_STREAM")))
    inlet = _Inlet(queue.Queue(QUEUE_SIZE), clock)
    logs = Logs(inlet, outlets, redactor, directory)
    logging.getLogger().addHandler(inlet)
    logging.captureWarnings(True)
    logs.set_level(config.log.level)
    return logs


def main_file(config: Config) -> Path:
    """Return the file of the daemon's own log."""
    return config.log.file or config.state_dir / "logs" / "botd.log"


def _outlets(
    log: LogConfig, directory: Path, redactor: Redactor, stderr: TextIO | None, *, journal: bool
) -> list[logging.Handler]:
    file = RotatingFile(log.file or directory / "botd.log")
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        file.open()
    except OSError as error:
        raise ForbiddenError(f"{error.filename or directory}: {error.strerror}", "see log.file, state_dir") from None
    form: logging.Formatter = JsonFormatter(redactor) if log.format == "json" else TextFormatter(redactor)
    bots = BotFiles(directory)
    outlets: list[logging.Handler] = [file, bots]
    for outlet in outlets:
        outlet.setFormatter(form)
    if stderr is not None:
        console = _Stderr(stderr)
        console.setFormatter(TextFormatter(redactor, journal=True) if journal and log.format == "text" else form)
        outlets.append(console)
    return outlets
