"""kill -9 at random moments of a replay: the books at the end are those of an undisturbed run."""

from __future__ import annotations

import gzip
import itertools
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_e2e_replay import create_bots, replay_config

KILLS, CANDLES = 20, 15_000


def books(botd: Any) -> dict[str, Any]:
    """What must be equal: trades, fills without ids that name the ledger, money, statistics, the account."""
    fills = botd.json("fills")
    for fill in fills:
        fill["client_order_id"] = fill["client_order_id"][6:-3]
    keys = ("name", "equity", "realized_pnl", "trades", "position", "last_candle")
    return {
        "trades": botd.json("trades"),
        "fills": fills,
        "bots": [{key: row[key] for key in keys} for row in botd.json("ls")],
        "stats": botd.json("stats"),
        "account": {key: botd.json("portfolio")[key] for key in ("account_cash", "account_equity", "fees")},
        "equity_points": len(botd.json("equity", "rsi")),
        "market": {key: botd.json("market", "status")[key] for key in ("state", "time", "candles")},
    }


def is_ended(botd: Any) -> bool:
    done = botd.run("market", "status", "-o", "json", check=False)
    return done.returncode == 0 and '"ended"' in done.stdout


@pytest.mark.timeout(400)
def test_a_replay_killed_at_random_moments_ends_with_the_books_of_an_undisturbed_one(
    make_botd: Any, data: Path, tmp_path: Path
) -> None:
    tape = tmp_path / "tape.csv"
    with gzip.open(data / "ohlcv" / "BTCUSDT-1m-2024-08.csv.gz", "rt") as month:
        tape.write_text("".join(itertools.islice(month, CANDLES + 1)))
    config = replay_config(tape, "BTC/USDT", "1m")
    calm, killed = make_botd(config, "calm").start(), make_botd(config, "killed").start()
    for botd in (calm, killed):
        create_bots(botd, "BTC/USDT", "1m")
    calm.run("market", "play")
    calm.run("wait", "--for", "market=ended", "--timeout", "90", timeout=100)
    expected = books(calm)
    calm.stop()
    killed.run("market", "play")
    rng = random.Random(7)
    kills = 0
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.02, 0.6))
        kills += not is_ended(killed)
        killed.kill()
        killed.start()
    assert kills >= KILLS // 2
    killed.until(lambda: all(row["state"] == "running" for row in killed.json("ls")), 20)  # READY comes before the bots
    killed.run("wait", "--for", "market=ended", "--timeout", "90", timeout=100)
    found = books(killed)
    for key, value in expected.items():
        if isinstance(value, list):
            assert [(f, v) for f, v in zip(found[key], value, strict=False) if f != v][:3] == [], key
        assert found[key] == value, key
