"""What a newcomer is told by a daemon of its own: where, how fast, what holds a bot back, and until when."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from tests.e2e.conftest import BIN

QUICK = {"market": {"speed": 600}}


def test_a_newcomer_is_told_what_is_in_force(make_botd: Any) -> None:
    botd = make_botd(QUICK).start()
    status = botd.json("market", "status")
    assert (status["speed"], status["speed_from"]) == (600, f"market.speed in {botd.config_file}")
    botd.run("create", "a", "--strategy", "ema_cross", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000",
             "--set", "fast=2", "--set", "slow=3", "--start", "-q")  # fmt: skip
    botd.until(lambda: botd.json("why", "a")["gates"] != [], 20)
    assert botd.json("why", "a")["gates"][0]["detail"].startswith("enters while fast (2 candles) is above slow (3)")
    botd.run("halt", "a")
    trading = botd.health_check("trading")
    assert trading["status"] == "ok" and "bot:a halted since" in trading["detail"]
    assert "botctl release a" in botd.run("risk", "show").stdout
    botd.until(lambda: (botd.json("show", "a")["denied"] or {}).get("count", 0) > 1, 20)
    assert " [market 2026-01-" in botd.run("logs", "a").stdout


def test_start_with_the_endpoint_of_another_daemon_starts_nothing(make_botd: Any) -> None:
    botd, other = make_botd(QUICK), make_botd(QUICK, "b")
    start = [BIN / "botctl", "daemon", "start", "--config", str(other.config_file)]
    environment = {**os.environ, "BOTCTL_ENDPOINT": str(botd.socket)}
    done = subprocess.run(start, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and f"but botd would listen on {other.socket}" in done.stderr
    assert not other.state_dir.exists()
