"""Logs: destinations, form, rotation, and what must never appear in them."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from botd.config import Config, from_mapping
from botd.domain.clock import VirtualClock
from botd.domain.errors import ForbiddenError
from botd.keys import Keys, Secret
from botd.log_text import Redactor, escape
from botd.logs import OPEN_BOT_FILES, BotFiles, Logs, RotatingFile, start

CANARY = "CaNaRy/0123+456=789"


@pytest.fixture
def levels() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, "botd", "ccxt", "aiohttp")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
    logging.captureWarnings(False)


def config_of(state: Path, **log: Any) -> Config:
    return from_mapping({"state_dir": str(state), "log": log})


def started(state: Path, stderr: io.StringIO | None = None, journal: bool = False, **log: Any) -> Logs:
    environ = {"JOURNAL_STREAM": "8:1"} if journal else {}
    return start(config_of(state, **log), clock=VirtualClock(1_767_225_600_123), environ=environ, stderr=stderr)


@pytest.mark.usefixtures("levels")
class TestDestinations:
    def test_a_line_goes_to_stderr_and_to_the_file_with_the_clocks_wall_time(self, tmp_path: Path) -> None:
        console = io.StringIO()
        logs = started(tmp_path, console)
        logging.getLogger("botd.app").info("up %d", 1)
        logging.getLogger("botd.app").warning("careful")
        logs.close()
        expected = "2026-01-01T00:00:00.123Z INFO  botd.app: up 1\n2026-01-01T00:00:00.123Z WARN  botd.app: careful\n"
        assert console.getvalue() == expected
        assert (tmp_path / "logs/botd.log").read_text() == expected

    def test_journald_gets_a_priority_on_every_line_and_no_time(self, tmp_path: Path) -> None:
        console = io.StringIO()
        logs = started(tmp_path, console, journal=True)
        try:
            raise ValueError("one\ntwo")
        except ValueError:
            logging.getLogger("botd.app").exception("failed")
        logs.close()
        lines = console.getvalue().splitlines()
        assert lines[0] == "<3>ERROR botd.app: failed"
        assert all(line.startswith("<3>    ") for line in lines[1:]) and len(lines) > 3
        assert (tmp_path / "logs/botd.log").read_text().startswith("2026-01-01T00:00:00.123Z ERROR")

    def test_a_bot_has_a_file_of_its_own_made_at_its_first_line(self, tmp_path: Path) -> None:
        logs = started(tmp_path)
        assert not logs.path("alpha").exists()
        logging.getLogger("botd.bot.alpha").info("bought")
        logging.getLogger("botd.bot.beta").info("sold")
        logs.close_bot("alpha")
        logs.close()
        assert logs.path("alpha").read_text().endswith("INFO  botd.bot.alpha: bought\n")
        assert "bought" not in logs.path("beta").read_text()
        assert "bought" in logs.path().read_text() and "sold" in logs.path().read_text()

    def test_a_bots_name_is_no_way_out_of_the_directory(self, tmp_path: Path) -> None:
        logs = started(tmp_path / "state")
        logging.getLogger("botd.bot.../../evil").info("x")
        logging.getLogger("botd.bot.").info("x")
        logs.close()
        assert sorted(path.name for path in tmp_path.rglob("*.log")) == ["botd.log"]

    def test_hundreds_of_bots_do_not_hold_hundreds_of_files(self, tmp_path: Path) -> None:
        files = BotFiles(tmp_path)
        before = len(os.listdir("/proc/self/fd"))
        for number in range(300):
            files.emit(logging.LogRecord(f"botd.bot.b{number}", logging.INFO, "", 0, "here", None, None))
        assert len(os.listdir("/proc/self/fd")) - before == OPEN_BOT_FILES
        files.close()
        assert len(list(tmp_path.glob("b*.log"))) == 300

    def test_json_lines_parse_and_keep_the_trace_in_one_line(self, tmp_path: Path) -> None:
        logs = started(tmp_path, format="json")
        try:
            raise KeyError("x")
        except KeyError:
            logging.getLogger("botd.app").exception('a "quoted"\nmessage')
        logs.close()
        (line,) = logs.path().read_text().splitlines()
        row = json.loads(line)
        assert (row["time"], row["level"], row["logger"]) == ("2026-01-01T00:00:00.123Z", "error", "botd.app")
        assert row["message"] == 'a "quoted"\nmessage' and "KeyError" in row["trace"]

    def test_a_file_can_be_named(self, tmp_path: Path) -> None:
        logs = started(tmp_path / "state", file=str(tmp_path / "x.log"))
        logging.getLogger("botd").info("x")
        logs.close()
        assert "INFO  botd: x" in (tmp_path / "x.log").read_text()
        with pytest.raises(ForbiddenError, match=r"No such file or directory"):
            started(tmp_path / "state", file=str(tmp_path / "none" / "x.log"))

    def test_the_exchange_library_never_logs_its_requests(self, tmp_path: Path) -> None:
        logs = started(tmp_path, level="debug")
        logging.getLogger("ccxt.base.exchange").debug("headers")
        logging.getLogger("aiohttp.client").debug("signed url")
        logging.getLogger("asyncio").debug("selector")
        logging.getLogger("botd.x").debug("mine")
        logs.set_level("warning")
        logging.getLogger("botd.x").info("less")
        logs.close()
        text = logs.path().read_text()
        assert "mine" in text and not any(word in text for word in ("headers", "selector", "less", "signed"))

    def test_a_log_call_with_the_wrong_arguments_stops_nothing(self, tmp_path: Path) -> None:
        logs = started(tmp_path)
        inlet = logging.getLogger().handlers[-1]
        inlet.handle(logging.LogRecord("botd", logging.INFO, "", 0, "%d apples", ("no",), None))
        logging.getLogger("botd").info("next")
        logs.close()
        assert "next" in logs.path().read_text() and logs.statistics()["dropped"] == 1

    def test_a_full_disk_stops_nothing(self, tmp_path: Path) -> None:
        logs = started(tmp_path, file="/dev/full")
        for _ in range(3):
            logging.getLogger("botd").info("lost")
        logs.close()
        assert logs.statistics()["failures"] >= 1


@pytest.mark.usefixtures("levels")
class TestSecrets:
    def test_no_form_of_a_secret_reaches_any_destination(self, tmp_path: Path) -> None:
        console = io.StringIO()
        keys = Keys(Secret("KEYcanary99"), Secret(CANARY), "file")
        config = dataclasses.replace(config_of(tmp_path), keys=keys)
        logs = start(config, clock=VirtualClock(), environ={}, stderr=console)
        log = logging.getLogger("botd.bot.alpha")
        log.info("key %s secret %s", keys.api_key.reveal(), CANARY)
        log.info("GET /order?x=CaNaRy%2F0123%2B456%3D789")
        log.info("%r", {"headers": {"X": CANARY}})
        try:
            raise RuntimeError(f"refused: {CANARY}")
        except RuntimeError:
            log.exception("with %s", [CANARY])
        logs.close()
        written = console.getvalue() + "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
        assert "CaNaRy" not in written and "KEYcanary99" not in written
        assert written.count("***") >= 8

    @pytest.mark.parametrize(
        ("text", "clean"),
        [
            ("/api/v3/order?symbol=X&signature=deadbeef&y=1", "/api/v3/order?symbol=X&signature=***&y=1"),
            ("apiKey=abc", "apiKey=***"),
            ("X-MBX-APIKEY: abcdef", "X-MBX-APIKEY: ***"),
            ('{"secret": "abc", "a": 1}', '{"secret": "***", "a": 1}'),
            ("listenKey=abc", "listenKey=***"),
            ("redis://user:hunter2@host:1/0", "redis://user:***@host:1/0"),
            ("the signature was bad", "the signature was bad"),
        ],
    )
    def test_what_stands_where_secrets_stand_is_hidden(self, text: str, clean: str) -> None:
        assert Redactor().clean(text) == clean

    def test_no_line_of_a_private_key_is_shown_known_or_not(self) -> None:
        body = "A1b2" * 8
        key = f"-----BEGIN PRIVATE KEY-----\n{body}\n{body[::-1]}\n-----END PRIVATE KEY-----"
        known = Redactor([key])
        for said in (key, f"line {body}", repr(key), key.replace("\n", "\\n"), f"and {body[::-1]} too"):
            assert "A1b2" not in known.clean(said) and "2b1A" not in known.clean(said)
        assert "A1b2" not in Redactor().clean(f"read {key}") + Redactor().clean(repr(key))

    def test_a_short_word_is_no_secret(self) -> None:
        assert Redactor(["a", ""]).clean("a b a") == "a b a"


class TestControlCharacters:
    def test_nobody_can_forge_a_line_or_drive_the_terminal(self) -> None:
        assert escape("a\n2026 INFO x\r\x1b[2J\x00\x9b\u202e\u2028\udc80\tb") == (
            "a\\n2026 INFO x\\r\\x1b[2J\\x00\\x9b\\u202e\\u2028\\udc80\tb"
        )

    def test_the_lines_of_a_traceback_are_indented(self, tmp_path: Path, levels: None) -> None:
        logs = started(tmp_path)
        try:
            raise ValueError("x\n2026-01-01T00:00:00.123Z INFO  botd: forged")
        except ValueError:
            logging.getLogger("botd").exception("failed")
        logs.close()
        lines = logs.path().read_text().splitlines()
        assert [line for line in lines if not line.startswith("    ")] == [
            "2026-01-01T00:00:00.123Z ERROR botd: failed"
        ]


class TestRotation:
    def record(self, text: str) -> logging.LogRecord:
        return logging.LogRecord("botd", logging.INFO, "", 0, text, None, None)

    def test_a_full_file_is_moved_and_so_many_are_kept(self, tmp_path: Path) -> None:
        file = RotatingFile(tmp_path / "x.log", max_bytes=10, keep=3)
        for number in range(6):
            file.emit(self.record(f"line number {number}"))
        file.close()
        names = ("x.log", "x.log.1", "x.log.2", "x.log.3")
        assert [(tmp_path / name).read_text() for name in names] == [f"line number {n}\n" for n in (5, 4, 3, 2)]
        assert len(list(tmp_path.iterdir())) == 4

    def test_a_file_that_somebody_moved_is_opened_anew(self, tmp_path: Path) -> None:
        file = RotatingFile(tmp_path / "x.log")
        file.emit(self.record("old"))
        (tmp_path / "x.log").rename(tmp_path / "x.log.1")
        file.emit(self.record("new"))
        file.close()
        assert (tmp_path / "x.log").read_text() == "new\n" and (tmp_path / "x.log.1").read_text() == "old\n"
