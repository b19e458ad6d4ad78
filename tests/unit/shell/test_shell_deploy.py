"""What is shipped for a server: the systemd unit, the logrotate snippet, the Dockerfile."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from botd.config import from_mapping
from botd.offline import daemon_command, daemon_unit

ROOT = Path(__file__).parents[3]
ANALYZE = shutil.which("systemd-analyze")


def test_the_unit_is_complete_and_says_what_the_contract_says() -> None:
    unit = daemon_unit()
    assert not re.search(r"@[A-Z_]+@", unit)
    for line in (
        "Type=notify",
        "WatchdogSec=30",
        "Restart=on-failure",
        "RestartPreventExitStatus=75 77 78",
        "Environment=BOTD_SOCKET=/run/botd/control.sock",
        "Group=botd",
        "RuntimeDirectory=botd",
        "StateDirectory=botd",
    ):
        assert line in unit.splitlines()
    stop_s = int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0])
    assert stop_s > 38  # botd's own budget
    assert f"ExecStart={daemon_command()[0]}" in unit


def test_the_units_variables_are_those_that_botd_reads() -> None:
    from botd.config import build
    from botd.config_yaml import parse_document

    pairs = re.findall(r"^Environment=(\w+)=(.*)$", daemon_unit(), re.MULTILINE)
    config = build(parse_document(""), dict(pairs))
    assert str(config.state_dir) == "/var/lib/botd"
    assert str(config.socket) == "/run/botd/control.sock"
    assert str(config.events_socket) == "/run/botd/events.sock"
    assert config.control.group == "botd"


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze here")
def test_the_unit_is_hardened(tmp_path: Path) -> None:
    unit = tmp_path / "botd.service"
    unit.write_text(daemon_unit())
    assert ANALYZE is not None
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", "--threshold=15", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = re.search(r"Overall exposure level for botd\.service: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= 1.5
    assert done.returncode == 0


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze here")
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "botd.service"
    unit.write_text(daemon_unit())
    assert ANALYZE is not None
    done = subprocess.run([ANALYZE, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60)
    assert not re.search(r"botd\.service:\d+:", done.stderr), done.stderr


def test_logrotate_moves_the_files_where_the_unit_keeps_them() -> None:
    text = files("botd.deploy").joinpath("logrotate.conf").read_text()
    state_dir = from_mapping({"state_dir": "/var/lib/botd"}).state_dir
    assert f"{state_dir}/logs/*.log {{" in text
    assert "copytruncate\n" not in text.replace("no copytruncate", "")


def test_the_image_runs_as_a_user_and_keeps_its_state_in_a_volume() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert len(lines) <= 25
    assert "USER botd" in lines and "VOLUME /var/lib/botd" in lines
    assert any(line.startswith("FROM python:3.11-slim") for line in lines)
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert all((ROOT / name).exists() for name in copied)
