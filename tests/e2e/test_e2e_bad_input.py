"""Bad input, as a user types it: one clear line, the right exit code, nothing changed, the daemon lives."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Botd
from tests.fakes.refused import BIN, refused, run_botd

RSI = {"--strategy": "rsi", "--symbol": "BTC/USDT", "--interval": "1m", "--capital": "1000"}
FIRST_MS = 1_722_470_400_000


@pytest.fixture(scope="module")
def botd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Botd]:
    """One daemon on a synthetic market of 5m candles that stands still, with one bot."""
    running = Botd(tmp_path_factory.mktemp("bad"), {"market": {"interval": "5m", "autoplay": False}})
    try:
        running.start().run("create", "kept", *words({**RSI, "--interval": "5m"}))
        yield running
        assert running.run("ls", "-o", "name").stdout == "kept\n"  # and it is all that there is
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def the_daemon_lives(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "botd" in request.fixturenames:
        daemon = request.getfixturevalue("botd")
        assert daemon.process.poll() is None
        assert "Traceback" not in daemon.log()


def words(options: dict[str, str]) -> list[str]:
    return [word for pair in options.items() for word in pair]


# -- bots


@pytest.mark.parametrize(
    ("changes", "code", "says", "hint"),
    [
        ({"--strategy": "rsy"}, 4, "rsy: no such strategy", r"did you mean rsi\?"),
        (
            {"--strategy": "qqq"},
            4,
            "qqq: no such strategy",
            "breakout, dca, ema_cross, grid, macd, mean_reversion, rsi",
        ),
        ({"--strategy": "../rsi"}, 2, r"strategy '\.\./rsi': not a name", "lower-case letters"),
        ({"--set": "perod=9"}, 2, r"no parameter 'perod'; did you mean 'period'\?", "period, oversold, overbought"),
        ({"--set": "period=abc"}, 2, "period must be an integer from 2 to 500, not abc", ""),
        ({"--set": "period=1.5"}, 2, "period must be an integer from 2 to 500, not 1.5", ""),
        ({"--set": "period=501"}, 2, "period must be an integer from 2 to 500, not 501", ""),
        ({"--set": "oversold=nan"}, 2, "oversold must be a number from 0 to 100, not nan", ""),
        ({"--set": "oversold=80"}, 2, "oversold must not be above overbought, not 80 and 70", ""),
        ({"--set": "period"}, 2, "'period': write key=value", ""),
        ({"--symbol": "BTX/USDT"}, 4, "no symbol 'BTX/USDT' in this market", r"did you mean BTC/USDT\?"),
        (
            {"--symbol": "DOGE/EUR"},
            4,
            "no symbol 'DOGE/EUR' in this market",
            r"it has BTC/USDT, ETH/USDT \(market.symbols",
        ),
        ({"--symbol": "BTCUSDT"}, 2, "'BTCUSDT' is not a symbol", "did you mean BTC/USDT"),
        ({"--interval": "7m"}, 2, "unknown interval '7m'", "one of 1m, 3m, 5m"),
        ({"--interval": "1m"}, 2, "interval 1m cannot be built from this market's 5m candles", "a multiple of 5m"),
        ({"--risk-per-trade": "1%"}, 2, "--risk-per-trade needs a stop", "add --stop-loss"),
        (
            {"--risk-per-trade": "1%", "--fraction": "50%", "--stop-loss": "2%"},
            2,
            "--fraction and --risk-per-trade exclude each other",
            "",
        ),
        ({"--stop-loss": "2"}, 2, "'2' is ambiguous; write 2% for percent", ""),
        ({"--stop-loss": "0%"}, 2, "--stop-loss must be above 0 % and below 100 %, not 0 %", ""),
        ({"--stop-loss": "100%"}, 2, "--stop-loss must be above 0 % and below 100 %, not 100 %", ""),
        ({"--take-profit": "-1%"}, 2, "--take-profit must be above 0 % and at most 100 %, not -1 %", ""),
        ({"--fraction": "150%"}, 2, "--fraction must be above 0 % and at most 100 %, not 150 %", ""),
        ({"--trailing-stop": "nan%"}, 2, "'nan%' is not a percentage", ""),
        ({"--trailing-stop": "1e999999999%"}, 2, "'1e999999999%' is out of range", ""),
        ({"--atr-stop": "3y14"}, 2, "--atr-stop must be a multiple of ATR such as 3x14", ""),
        ({"--break-even": "0%"}, 2, "--break-even must be above 0 % and at most 100 %, not 0 %", ""),
        ({"--time-stop": "0"}, 2, "", ""),
        ({"--label": "team"}, 2, "'team': write key=value", ""),
    ],
    ids=lambda value: "-".join(value.values()).replace("/", "") if isinstance(value, dict) else "",
)
def test_a_wrong_bot_is_refused_with_the_remedy(
    botd: Botd, changes: dict[str, str], code: int, says: str, hint: str
) -> None:
    options = {**RSI, "--interval": "5m", **changes}
    refused(botd.run("create", "bad", *words(options), check=False), code, says, hint)


@pytest.mark.parametrize(
    ("capital", "says"),
    [
        ("0", "capital must be above zero, not 0"),
        ("-5", "capital must be above zero, not -5"),
        ("NaN", "capital must be finite, not NaN"),
        ("Infinity", "capital must be finite, not Infinity"),
        ("-inf", "capital must be finite, not -inf"),
        ("1e400", "capital is out of range: 1e400"),
        ("1e16", "capital is out of range: 1e16"),
        ("9" * 300, "capital: expected a text of length <= 256"),
        ("1,000", "capital must be a number, not '1,000'"),
        ("1_000", "capital must be a number, not '1_000'"),
        ("١٠٠", "capital must be a number, not .*"),
        ("", "capital is missing"),
        ("lots", "capital must be a number, not 'lots'"),
    ],
)
def test_a_capital_that_is_no_money_is_refused(botd: Botd, capital: str, says: str) -> None:
    options = {**RSI, "--interval": "5m", "--capital": capital}
    refused(botd.run("create", "bad", *words(options), check=False), 2, f"{says}$")


@pytest.mark.parametrize("name", ["a/b", "../x", "", ".", "a b", "a\nb", "a\x1b[31m", "é", "x" * 65])
def test_a_name_that_is_no_name_is_refused_everywhere(botd: Botd, name: str) -> None:
    rule = "letters, digits, '_', '.', '-', at most 64"
    refused(botd.run("create", name, *words(RSI), check=False), 2, "is not a bot's name", rule)
    if "/" in name:
        refused(botd.run("start", name, check=False), 2, "is not a bot's name", rule)


def test_a_name_that_nobody_has_is_not_found(botd: Botd) -> None:
    for verb in ("start", "stop", "pause", "resume", "restart", "rm", "show", "why", "trades", "logs", "close", "halt"):
        refused(botd.run(verb, "nobody", check=False), 4, "nobody: no such bot", "botctl ls")
    refused(botd.run("set", "nobody", "period=9", check=False), 4, "nobody: no such bot")
    refused(botd.run("wait", "nobody", "--for", "state=running", check=False), 4, "nobody: no such bot")
    both = botd.run("start", "kept", "nobody", check=False)  # all are tried, the worst decides
    assert both.returncode == 4 and both.stdout == "kept  created -> running\n"
    assert botd.run("stop", "kept").stdout == "kept  running -> stopped\n"


def test_wrong_arguments_of_other_verbs(botd: Botd) -> None:
    for arguments, code, says in (
        (["creat", "x"], 2, "creat: no such verb"),
        (["create", "x"], 2, "Missing option '--strategy'"),
        (["start"], 2, r"which bots\?"),
        (["start", "kept", "--all"], 2, "exclude each other"),
        (["set", "kept", "perod=9"], 2, "no parameter 'perod'; did you mean period"),
        (["set", "kept", "stop_los=2%"], 2, "no parameter 'stop_los'; did you mean stop_loss"),
        (["set", "kept", "capital=-1"], 2, "capital must be above zero"),
        (["set", "kept", "stop_loss=3"], 2, "'3' is ambiguous"),
        (["set", "kept", "name=other"], 2, "name cannot be set"),
        (["orders", "--since", "yesterday"], 2, "yesterday: not a time"),
        (["orders", "--status", "bogus"], 2, "bogus"),
        (["candles", "BTX/USDT"], 4, "no symbol 'BTX/USDT'"),
        (["prices", "BTC/USDT", "btc/usdt"], 4, "no symbol 'btc/usdt'"),
        (["halt", "--symbol", "BTX/USDT"], 4, "no symbol 'BTX/USDT'"),
        (["flatten", "--yes", "--symbol", "BTX/USDT"], 4, "no symbol 'BTX/USDT'"),
        (["flatten"], 2, "not without --yes"),
        (["risk", "set", "max_exposur=3%"], 2, "max_exposur: no such control"),
        (["risk", "set", "max_exposure=nan"], 2, "'nan' is not a number"),
        (["wait", "kept", "--for", "colour=red"], 2, "--for colour: unknown"),
        (["--timeout", "0", "ls"], 2, "write seconds"),
        (["ls", "-o", "xml"], 2, "'xml' is not one of"),
        (["apply", "-f", "no.yaml"], 2, "no.yaml: No such file"),
    ):
        refused(botd.run(*arguments, check=False), code, says)
    assert [row["state"] for row in botd.json("risk", "show") if row["control"] == "trading_state"] == ["ok"]


def test_a_broken_fleet_changes_nothing(botd: Botd, tmp_path: Path) -> None:
    good = "{name: ok, strategy: rsi, symbol: BTC/USDT, interval: 5m, capital: 10}"
    fleet = tmp_path / "fleet.yaml"
    for text, code, says in (
        ("bots: [{name: a", 78, "fleet.yaml:1: "),
        ("bots: []", 78, "no bots in it"),
        ("bots: 7", 78, "no bots in it"),
        ("bot: []", 78, "unknown key 'bot'"),
        ("bots:\n- &a {name: a}\n- *a", 78, "fleet.yaml:2: anchors and aliases are not allowed"),
        ("bots:\n- {name: a, name: b}", 78, "fleet.yaml:2: bots.0.name: written twice"),
        ("bots:\n- !!python/object:os.system {}", 78, "fleet.yaml:2: tags are not allowed"),
        ("[" * 3000, 78, "nested too deeply"),
        ("x" * (1 << 20) + "y", 78, "larger than 1 MiB"),
        (f"bots:\n- {good}\n- {{name: b, strategi: rsi, symbol: BTC/USDT, interval: 5m, capital: 1}}", 2, "strategi"),
        (f"bots:\n- {good}\n- {{name: b, strategy: rsi, symbol: BTC/USDT, interval: 5m}}", 2, "capital is missing"),
        (f"bots:\n- {good}\n- {good.replace('10', '.nan')}", 2, "capital must be a"),
        (f"bots:\n- {good}\n- {good}", 2, "ok: named twice"),
        (f"bots:\n- {good}\n- {good.replace('ok', 'b').replace('rsi', 'rsx')}", 4, "rsx: no such strategy"),
    ):
        fleet.write_text(text)
        refused(botd.run("apply", "-f", str(fleet), check=False), code, says)


LOADS = "from botd.strategy.base import SignalStrategy\n"


@pytest.mark.parametrize(
    ("name", "source", "says"),
    [
        ("syntax", "def x(:\n", "syntax.py, line 1: invalid syntax"),
        ("imports", "\nimport nowhere\n", "imports.py, line 2: ModuleNotFoundError: No module named 'nowhere'"),
        ("empty", "x = 1\n", "needs exactly one strategy class, found none"),
        ("exits", "raise SystemExit(3)\n", "exits.py, line 1: SystemExit: 3"),
        ("interrupts", "raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("nulls", "x = 1\0\n", "null bytes"),
        ("half", LOADS + "class Half(SignalStrategy):\n    pass\n", "Half has no signals and no warmup"),
        ("endless", "while True:\n    pass\n", "its top level did not end within 2 s"),
    ],
)
def test_a_broken_strategy_file_is_refused_and_stops_nobody(botd: Botd, name: str, source: str, says: str) -> None:
    folder = botd.config_file.parent / "strategies"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / f"{name}.py").write_text(source)
    options = {**RSI, "--interval": "5m", "--strategy": name}
    refused(botd.run("create", "bad", *words(options), check=False), 2, f"strategy {name}: .*{says}")
    (folder / f"{name}.py").unlink()


def test_closed_and_full_outputs_end_without_a_traceback(botd: Botd) -> None:
    def shell(redirected: str, *arguments: str) -> Any:
        command = f'"$0" --endpoint "$1" {" ".join(arguments)} {redirected}'
        words = ["sh", "-c", command, str(BIN / "botctl"), str(botd.socket)]
        return subprocess.run(words, env=botd.environment, capture_output=True, text=True, timeout=30)

    refused(shell(">/dev/full", "ls"), 1, "cannot write: No space left on device")
    assert shell(">&-", "ls").returncode == 0
    refused(shell("<&-", "flatten"), 2, "not without --yes", "no terminal")
    assert shell("<&- >&- 2>&-", "show", "nobody").returncode == 4
    refused(shell("", "create", "$(printf 'a\\377')", *words(RSI)), 2, "create: an argument is not UTF-8 text")
    assert shell("| head -c 1", "risk", "show", "-o", "json").stderr == ""


# -- configuration


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("mode: paper\nmarket: {source: synthetic\n", r"b\.yaml:2: '{' is opened here and never closed", ""),
        ("market:\n\tsource: synthetic\n", r"b\.yaml:2: .*'\\t'", "indent with spaces"),
        ("mode: paper\nmarket:\n  sped: 1\n", r"b\.yaml:3: market\.sped: unknown key; did you mean speed\?", ""),
        ("mode: paper\nmode: live\n", r"b\.yaml:2: mode: written twice \(first in line 1\)", ""),
        ("redis: &r {}\ncontrol: *r\n", r"b\.yaml:1: anchors and aliases are not allowed", ""),
        ("mode: !!python/object/apply:os.system [id]\n", r"b\.yaml:1: tags are not allowed", ""),
        ("mode: paper\n---\nmode: live\n", r"b\.yaml:2: .*another document", ""),
        ("- a\n", r"b\.yaml:1: expected `key: value` lines", "config init"),
        ("market: {speed: fast}\n", r"b\.yaml:1: market\.speed: 'fast' is not a finite number", ""),
        ("market: 7\n", r"b\.yaml:1: market: expected a mapping", ""),
        ("paper: {balance: {USDT: -1}}\n", r"b\.yaml:1: paper\.balance\.USDT: -1 must be at least 0", ""),
        ("risk: {max_exposur: 3%}\n", r"b\.yaml:1: risk\.max_exposur: no such control \(did you mean max_exposure", ""),
        ("mode: live\n", r"b\.yaml:1: mode: live cannot run on a synthetic market", "market.source: exchange"),
        ("market: {source: replay}\n", r"market\.files: a replay needs a file a symbol", "e\\.g\\. files"),
        ("x" * (1 << 20) + "y", r"b\.yaml: larger than 1 MiB", ""),
        ("market: " + "[" * 100_000, r"b\.yaml:1: nested too deeply", ""),
    ],
    ids=lambda value: "",
)
def test_a_broken_configuration_is_refused_with_file_and_line(tmp_path: Path, text: str, says: str, hint: str) -> None:
    (tmp_path / "b.yaml").write_text(text)
    done = run_botd(tmp_path, "--config", "b.yaml", "--state-dir", "state")
    refused(done, 78, says, hint, by="botd")
    assert not (tmp_path / "state").exists()  # nothing was begun


def test_a_wrong_command_line_of_botd_is_2(tmp_path: Path) -> None:
    refused(run_botd(tmp_path, "--confg", "x"), 2, "No such option '--confg'", by="botd")
    refused(run_botd(tmp_path, "start"), 2, "unexpected extra argument", by="botd")
    refused(run_botd(tmp_path, "--config", "no.yaml"), 78, "no.yaml: cannot be read: No such file", by="botd")


def test_a_reload_of_a_broken_configuration_keeps_the_old_one(botd: Botd) -> None:
    good = botd.config_file.read_text()
    before = botd.json("risk", "show")
    try:
        for text, says in (
            (good + "riks: {max_exposure: 1%}\n", r"botd\.yaml:\d+: riks: unknown key; did you mean risk\?"),
            (good + "risk: {max_exposure: lots}\n", r"botd\.yaml:\d+: risk\.max_exposure"),
            (good + "risk: {", r"botd\.yaml:\d+: "),
        ):
            botd.config_file.write_text(text)
            refused(botd.run("daemon", "reload", check=False), 78, says)
            assert botd.json("risk", "show") == before
    finally:
        botd.config_file.write_text(good)
    botd.config_file.rename(botd.config_file.with_suffix(".aside"))
    refused(botd.run("daemon", "reload", check=False), 78, r"botd\.yaml: cannot be read: No such file")
    botd.config_file.with_suffix(".aside").rename(botd.config_file)
    assert botd.run("daemon", "reload").stdout == "nothing changed\n"


# -- candle files

HEADER = "open_time_ms,open,high,low,close,volume\n"
ROWS = [f"{FIRST_MS + i * 60_000},{100 + i % 7},{101 + i % 7},{99 + i % 7},{100.5 + i % 7},1.5\n" for i in range(200)]
GOOD = HEADER + "".join(ROWS)
PACKED = gzip.compress(GOOD.encode())


def row(prices: str) -> str:
    return f"{GOOD}{FIRST_MS + 200 * 60_000},{prices}\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("b.csv", "", "the file is empty"),
        ("b.csv", GOOD[:-10], "line 201: 5 columns instead of 6"),
        ("b.csv.gz", PACKED[:-40], "the gzip data is cut off"),
        ("b.csv.gz", PACKED[:200] + b"\xff\x00" + PACKED[202:], "the gzip data is damaged"),
        ("b.csv", GOOD[:3000] + "\x00rubbish,,,\n" + GOOD[3000:], r"line \d+: .* is not a number"),
        ("b.csv", bytes(range(256)) * 50, "line 1: "),
        ("b.csv", "a,b,c\n1,2,3\n", "line 1: no column"),
        (
            "b.csv",
            HEADER + "".join([*ROWS[:50], *ROWS[60:70], *ROWS[50:60]]),
            "line 62: 2024-08-01T00:50:00Z comes after 2024-08-01T01:09",
        ),
        ("b.csv", HEADER + "".join(ROWS[::5]), "line 3: candles are 5 minutes apart, market.interval is 1m"),
        ("b.csv", row("nan,1,1,1,1"), "line 202: a value is not a finite number"),
        ("b.csv", row("50,10,9,9.5,1"), "line 202: open or close is outside of low and high"),
    ],
)
def test_a_candle_file_that_is_none_is_refused_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    config = f"market: {{source: replay, files: {{BTC/USDT: {name}}}, interval: 1m}}\n"
    (tmp_path / "b.yaml").write_text(config)
    done = run_botd(tmp_path, "--config", "b.yaml", "--state-dir", "state")
    refused(done, 78, rf"{tmp_path}/{name}: {says}", ".", by="botd")


def test_a_candle_file_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    for file in ("no.csv", "."):
        (tmp_path / "b.yaml").write_text(f"market: {{source: replay, files: {{BTC/USDT: {file}}}}}\n")
        done = run_botd(tmp_path, "--config", "b.yaml", "--state-dir", "state")
        refused(done, 78, r"b\.yaml:1: market\.files\.BTC/USDT: no such file", by="botd")


def test_a_broken_file_does_not_harm_the_books(make_botd: Any, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text(GOOD)
    market = {"source": "replay", "files": {"BTC/USDT": str(file)}, "speed": 0}
    botd = make_botd({"market": market}).start()
    botd.run("wait", "--for", "market=ended", "--timeout", "20")
    botd.run("create", "kept", *words(RSI))
    assert botd.stop() == 0
    file.write_text(GOOD[:-10])
    done = run_botd(tmp_path, "--config", str(botd.config_file))
    refused(done, 78, "line 201: 5 columns", by="botd")
    file.write_text(GOOD)
    botd.start()
    assert [row["name"] for row in botd.json("ls")] == ["kept"]
