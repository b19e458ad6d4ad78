"""botd's command line, in this process, with a daemon that does nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from botctl.exit_codes import fault_of
from botd import cli
from botd.control.protocol import EXIT_CODES
from botd.domain import errors
from botd.domain.errors import BotdError, ConfigError, UnavailableError
from botd.locks import acquire


class FakeDaemon:
    """Serves by calling ``action(ready)``; remembers what it was given."""

    def __init__(self, action: Callable[[Callable[[], None]], int] = lambda ready: 0) -> None:
        self.action = action
        self.given: dict[str, Any] = {}

    def __call__(self, config: Any, *, ready: Callable[[], None], **parts: Any) -> int:
        self.given = {"config": config, **parts}
        return self.action(ready)


def test_it_serves_with_the_configuration_of_file_environment_and_options(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("market: {seed: 5}\nlog: {level: info}")
    daemon = FakeDaemon()
    arguments = ["--config", str(tmp_path / "b.yaml"), "--state-dir", str(tmp_path / "s"), "--log-level", "error"]
    assert cli.run(arguments, serve=daemon, environ={"REDIS_HOST": "cache"}) == 0
    config = daemon.given["config"]
    assert (config.market.seed, config.redis.host, config.log.level) == (5, "cache", "error")
    assert config.state_dir == tmp_path / "s"
    assert set(daemon.given) == {"config", "logs", "notifier", "locks"}


def test_the_locks_are_free_again_afterwards(tmp_path: Path) -> None:
    assert cli.run(["--state-dir", str(tmp_path)], serve=FakeDaemon(), environ={}) == 0
    acquire(tmp_path, tmp_path / "control.sock").release()


def test_the_exit_code_of_the_daemon_is_the_exit_code(tmp_path: Path) -> None:
    assert cli.run(["--state-dir", str(tmp_path)], serve=FakeDaemon(lambda ready: 7), environ={}) == 7


def test_warnings_of_the_configuration_are_logged(tmp_path: Path) -> None:
    environ = {"BINANCE_API_KEY": "k" * 20, "BINANCE_API_SECRET": "s" * 20}
    assert cli.run(["--state-dir", str(tmp_path)], serve=FakeDaemon(), environ=environ) == 0
    text = (tmp_path / "logs/botd.log").read_text()
    assert "WARN  botd.cli: the API key was read from the environment" in text
    assert environ == {}


def raises(error: BaseException) -> Callable[[Any], int]:
    def action(ready: Any) -> int:
        raise error

    return action


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["--nonsense"], 2, "botd: error: No such option"),
        (["--log-level", "loud"], 2, "botd: error: Invalid value for '--log-level'"),
        (["extra"], 2, "botd: error: Got unexpected extra argument"),
        (["--config", "/nowhere.yaml"], 78, "botd: error: /nowhere.yaml: cannot be read: No such file or directory"),
        (["--state-dir", "/proc/none"], 77, "botd: error: /proc/none: "),
        (["--state-dir", "/" + "x" * 110], 78, "botd: error: /xxx"),
    ],
)
def test_a_mistake_is_one_line_and_a_remedy(
    arguments: list[str], exit_code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments, serve=FakeDaemon(), environ={}) == exit_code
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and lines[0].startswith(message)
    assert len(lines) == 2 and lines[1].startswith("  hint: ")


def test_a_second_botd_exits_75_and_names_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    locks = acquire(tmp_path, tmp_path / "control.sock")
    assert cli.run(["--state-dir", str(tmp_path)], serve=FakeDaemon(), environ={}) == 75
    assert "another botd (pid" in capsys.readouterr().err
    locks.release()


def test_an_error_of_the_daemon_is_printed_once_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon(raises(ConfigError("ledger belongs to live", "use another state_dir")))
    assert cli.run(["--state-dir", str(tmp_path)], serve=daemon, environ={}) == 78
    assert capsys.readouterr().err == "botd: error: ledger belongs to live\n  hint: use another state_dir\n"


def test_an_unknown_error_is_70_with_the_traceback_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["--state-dir", str(tmp_path)], serve=FakeDaemon(raises(ValueError("odd"))), environ={}) == 70
    assert "botd: error: internal error: ValueError: odd" in capsys.readouterr().err
    text = (tmp_path / "logs/botd.log").read_text()
    assert "Traceback" in text and "ValueError: odd" in text


def test_ctrl_c_is_130(tmp_path: Path) -> None:
    daemon = FakeDaemon(raises(KeyboardInterrupt()))
    assert cli.run(["--state-dir", str(tmp_path)], serve=daemon, environ={}) == 130
    assert not [handler for handler in logging.getLogger().handlers if type(handler).__module__ == "botd.logs"]


def test_control_characters_of_a_message_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon(raises(UnavailableError("a\x1b[2Jb\nc")))
    assert cli.run(["--state-dir", str(tmp_path)], serve=daemon, environ={}) == 69
    assert capsys.readouterr().err == "botd: error: a\\x1b[2Jb\\nc\n"


def test_version_and_help_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"], environ={}) == 0
    assert cli.run(["--help"], environ={}) == 0
    out = capsys.readouterr().out
    assert out.startswith("botd 0.") and "--daemon" in out


def test_every_error_has_an_exit_code_and_botctl_gives_it_the_same() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BotdError)]
    for cls in classes:
        assert cls.code in EXIT_CODES
        assert cli.exit_code_of(cls("x")) == fault_of({"code": cls.code}).exit_code
