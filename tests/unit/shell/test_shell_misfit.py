"""A configuration beside the ledger of another world: said before the start that would refuse it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from botctl.cli import run
from botd import offline
from botd.domain.clock import WallClock
from botd.ledger import schema


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the ledger of a synthetic market in the default state directory."""
    for name in ("BOTD_CONFIG", "BOTD_STATE_DIR", "BOTCTL_ENDPOINT", "BINANCE_API_KEY", "BINANCE_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    schema.prepare(tmp_path / ".local/state/botd/ledger.db", offline.config().world(), WallClock())
    return tmp_path


def test_init_beside_the_ledger_of_another_world_warns_at_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "init"]) == 0
    told = capsys.readouterr()
    ledger = home / ".local/state/botd/ledger.db"
    assert told.out == f"written: {home}/.config/botd/botd.yaml\n"
    assert f"{ledger} is bound to another world: the ledger is of a synthetic market" in told.err
    assert "the configuration says exchange binance" in told.err
    assert f"`state_dir: {ledger.parent}-exchange`" in told.err
    assert f"mv {ledger.parent} {ledger.parent}-synthetic" in told.err


def test_check_warns_likewise_and_the_file_is_valid_all_the_same(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = offline.config_init()
    assert run(["config", "check", str(path), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is True and "another world" in found["warnings"][0] and "state_dir" in found["hint"]
    path.write_text(path.read_text().replace("~/.local/state/botd", "~/x"))
    assert offline.config_check(path)["warnings"] == []


def test_the_doctor_says_that_botd_would_not_start(home: Path) -> None:
    def ledger() -> dict[str, str]:
        return next(row for row in offline.doctor() if row["name"] == "ledger")

    assert ledger()["status"] == "ok"
    offline.config_init()
    row = ledger()
    assert row["status"] == "failed" and "the ledger is of a synthetic market" in row["detail"] and row["hint"]


def test_looking_at_a_ledger_leaves_nothing_behind(home: Path) -> None:
    before = sorted(os.listdir(home / ".local/state/botd"))
    offline.config_check(offline.config_init())
    assert sorted(os.listdir(home / ".local/state/botd")) == before


def test_what_is_no_ledger_is_left_to_the_start(tmp_path: Path) -> None:
    for content in (b"", b"nonsense"):
        (tmp_path / "ledger.db").write_bytes(content)
        assert schema.refusal(tmp_path / "ledger.db", {}) is None
    assert schema.refusal(tmp_path / "none.db", {}) is None


def test_the_doctors_hint_names_the_configuration_that_it_looked_at(home: Path) -> None:
    def hint(path: Path | None) -> str:
        return next(row["hint"] for row in offline.doctor(path) if row["name"] == "daemon")

    (home / "month.yaml").write_text("state_dir: ./month")
    assert hint(home / "month.yaml") == f"botctl daemon start --config {home}/month.yaml"
    assert hint(None) == "botctl daemon start"
