"""What works without a daemon: configuration, doctor, strategies, the unit."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from botctl.cli import run
from botd import offline
from botd.domain.errors import ConfigError, ConflictError, InvalidError, NotFoundError, WrongStateError

Row = dict[str, str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own and none of the variables that botd reads."""
    for name in ("BOTD_CONFIG", "BOTD_STATE_DIR", "BINANCE_API_KEY", "BINANCE_API_SECRET", "REDIS_HOST", "REDIS_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_file_that_init_writes_is_valid_and_trades_nowhere_but_on_paper(home: Path) -> None:
    path = offline.config_init()
    assert path == home / ".config/botd/botd.yaml"
    checked = offline.config_check(path)
    assert (checked["mode"], checked["source"], checked["risk_preset"]) == ("paper", "exchange", "paper")
    assert checked["path"] == str(path) and checked["valid"] is True


def test_the_file_that_init_writes_has_the_limits_of_live_once_it_is_made_live(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BINANCE_API_KEY", "k" * 10)
    monkeypatch.setenv("BINANCE_API_SECRET", "s" * 10)
    path = offline.config_init()
    path.write_text(path.read_text().replace("mode: paper", "mode: live"))
    checked = offline.config_check(path)
    assert (checked["mode"], checked["risk_preset"]) == ("live", "live")


def test_init_never_writes_over_a_file(home: Path) -> None:
    target = home / "x.yaml"
    target.write_text("mode: paper")
    with pytest.raises(ConflictError, match="exists already") as caught:
        offline.config_init(target)
    assert caught.value.hint == "edit it, or give another FILE"
    assert target.read_text() == "mode: paper"


def test_check_names_the_mistake_and_leaves_the_environment_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_API_KEY", "k" * 10)
    monkeypatch.setenv("BINANCE_API_SECRET", "s" * 10)
    checked = offline.config_check()
    assert checked["keys"] == "environment" and "kkk" not in str(checked)
    assert offline.config().keys is not None  # still there for the daemon
    bad = home / "bad.yaml"
    bad.write_text("risk: {max_expsure: 10%}")
    with pytest.raises(ConfigError, match=r"bad\.yaml:1: risk\.max_expsure"):
        offline.config_check(bad)


def named(rows: list[Row], name: str) -> Row:
    return next(row for row in rows if row["name"] == name)


def test_the_doctor_has_a_row_for_everything(home: Path) -> None:
    rows = offline.doctor()
    assert {row["name"] for row in rows} == {
        *("python", "dependencies", "clock", "open files", "systemd", "configuration", "state directory"),
        *("ledger", "disk", "daemon", "redis", "strategies", "keys"),
    }
    assert all(set(row) == {"name", "status", "detail", "hint"} for row in rows)
    assert not [row for row in rows if row["status"] == "failed"]
    assert not (home / ".local").exists()  # it looks and changes nothing


def test_the_doctor_finds_a_broken_configuration(home: Path) -> None:
    bad = home / "bad.yaml"
    bad.write_text("mode: lif")
    row = named(offline.doctor(bad), "configuration")
    assert row["status"] == "failed" and "bad.yaml:1: mode" in row["detail"]


def test_the_doctor_tells_a_stale_socket_from_a_daemon(home: Path) -> None:
    state = home / ".local/state/botd"
    state.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(state / "control.sock"))
        listener.listen()
        assert "listens on" in named(offline.doctor(), "daemon")["detail"]
    row = named(offline.doctor(), "daemon")
    assert row["status"] == "warning" and "left from one that died" in row["detail"]


def answering(answer: bytes) -> tuple[int, Callable[[], None]]:
    """Start a server that gives one answer; returns its port and what ends it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        channel, _ = listener.accept()
        with channel:
            channel.recv(64)
            channel.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()

    def end() -> None:
        thread.join()
        listener.close()

    return listener.getsockname()[1], end


@pytest.mark.parametrize(("answer", "status"), [(b"+PONG\r\n", "ok"), (b"HTTP/1.1 400\r\n", "warning")])
def test_the_doctor_asks_redis(home: Path, answer: bytes, status: str) -> None:
    port, end = answering(answer)
    (home / "r.yaml").write_text(f"redis: {{host: 127.0.0.1, port: {port}}}")
    assert named(offline.doctor(home / "r.yaml"), "redis")["status"] == status
    end()


def test_the_doctor_notes_that_redis_is_away(home: Path) -> None:
    (home / "r.yaml").write_text("redis: {host: 127.0.0.1, port: 1}")
    row = named(offline.doctor(home / "r.yaml"), "redis")
    assert row["status"] == "warning" and row["hint"]


def test_the_doctor_warns_of_a_directory_that_others_can_write(home: Path) -> None:
    state = home / ".local/state/botd"
    state.mkdir(parents=True)
    state.chmod(0o777)
    assert named(offline.doctor(), "state directory")["status"] == "warning"


def test_strategies_are_listed_shown_and_begun(home: Path) -> None:
    (home / ".config/botd").mkdir(parents=True, mode=0o755)
    assert {row["name"] for row in offline.strategies()} >= {"rsi", "macd", "grid", "dca"}
    assert offline.strategy("rsi")["parameters"][0]["name"] == "period"
    with pytest.raises(NotFoundError, match="rsy"):
        offline.strategy("rsy")
    path = offline.new_strategy("my_idea")
    assert path == home / ".config/botd/strategies/my_idea.py" and path.exists()
    assert (path.parent / "test_my_idea.py").exists()
    for taken in ("my_idea", "rsi"):
        with pytest.raises(ConflictError):
            offline.new_strategy(taken)
    with pytest.raises(InvalidError):
        offline.new_strategy("../evil")


def test_strategies_are_those_of_the_configuration_that_is_named(home: Path) -> None:
    (home / "b.yaml").write_text("strategies_dir: ./mine\n")
    assert run(["strategies", "--new", "my_idea", "--config", str(home / "b.yaml")]) == 0
    assert sorted(path.name for path in (home / "mine").iterdir()) == ["my_idea.py", "test_my_idea.py"]
    assert "my_idea" in {row["name"] for row in offline.strategies(home / "b.yaml")}
    assert offline.strategy("my_idea", home / "b.yaml")["builtin"] is False
    with pytest.raises(NotFoundError) as caught:
        offline.strategy("my_idea")
    assert caught.value.hint.endswith(f"(your own are looked for in {home}/.config/botd/strategies)")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("mode: paper", "botctl flatten halts and sells on paper"),
        ("mode: live\nmarket: {source: exchange}", "mode is paper, not live: no key; give one by keys_file"),
    ],
)
def test_panic_on_paper_has_a_hint_that_fits(home: Path, monkeypatch: pytest.MonkeyPatch, text: str, hint: str) -> None:
    (home / "b.yaml").write_text(text)
    with pytest.raises(WrongStateError, match="trades on paper") as caught:
        offline.panic_place(home / "b.yaml")
    assert caught.value.hint.startswith(hint) and "--config" not in caught.value.hint
    with pytest.raises(WrongStateError) as caught:
        offline.panic_place()
    assert caught.value.hint.endswith("give --config FILE where another is meant")
