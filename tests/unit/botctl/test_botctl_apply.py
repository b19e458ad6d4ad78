"""Apply in words: where a mistake is, and that what it created is stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.fake_botd import Refusal

FLEET = "bots:\n  - {name: alpha, strategy: rsi}\n  - {name: beta, strategy: rsi}\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    return file


def answer(*actions: str):
    names = ("alpha", "beta", "gamma", "d", "e", "f")
    changes = [{"name": name, "action": action, "diff": {}} for name, action in zip(names, actions, strict=False)]
    return lambda args: {"changes": changes, "applied": not args["plan"]}


def test_what_was_created_needs_a_start(botctl, botd, fleet: Path) -> None:
    botd.handlers["apply"] = answer("create", "leave")
    assert "stopped; start it with: botctl start alpha\n" in botctl("apply", "-f", str(fleet)).err
    assert "start it" not in botctl("apply", "-f", str(fleet), "--plan").err
    botd.handlers["apply"] = answer("change", "leave")
    assert botctl("apply", "-f", str(fleet)).err == ""
    botd.handlers["apply"] = answer(*["create"] * 6)
    assert "botctl start NAME..., or --all" in botctl("apply", "-f", str(fleet)).err


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("bot beta: stop_loss: must be above 0 %", "bot beta: stop_loss: must be above 0 %"),
        ("bots[1].capital: expected text", "bot beta: capital: expected text"),
        ("bots[0]: no name", "bot alpha: no name"),
        ("unknown argument 'stop_los' in bots[1]", "bot beta: unknown key 'stop_los'"),
    ],
)
def test_a_refusal_names_the_file_and_the_bot(botctl, botd, fleet: Path, said: str, told: str) -> None:
    def refuse(args: object) -> None:
        raise Refusal("INVALID", said, "mend it")

    botd.handlers["apply"] = refuse
    result = botctl("apply", "-f", str(fleet))
    assert (result.code, result.err) == (2, f"botctl: error: {fleet}: {told}\n  hint: mend it\n")


@pytest.mark.parametrize("key", ["start", "running", "state"])
def test_a_key_that_would_say_whether_a_bot_runs_is_answered_with_the_verb(botctl, botd, fleet: Path, key: str) -> None:
    def refuse(args: object) -> None:
        raise Refusal("INVALID", f"unknown argument {key!r} in bots[0]", "did you mean strategy?")

    botd.handlers["apply"] = refuse
    result = botctl("apply", "-f", str(fleet))
    assert (result.code, result.err.splitlines()[0]) == (
        2,
        f"botctl: error: {fleet}: bot alpha: unknown key {key!r}",
    )
    assert "not whether it runs" in result.err and "botctl start NAME" in result.err


def test_a_verb_looked_for_under_daemon_is_named(botctl) -> None:
    result = botctl("daemon", "logs")
    assert (result.code, result.err) == (
        2,
        "botctl: error: daemon logs: no such verb\n  hint: it stands by itself: botctl logs\n",
    )
