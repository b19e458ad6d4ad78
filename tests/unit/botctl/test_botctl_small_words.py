"""Small things people type: labels taken away, times of events, the parts that are not well, percentages."""

from __future__ import annotations

import tempfile

import pytest

from botctl.commands.demo import short_place
from tests.unit.botctl.conftest import bot_row

HALF_WELL = {
    "status": "degraded",
    "checks": [
        {"name": "ledger", "status": "ok", "detail": ""},
        {"name": "market", "status": "degraded", "detail": "stale"},
        {"name": "loop", "status": "failed", "detail": "lags"},
    ],
}


def change(name, changes):
    row = {"name": name, "before": "running", "after": "running", "result": "changed", "detail": str(changes)}
    return {"rows": [row]}


def test_a_label_is_set_and_taken_away_as_kubectl_does(botd, botctl):
    botd.handlers["set"] = lambda args: change(args["name"], args["changes"])
    assert botctl("set", "alpha", "label.my-team=b", "label.old-", "label.gone=", "stop_loss=2%").code == 0
    wanted = {"label.my-team": "b", "label.old": "", "label.gone": "", "stop_loss": "0.02"}
    assert botd.asked("set")[0]["changes"] == wanted
    refused = botctl("set", "alpha", "stop-loss-")
    assert refused.code == 2 and "write key=value" in refused.err


@pytest.mark.parametrize(("health", "code", "names"), [(HALF_WELL, 1, "market\nloop\n"), ({"status": "ok"}, 0, "")])
def test_the_names_of_health_are_those_of_the_parts_that_are_not_well(botd, botctl, health, code, names):
    botd.handlers["health"] = lambda args: health
    result = botctl("health", "-o", "name")
    assert (result.code, result.out) == (code, names)


EVENTS = [
    {"seq": seq, "epoch": "e1", "ts": f"2026-01-01T00:0{seq}:00Z", "topic": "bot.state", "bot": "a", "data": {}}
    for seq in range(1, 6)
]


def read(args):
    rows = EVENTS
    if "since" in args:
        rows = [row for row in rows if row["seq"] * 60_000 + 1767225600000 >= args["since"]]
    if "since_seq" in args:
        rows = [row for row in rows if row["seq"] > args["since_seq"]]
    return {"rows": rows[: args["limit"]], "next": None, "seq": 5, "epoch": "e1"}


@pytest.mark.parametrize(
    ("given", "seqs"),
    [
        (["--since", "2026-01-01T00:03:00Z"], "3 4 5"),
        (["--since", "2026-01-01T00:03:01Z"], "4 5"),
        (["--since", "90s"], "2 3 4 5"),  # the market's clock says 00:03:12
        (["--since", "2026-01-02"], ""),
        (["--since", "2026-01-01", "--since-seq", "3"], "4 5"),
        (["--since", "2026-01-01", "-n", "2"], "4 5"),
    ],
)
def test_events_are_listed_from_a_time_on(botd, botctl, given, seqs):
    botd.handlers["events"] = read
    result = botctl("events", *given, "-o", "tsv", "--no-headers")
    assert [line.split("\t")[0] for line in result.out.splitlines()] == seqs.split()
    assert botctl("events", "--since", "yesterday").code == 2


def test_fractions_are_percentages_for_people_and_stay_as_they_are_for_programs(botd, botctl):
    more = {
        "stop_loss": "0.02",
        "trailing_stop": "0.015",
        "take_profit": None,
        "params": {"take_profit": 0.03, "n": 14},
    }
    botd.handlers["show"] = lambda args: bot_row("alpha", **more)
    lines = [" ".join(line.split()) for line in botctl("show", "alpha").out.splitlines()]
    assert {"stop loss 2%", "trailing stop 1.5%", "take profit -", "take profit 3%", "n 14"} <= set(lines)
    assert '"stop_loss": "0.02"' in botctl("show", "alpha", "-o", "json").out
    botd.handlers["ls"] = lambda args: {"rows": [bot_row("alpha", **more)], "next": None}
    assert "take_profit=3%,n=14" in botctl("ls", "-o", "wide").out
    assert "take_profit=0.03,n=14" in botctl("ls", "-o", "tsv").out


def test_the_demo_finds_a_place_with_a_short_path(tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setenv("HOME", "/h")
    assert short_place() == "/h"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert short_place() == "/run/user/7"
    monkeypatch.setattr(tempfile, "tempdir", "/t")
    assert short_place() == "/t"


def test_a_ledger_of_another_daemon_than_the_endpoints_is_not_read(botctl, tmp_path, monkeypatch):
    monkeypatch.setenv("BOTD_STATE_DIR", str(tmp_path / "usual"))
    for verb in (("replay", "alpha"), ("audit", "verify"), ("audit", "show"), ("audit", "export")):
        done = botctl("--endpoint", str(tmp_path / "month" / "control.sock"), *verb)
        assert done.code == 2 and "belongs to the botd at" in done.err and "--config" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("demo", "--seconds", "x"), "'--seconds': 'x' is not a number from 1 to 600"),
        (("demo", "--seconds", "0"), "'--seconds': 0.0 is not a number from 1 to 600"),
        (("events", "-n", "few"), "'-n': 'few' is not a whole number of at least 0"),
        (("sweep", "rsi", "--symbol", "A/B", "--interval", "1m", "--seed", "1.5"), "'1.5' is not a whole number"),
    ],
)
def test_a_number_that_does_not_fit_is_told_what_it_must_be(botctl, words, told):
    done = botctl(*words)
    first, hint = done.err.splitlines()
    assert (done.code, done.out) == (2, "") and first.endswith(told) and hint.startswith("  hint: botctl ")
