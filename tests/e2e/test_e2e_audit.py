"""The audit of a real botd, killed and restarted, and then edited by hand."""

from __future__ import annotations

import json
import os
import shutil
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
    told = botd.health_check("ledger")["detail"]
    assert "no new positions" in told and "botctl audit verify" in told and "botctl backup" in told
    before = len(botd.json("fills"))
    botd.until(lambda: gate(botd)["detail"].count("ledger") > 0, 20)
    assert len([row for row in botd.json("fills") if row["side"] == "buy"]) <= before


def test_a_fill_edited_while_botd_is_stopped_is_named_everywhere(make_botd: Any) -> None:
    botd = make_botd(STILL).start()
    botd.run("create", "alpha", *RSI, "--start")
    botd.until(lambda: botd.json("fills"), 30)
    botd.run("start", "nobody", check=False)
    sound = json.loads(botd.run("backup", "--verify", "-o", "json").stdout)
    assert sound["verified"] and sound["damage"] is None
    assert botd.stop() == 0
    config = ("--config", str(botd.config_file))
    entries = [json.loads(line)["entry"] for line in botd.run("audit", "export", *config).stdout.splitlines()]
    assert [(one["ok"], one.get("code")) for one in entries if one.get("cmd") == "start"] == [(False, "NOT_FOUND")]

    connection = sqlite3.connect(botd.state_dir / "ledger.db")
    connection.execute("UPDATE fills SET price = '1' WHERE id = 1")
    connection.commit()
    connection.close()
    verified = botd.run("audit", "verify", *config, check=False)
    assert verified.returncode == 1 and "ROWS OF THE LEDGER DIFFER" in verified.stdout
    assert "does not fit its checksum" in verified.stdout and "has price 1, entry" in verified.stdout
    doctor = botd.run("doctor", *config, check=False)
    assert "a row of fills" in doctor.stdout

    botd.start()
    botd.until(lambda: "does not fit its checksum" in botd.run("daemon", "status").stdout, 20)
    assert [one for one in botd.json("events") if one["topic"] == "ledger.damaged"]
    assert "ledger is damaged" in botd.json("show", "alpha")["note"]
    copy = botd.run("backup", "--verify", check=False)
    assert copy.returncode == 1 and "a row of fills" in copy.stderr and "-damaged.db" in copy.stdout


def test_a_backup_put_back_has_its_books_and_is_told_as_an_older_copy_at_the_start(make_botd: Any) -> None:
    botd = make_botd(STILL).start()
    botd.run("create", "alpha", *RSI, "--start")
    botd.until(lambda: botd.json("fills", "alpha"), 30)
    botd.run("stop", "alpha")
    botd.run("wait", "alpha", "--for", "state=stopped", "--timeout", "20")
    older = botd.json("backup", "--verify")["path"]
    fills = botd.json("fills", "alpha")
    botd.run("create", "beta", *RSI)
    botd.run("halt")
    assert botd.stop() == 0
    shutil.copy(older, botd.state_dir / "ledger.db")
    botd.start()
    assert botd.json("fills", "alpha") == fills
    assert [row["name"] for row in botd.json("ls")] == ["alpha"]
    health = botd.run("health", check=False)
    assert health.returncode == 1 and "was an older copy of the ledger put back?" in health.stdout
    assert "the audit misses entr" in botd.run("daemon", "status").stdout
    assert [one for one in botd.json("events") if one["topic"] == "ledger.older_copy"]
    config, why = ("--config", str(botd.config_file)), ("--reason", "the copy of Sunday")
    running = botd.run("audit", "accept", *config, *why, "--yes", check=False)
    assert running.returncode == 5 and "stop it first" in running.stderr
    assert botd.stop() == 0
    assert botd.run("audit", "verify", *config, check=False).returncode == 1
    assert botd.run("audit", "accept", *config, *why, check=False).returncode == 2, "not without --yes"
    botd.run("audit", "accept", *config, *why, "--yes")
    botd.start()
    botd.until(botd.is_healthy, 20)
    assert botd.stop() == 0
    shown = botd.run("audit", "verify", *config).stdout
    assert "accepted on " in shown and ": the copy of Sunday\n" in shown and "an anchor knows" in shown


def test_a_lost_key_of_the_audit_stops_entries_until_it_is_accepted(make_botd: Any) -> None:
    botd = make_botd(STILL).start()
    botd.run("create", "alpha", *RSI)
    assert botd.stop() == 0
    (botd.state_dir / "audit.key").unlink()
    config = ("--config", str(botd.config_file))
    missing = botd.run("audit", "verify", *config, check=False)
    assert missing.returncode == 4 and "where it is lost: botctl audit accept" in missing.stderr
    botd.start()
    botd.until(lambda: "the audit: entry 1" in botd.run("health", check=False).stdout, 20)
    assert "botctl audit accept" in botd.health_check("ledger")["detail"]
    assert botd.stop() == 0
    made = json.loads(botd.run("audit", "accept", *config, "--reason", "lost", "--yes", "-o", "json").stdout)
    assert made["reason"] == "lost" and made["uid"] == os.getuid() and made["broken_count"] >= 1
    found = json.loads(botd.run("audit", "verify", *config, "-o", "json").stdout)
    assert (found["holds"], found["accepted"]) == (True, [made])
    again = botd.run("audit", "accept", *config, "--reason", "once more", "--yes")
    assert again.stdout == "" and "nothing to accept" in again.stderr
    botd.start()
    botd.until(botd.is_healthy, 20)
    assert botd.run("doctor", *config, check=False).stdout.count("every row and the audit read") == 1
    kinds = [row["kind"] for row in botd.json("audit", "show", "--kind", "accepted", *config)]
    assert kinds == ["accepted"]


def test_a_restart_with_a_configuration_that_cannot_start_leaves_the_running_daemon_alone(make_botd: Any) -> None:
    botd = make_botd(STILL).start()
    pid = botd.json("daemon", "status")["pid"]
    good = botd.config_file.read_text()
    botd.config_file.write_text(good.replace("BTC/USDT", "ETH/USDT"))
    refused = botd.run("daemon", "restart", check=False)
    assert refused.returncode == 78 and "bound to another world" in refused.stderr
    botd.config_file.write_text("mode: [")
    assert botd.run("daemon", "restart", check=False).returncode == 78
    assert botd.json("daemon", "status")["pid"] == pid


def gate(botd: Any) -> dict[str, Any]:
    """Return alpha's gate that did not let it pass."""
    failed = [one for one in botd.json("why", "alpha")["gates"] if not one["passed"]]
    return {"detail": "", **(failed[0] if failed else {})}
