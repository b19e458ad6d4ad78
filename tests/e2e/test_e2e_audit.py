"""The audit of a real botd, killed and restarted, and then edited by hand."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

STILL = {"market": {"source": "synthetic", "symbols": ["BTC/USDT"], "speed": 0}}
RSI = ("--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000")


def test_the_audit_survives_kill_9_and_names_what_a_hand_changed(make_botd: Any) -> None:
    botd = make_botd(STILL).start()
    botd.run("create", "alpha", *RSI, "--start")
    botd.until(lambda: botd.json("fills"), 30)
    botd.kill()
    botd.start()
    botd.run("halt")
    assert botd.stop() == 0
    config = ("--config", str(botd.config_file))
    rows = [json.loads(line) for line in botd.run("audit", "export", *config).stdout.splitlines()]
    kinds = {row["kind"] for row in rows}
    assert {"command", "order", "fill", "risk.state"} <= kinds
    given = [row["entry"]["cmd"] for row in rows if row["kind"] == "command"]
    assert given == ["create", "halt"]
    intents = [row for row in rows if row["kind"] == "order" and row["entry"]["status"] == "intent"]
    fills = [row for row in rows if row["kind"] == "fill"]
    assert {row["entry"]["order"] for row in fills} <= {row["entry"]["order"] for row in intents}
    assert "the chain holds" in botd.run("audit", "verify", *config).stdout

    connection = sqlite3.connect(botd.state_dir / "ledger.db")
    connection.execute("DROP TRIGGER audit_no_update")
    changed = fills[0]["id"]
    connection.execute("UPDATE audit SET entry = replace(entry, '\"buy\"', '\"sell\"') WHERE id = ?", (changed,))
    connection.commit()
    connection.close()
    done = botd.run("audit", "verify", *config, check=False)
    assert done.returncode == 1
    assert f"entry {changed} (fill) is not as it was written" in done.stdout and "DOES NOT HOLD" in done.stdout


def test_a_row_that_the_disk_changed_stops_entries_and_is_named(make_botd: Any) -> None:
    botd = make_botd(STILL).start()
    botd.run("create", "alpha", *RSI, "--start")
    botd.until(lambda: botd.json("fills"), 30)
    assert botd.stop() == 0
    connection = sqlite3.connect(botd.state_dir / "ledger.db")
    connection.execute("UPDATE fills SET price = '1' WHERE id = 1")
    connection.commit()
    connection.close()
    botd.start()
    botd.until(lambda: "does not fit its checksum" in botd.run("health", check=False).stdout, 20)
    assert botd.run("health", check=False).returncode == 1
    before = len(botd.json("fills"))
    botd.until(lambda: gate(botd)["detail"].count("ledger") > 0, 20)
    assert len([row for row in botd.json("fills") if row["side"] == "buy"]) <= before


def gate(botd: Any) -> dict[str, Any]:
    """Return alpha's gate that did not let it pass."""
    failed = [one for one in botd.json("why", "alpha")["gates"] if not one["passed"]]
    return {"detail": "", **(failed[0] if failed else {})}
