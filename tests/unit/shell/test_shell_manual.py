"""The manual is held to the code: every verb, option, key, variable and exit status is in it."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from botctl import exit_codes
from botctl.cli import botctl
from botd import cli
from botd.config import Config, build
from botd.config_fill import key_names
from botd.config_yaml import parse_document
from botd.control.protocol import EXIT_CODES
from botd.offline import risk_check
from botd.risk.controls import CONTROLS

MAN = Path(__file__).parents[3] / "man"
PAGES = ("botctl.1", "botd.8", "botd.yaml.5", "botd-strategies.7")


def page(name: str) -> str:
    """Return a page as a reader sees its words: no macros, no fonts, plain hyphens."""
    return page_of((MAN / name).read_text())


def page_of(roff: str) -> str:
    text = re.sub(r'^\.\\".*\n', "", roff, flags=re.MULTILINE)
    text = re.sub(r"\\f[BIPR]", "", text).replace(r"\-", "-").replace(r"\e", "\\")
    text = re.sub(r"^\.(SH|SS|TP|PP|RS|RE|nf|fi|br|TH|BI|BR|IR|RB|RI|B|I)\b ?", "", text, flags=re.MULTILINE)
    return re.sub(r"[ \n]+", " ", text.replace('"', ""))


def has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text) is not None


def commands(
    command: click.Command, path: tuple[str, ...] = (), parent: click.Context | None = None
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield (words, command) of every verb below ``command``, and of the root itself."""
    context = click.Context(command, info_name=path[-1] if path else "botctl", parent=parent)
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, f"{name} is listed but does not exist"
            yield from commands(below, (*path, name), context)


VERBS = list(commands(botctl))


@pytest.mark.parametrize("path", [path for path, command in VERBS if path and not isinstance(command, click.Group)])
def test_botctl_1_has_every_verb(path: tuple[str, ...]) -> None:
    assert has_word(page("botctl.1"), " ".join(path))


def options_of(command: click.Command) -> set[str]:
    return {name for item in command.params if isinstance(item, click.Option) for name in item.opts}


def test_botctl_1_has_every_option() -> None:
    text = page("botctl.1")
    missing = {
        (" ".join(path), name) for path, command in VERBS for name in options_of(command) if not has_word(text, name)
    }
    assert not missing


def sections() -> list[str]:
    return [page_of(part) for part in re.split(r"^\.SH ", (MAN / "botctl.1").read_text(), flags=re.MULTILINE)]


@pytest.mark.parametrize("path", [path for path, command in VERBS if path and not isinstance(command, click.Group)])
def test_the_section_of_a_verb_has_its_options(path: tuple[str, ...]) -> None:
    everywhere, options = options_of(VERBS[0][1]), [item for item in dict(VERBS)[path].params if item.opts[0][0] == "-"]
    own = [item.opts for item in options if item.opts[0] not in everywhere]
    homes = [text for text in sections() if has_word(text, " ".join(path))]
    lacking = [[names for names in own if not any(has_word(text, name) for name in names)] for text in homes]
    assert [] in lacking, lacking


def test_botctl_1_promises_no_option_that_is_not_there() -> None:
    known = {name for _, command in VERBS for name in options_of(command)} | {"--help"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page("botctl.1"))) <= known


def test_botctl_1_has_every_exit_status() -> None:
    text = page("botctl.1").partition("EXIT STATUS")[2]
    own = {code for code in vars(exit_codes).values() if isinstance(code, int)}
    assert own >= {0, 1, 2, 3, 4, 5, 69, 70, 75, 76, 77, 78, 130}
    assert [code for code in {*own, *EXIT_CODES.values()} if not has_word(text, str(code))] == []


def test_botctl_1_has_every_output_format() -> None:
    output = next(item for item in botctl.params if "--output" in item.opts)
    assert isinstance(output.type, click.Choice)
    assert "|".join(str(word) for word in output.type.choices) in page("botctl.1")


def test_botd_8_has_every_option_of_botd() -> None:
    text = page("botd.8")
    assert [name for name in options_of(cli.command) if not has_word(text, name)] == []


def test_botd_8_has_every_exit_status_that_a_start_can_have() -> None:
    text = page("botd.8").partition("EXIT STATUS")[2]
    codes = (cli.USAGE, cli.INTERNAL, cli.INTERRUPTED, EXIT_CODES["RUNNING"], EXIT_CODES["FORBIDDEN"])
    assert [code for code in (0, *codes, EXIT_CODES["CONFIG"]) if not has_word(text, str(code))] == []


def variables() -> set[str]:
    """Return the variables that the sources of botd's shell name."""
    root = Path(cli.__file__).parent
    text = "".join((root / name).read_text() for name in ("config.py", "keys.py", "systemd.py", "logs.py"))
    pattern = r"\"((?:BOTD|BINANCE|REDIS)_[A-Z_]+|NOTIFY_SOCKET|WATCHDOG_[A-Z]+|JOURNAL_STREAM|CREDENTIALS_DIRECTORY)\""
    return set(re.findall(pattern, text))


def test_botd_8_has_every_variable() -> None:
    assert len(variables()) >= 14
    text = page("botd.8")
    assert [name for name in variables() if not has_word(text, name)] == []


def test_botd_yaml_5_has_every_key() -> None:
    text = page("botd.yaml.5")
    assert [name for name in key_names(Config) if not has_word(text, name)] == []


def test_botd_yaml_5_has_no_key_that_is_not_there() -> None:
    sections = {item.name for item in dataclasses.fields(Config) if "section" in item.metadata}
    named = re.findall(rf"(?<![\w./-])((?:{'|'.join(sections)})\.[a-z_]+)", page("botd.yaml.5"))
    assert set(named) - {"control.sock"} <= set(key_names(Config))


def test_botd_yaml_5_has_every_risk_control() -> None:
    text = page("botd.yaml.5").partition("Risk")[2]
    assert [control.name for control in CONTROLS if not has_word(text, control.name)] == []


@pytest.mark.parametrize("name", [name for name in key_names(Config) if name not in ("risk", "instruments")])
def test_botd_yaml_5_has_the_default_of_every_key(name: str) -> None:
    written = re.search(rf"(?<![\w.]){re.escape(name)}(?: ?, [a-z_.]+)* \((.*?)\)", page("botd.yaml.5"))
    assert written is not None
    assert build(parse_document(_nested(name, written[1])), {}) == build(parse_document(""), {})


def _nested(name: str, value: str) -> str:
    section, _, key = name.rpartition(".")
    return f"{section}: {{{key}: {value}}}" if section else f"{name}: {value}"


def test_the_examples_of_botd_yaml_5_are_valid(tmp_path: Path) -> None:
    text = (MAN / "botd.yaml.5").read_text().partition(".SH EXAMPLES")[2].replace(r"\-", "-")
    examples = re.findall(r"\.RS\n(.*?)\.RE", text, re.DOTALL)
    (tmp_path / "BTCUSDT-1m-2024-08.csv.gz").touch()
    assert len(examples) == 2
    for example in examples:
        build(parse_document(example, path=tmp_path / "botd.yaml"), {}, check_risk=risk_check())


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_a_page_is_free_of_mistakes(name: str) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-rCHECKSTYLE=3", "-z", str(MAN / name)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == "" and done.returncode == 0


@pytest.mark.parametrize("name", PAGES[:3])
def test_a_page_has_its_sections_in_order(name: str) -> None:
    text = (MAN / name).read_text()
    wanted = ["NAME", "SYNOPSIS", "DESCRIPTION", "ENVIRONMENT", "EXAMPLES", "SEE ALSO"]
    found = [heading.strip('"') for heading in re.findall(r"^\.SH (.*)$", text, re.MULTILINE)]
    assert [heading for heading in found if heading in wanted] == wanted
