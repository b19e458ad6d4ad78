"""The TAB key: names of the daemon, words of the verbs, files only where a file is meant."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from botctl import completion
from botctl.terms import HOW
from botd.domain.candle import INTERVALS
from botd.domain.order import OrderStatus
from botd.orchestrator import specs
from tests.unit.botctl.conftest import bot_row
from tests.unit.botctl.test_botctl_daemon import complete


def bash(botctl, *lines):
    """Return what a real bash offers for each line, as its TAB key would."""
    script = botctl("completion", "bash").out + "\ncompopt() { echo compopt $2; }\n"
    for line in lines:
        words = re.sub(r"([=:])", r" \1 ", line).split() + ([""] if line.endswith(" ") else [])
        script += f"COMP_LINE={shlex.quote(line)}; COMP_POINT={len(line)}; COMP_WORDS=({shlex.join(words)})\n"
        script += 'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _botctl; echo "${COMPREPLY[*]}"\n'
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_bash_script_completes_in_a_real_bash(botctl):
    assert bash(botctl, "botctl flat") == ["flatten"]


def test_bash_offers_values_behind_an_equals_sign_and_files_only_where_one_is_meant(botctl):
    assert bash(botctl, "botctl wait a --for state=ru", "botctl wait a --for state=running,pa") == [
        "running",
        "running,paused",
    ]
    assert bash(botctl, "botctl wait --for hea") == ["compopt nospace", "health="]
    assert bash(botctl, "botctl create ", "botctl live arm --for ") == ["", ""]
    assert bash(botctl, "botctl apply -f ")[0] == "compopt default"


def test_the_tab_key_knows_the_words_of_the_verbs(process, botd):
    limit = {"control": "daily_loss", "scope": "account"}
    rows = [{**limit, "limit": "bot"}, {**limit, "limit": "account"}, {**limit, "scope": "bot:alpha", "limit": "bot"}]
    rows.append({"control": "budget", "scope": "account", "limit": "value"})
    botd.handlers["risk.show"] = lambda args: {"rows": rows, "held": []}
    botd.handlers["ls"] = lambda args: {"rows": [bot_row("alpha", params={"period": 14})], "next": None}
    assert complete(process, "botctl create x --interval 1") == ["1m", "15m", "1h", "12h", "1d"]
    assert complete(process, "botctl risk set d") == ["daily_loss.account=", "daily_loss.bot="]
    assert complete(process, "botctl risk set alpha b") == ["budget="]
    assert complete(process, "botctl set alpha p") == ["period="]
    assert complete(process, "botctl set alpha stop") == ["stop_loss="]
    assert complete(process, "botctl wait alpha --for p") == ["position="]
    assert complete(process, "botctl wait --for market=p") == ["market=paused", "market=playing"]
    assert complete(process, "botctl orders --status de") == ["denied"]
    assert complete(process, "botctl events --topic ris") == ["risk"]


def test_the_intervals_for_tab_are_those_of_the_daemon():
    assert tuple(INTERVALS) == completion.INTERVALS
    assert set(completion.ORDER_STATES) == {status.value for status in OrderStatus}
    assert set(HOW) == set(specs.HOW)
