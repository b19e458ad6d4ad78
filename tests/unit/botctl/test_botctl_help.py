"""Every verb explains itself: one line, an example that parses, and the global options."""

from __future__ import annotations

import shlex

import click
import pytest

from botctl.cli import VERBS
from botctl.cli import botctl as root


def walk(command, path):
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), f"{path} {name}")


COMMANDS = dict(walk(root, "botctl"))
LEAVES = {path: command for path, command in COMMANDS.items() if not isinstance(command, click.Group)}


def examples(command):
    text = command.help.partition("Example:\n")[2].replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip().startswith("botctl ")]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_one_line_and_an_example(path):
    command = COMMANDS[path]
    first = command.help.strip().splitlines()[0]
    assert first[0].isupper() and first.endswith(".") and 15 <= len(first) <= 90
    assert examples(command)


@pytest.mark.parametrize("path", LEAVES)
def test_the_examples_parse(path):
    for example in examples(LEAVES[path]):
        words = shlex.split(example.split("&&")[0].split("||")[0].split("|")[0].split(">")[0], comments=True)[1:]
        command, context = root, click.Context(root, info_name="botctl", resilient_parsing=False)
        while isinstance(command, click.Group):
            command = command.get_command(context, words[0])
            words = words[1:]
        command.make_context("x", words, parent=context)


@pytest.mark.parametrize("path", LEAVES)
def test_every_option_and_the_global_ones_are_explained(path):
    options = [parameter for parameter in LEAVES[path].params if isinstance(parameter, click.Option)]
    assert all(option.help for option in options)
    names = {name for option in options for name in option.opts}
    assert {"--output", "--quiet", "--no-headers", "--no-color", "--timeout", "--endpoint", "--version"} <= names


def test_the_contract_has_all_its_verbs():
    verbs = {verb for group in VERBS.values() for verb in group}
    promised = "create start stop restart pause resume rm start-all stop-all set apply export ls show stats portfolio"
    promised += (
        " health wait why top orders fills trades positions equity close risk halt reduce release flatten prices"
    )
    promised += " check backtest sweep walk-forward report replay"
    promised += " candles symbols market strategies data logs events audit live limits reconcile resolve panic"
    promised += " backup daemon config doctor demo completion"
    assert verbs == set(promised.split())
    for sub in (
        "daemon start|stop|restart|status|reload|ping|unit",
        "config init|check",
        "audit show|verify|accept|export",
        "live arm|disarm|status",
        "risk show|set",
        "data download|import|ls|verify",
    ):
        group, _, names = sub.partition(" ")
        assert set(names.split("|")) == set(COMMANDS[f"botctl {group}"].commands)
    assert set(COMMANDS["botctl market"].commands) == {"play", "pause", "status"}


def test_help_lists_every_verb_once(botctl):
    shown = botctl("--help").out
    for group, verbs in VERBS.items():
        assert f"{group}:" in shown
        for verb in verbs:
            assert f"\n  {verb} " in shown


def test_the_list_of_verbs_cuts_no_line(botctl):
    assert "..." not in botctl("--help").out.partition("\n")[2]


@pytest.mark.parametrize("words", [[], ["daemon"], ["risk"]])
def test_a_group_without_a_verb_shows_its_help_and_is_a_usage_error(botctl, words):
    result = botctl(*words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Usage: ")


def test_the_version_is_printed(botctl):
    assert botctl("--version").out.startswith("botctl 0.")
    assert botctl("ls", "--version").out.startswith("botctl 0.")
