"""What can be told before botd starts: files of a replay, a ledger that is damaged, where it is installed."""

from __future__ import annotations

import pwd
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from botd import offline
from botd.domain.clock import WallClock
from botd.domain.errors import ConfigError
from botd.ledger import schema

ROWS = "open_time_ms,open,high,low,close,volume\n1767225600000,1,2,1,2,5\n"


@pytest.fixture(autouse=True)
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BOTD_CONFIG", "BOTD_STATE_DIR", "BINANCE_API_KEY", "BINANCE_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def replay(home: Path, text: str) -> Path:
    (home / "btc.csv").write_text(text)
    path = home / "botd.yaml"
    path.write_text("state_dir: ./state\nmarket: {source: replay, files: {BTC/USDT: btc.csv}}\n")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,open,high,low,volume\n1,2,3,4,5\n", "no column named 'close'"),
        (ROWS + "1767225660000,1,2,1,x,5\n", "line 3: 'x' is not a number"),
        (ROWS + "1767225660000,1,0.5,1,2,5\n", "line 3: high is below low"),
    ],
)
def test_a_replays_files_are_read_by_the_check_and_before_a_restart(tmp_path: Path, text: str, said: str) -> None:
    path = replay(tmp_path, text)
    for check in (offline.config_check, offline.start_check):
        with pytest.raises(ConfigError) as caught:
            check(path)
        assert said in caught.value.message and "btc.csv" in caught.value.message


def test_a_sound_replay_passes_and_another_world_does_not_start(tmp_path: Path) -> None:
    path = replay(tmp_path, ROWS)
    assert offline.config_check(path)["valid"]
    offline.start_check(path)
    schema.prepare(tmp_path / "other/ledger.db", offline.config().world(), WallClock())
    with pytest.raises(ConfigError, match="bound to another world"):
        offline.start_check(path, str(tmp_path / "other"))


def test_the_doctor_reads_the_rows_of_the_ledger(tmp_path: Path) -> None:
    ledger = offline.config().state_dir / "ledger.db"
    schema.prepare(ledger, offline.config().world(), WallClock())

    def row() -> dict[str, str]:
        return next(row for row in offline.doctor() if row["name"] == "ledger")

    assert row()["status"] == "ok"
    connection = sqlite3.connect(ledger)
    connection.execute("UPDATE meta SET value = '7' WHERE key = 'batch'")
    connection.commit()
    connection.close()
    found = row()
    assert found["status"] == "failed" and "a row of meta (key batch) does not fit" in found["detail"]
    assert "botctl backup" in found["hint"]
    ledger.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    assert row()["status"] == "failed"


def _shared(tmp_path: Path) -> Path:
    """A directory that everybody may write to, and only the owner may remove from."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    return shared


@pytest.mark.parametrize(
    ("place", "tmp", "home", "said"),
    [
        (lambda _: Path("/opt/botd"), "true", "true", ""),
        (lambda _: Path(pwd.getpwuid(0).pw_dir) / "venv", "true", "read-only", "lies in a home"),
        (lambda tmp_path: _shared(tmp_path) / "venv", "false", "true", "emptied at a restart"),
        (lambda _: Path(tempfile.gettempdir()) / "venv", "false", "true", "emptied at a restart"),
    ],
    ids=["opt", "home", "shared", "temporary"],
)
def test_a_unit_of_a_program_in_an_unusual_place_can_start_and_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: Callable[[Path], Path], tmp: str, home: str, said: str
) -> None:
    program = place(tmp_path) / "bin/botd"
    monkeypatch.setattr(offline, "daemon_command", lambda: [str(program)])
    unit = offline.daemon_unit()
    assert f"\nPrivateTmp={tmp}\n" in unit and f"\nProtectHome={home}\n" in unit
    assert f"\nExecStart={program}\n" in unit
    warning = offline.daemon_unit_warning()
    assert said in warning and bool(warning) == bool(said)


def test_a_home_is_an_accounts_wherever_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    people = [("root", 0, "/root-of-all"), ("ann", 1000, "/srv/people/ann"), ("botd", 990, "/var/lib/botd")]
    accounts = [pwd.struct_passwd((name, "x", uid, uid, "", home, "")) for name, uid, home in people]
    monkeypatch.setattr(pwd, "getpwall", lambda: [*accounts, pwd.struct_passwd(("ed", "x", 1001, 1001, "", "/", ""))])
    for program, warned in (("/srv/people/ann/venv/bin/botd", True), ("/srv/people/annex/botd", False),
                            ("/var/lib/botd/venv/bin/botd", False), ("/opt/botd/bin/botd", False)):  # fmt: skip
        monkeypatch.setattr(offline, "daemon_command", lambda program=program: [program])
        assert ("lies in a home" in offline.daemon_unit_warning()) is warned


def test_a_ledger_that_lacks_a_table_does_not_pass(tmp_path: Path) -> None:
    path = replay(tmp_path, ROWS)
    ledger = tmp_path / "state/ledger.db"
    schema.prepare(ledger, offline.config(path).world(), WallClock())
    connection = sqlite3.connect(ledger)
    connection.execute("DROP TABLE keyed")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match="table keyed is missing"):
        offline.start_check(path)
