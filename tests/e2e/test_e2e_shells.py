"""As people and cron use it: two shells at once, an empty environment with jq, followers through a restart, top."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import BIN

CONFIG = {"market": {"source": "synthetic", "speed": 300, "symbols": ["BTC/USDT", "ETH/USDT"]}}


def create(botd: Any, name: str, strategy: str = "ema_cross") -> None:
    botd.run(
        "create",
        name,
        "--strategy",
        strategy,
        "--symbol",
        "BTC/USDT",
        "--interval",
        "1m",
        "--capital",
        "1000",
        "--stop-loss",
        "2%",
        "--start",
    )


def test_two_shells_at_once_leave_one_truth(make_botd: Any) -> None:
    botd = make_botd(CONFIG).start()
    failures: list[str] = []

    def shell(number: int) -> None:
        for turn in range(6):
            name = f"bot-{number}-{turn}"
            create(botd, name)
            done = botd.run("stop", name, "bot-0-0", check=False)  # both shells also pull at the same bot
            started = botd.run("start", "bot-0-0", check=False)
            failures.extend(run.stderr for run in (done, started) if run.returncode)

    create(botd, "bot-0-0", "rsi")
    shells = [threading.Thread(target=shell, args=(number,)) for number in (1, 2)]
    for thread in shells:
        thread.start()
    for thread in shells:
        thread.join()
    assert failures == []
    rows = {row["name"]: row["state"] for row in botd.json("ls")}
    assert len(rows) == 13
    assert {state for name, state in rows.items() if name != "bot-0-0"} == {"stopped"}


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_a_cron_job_with_an_empty_environment_reads_json(make_botd: Any, tmp_path: Path) -> None:
    botd = make_botd(CONFIG).start()
    create(botd, "alpha")
    script = tmp_path / "job.sh"
    script.write_text(
        f"""#!/bin/sh
set -eu
botctl="{BIN}/botctl --endpoint {botd.socket}"
$botctl ls -o json | jq -r '.[] | select(.state == "running") | .name'
$botctl show alpha -o json | jq -e '.capital == "1000"' > /dev/null
$botctl health -o json | jq -r .status
$botctl wait alpha --for state=running --timeout 5s
$botctl flatten && exit 99 || echo "flatten without --yes: $?"
"""
    )
    jq_path = str(Path(str(shutil.which("jq"))).parent)
    done = subprocess.run(
        ["env", "-i", f"PATH={jq_path}:/usr/bin:/bin", "sh", str(script)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["alpha", "ok"]
    assert lines[-1] == "flatten without --yes: 2"
    assert "Traceback" not in done.stderr


class Follower:
    """A botctl that follows, read line by line."""

    def __init__(self, botd: Any, *args: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [BIN / "botctl", "--endpoint", str(botd.socket), *args],
            env=botd.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    followers: list[Follower] = []

    def make(botd: Any, *args: str) -> Follower:
        followers.append(Follower(botd, *args))
        return followers[-1]

    yield make
    for follower in followers:
        follower.close()


def test_followers_of_events_and_logs_miss_nothing_through_a_restart(
    make_botd: Any, follow: Callable[..., Follower]
) -> None:
    botd = make_botd(CONFIG).start()
    create(botd, "alpha")
    events = follow(botd, "events", "-f", "-o", "jsonl")
    logs = follow(botd, "logs", "alpha", "-f")
    botd.until(lambda: len(events.lines) >= 2 and len(logs.lines) >= 1, 10)
    botd.run("stop", "alpha")
    botd.until(lambda: any("running -> stopped" in line for line in logs.lines), 10)
    botd.kill()
    time.sleep(0.3)
    botd.start()
    botd.run("start", "alpha")
    botd.until(lambda: "starting -> running" in "".join(logs.lines[-3:]), 15)

    def last_seq() -> int:
        return int(botd.json("events", "-n", "1")[-1]["seq"])

    create(botd, "beta")
    wanted = last_seq()
    botd.until(lambda: json.loads(events.lines[-1])["seq"] >= wanted, 15)
    seqs = [json.loads(line)["seq"] for line in events.lines]
    assert seqs == list(range(seqs[0], seqs[-1] + 1)), "no event twice, none left out"
    assert len(logs.lines) == len(set(logs.lines)), "no line twice"
    assert events.process.poll() is None and logs.process.poll() is None


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_top_fits_an_eighty_by_twenty_four_terminal_and_steers_a_bot(make_botd: Any, tmp_path: Path) -> None:
    botd = make_botd(CONFIG).start()
    for name in ("alpha", "beta", "gamma"):
        create(botd, name)
    tmux = ["tmux", "-S", str(tmp_path / "tmux")]
    command = f"{BIN}/botctl --endpoint {botd.socket} top"
    subprocess.run([*tmux, "new-session", "-d", "-x", "80", "-y", "24", command], check=True, env=botd.environment)

    def screen() -> list[str]:
        done = subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def shows(*words: str) -> bool:
        text = "\n".join(screen())
        return all(word in text for word in words)

    def press(*keys: str) -> None:
        subprocess.run([*tmux, "send-keys", *keys], check=True)

    try:
        botd.until(lambda: shows("alpha", "beta", "gamma", "BTC/USDT", "SYNTHETIC", "equity"), 10)
        assert len(screen()) <= 24 and max(map(len, screen())) <= 80
        press("x")  # stops the bot under the cursor, the first
        botd.until(lambda: botd.json("show", "alpha")["state"] == "stopped", 10)
        botd.until(lambda: shows("stopped"), 5)
        press("s")
        botd.until(lambda: botd.json("show", "alpha")["state"] == "running", 10)
        press("Enter")
        botd.until(lambda: shows("alpha", "ema_cross"), 5)
        press("Escape")
        botd.kill()
        time.sleep(1.5)  # long enough for a look at nothing
        botd.start()
        botd.until(lambda: shows("gamma", "running"), 15)
        press("q")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            gone = subprocess.run([*tmux, "has-session"], capture_output=True).returncode
            if gone:
                break
            time.sleep(0.05)
        assert gone
    finally:
        subprocess.run([*tmux, "kill-server"], capture_output=True)
