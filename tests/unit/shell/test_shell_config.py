"""Configuration: what is read, what is refused and how the refusal reads."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from botd.config import Config, build, changed, from_mapping, load, reload
from botd.config_yaml import parse_document
from botd.domain.errors import ConfigError

EXAMPLE = """\
mode: paper
exchange: binance
testnet: false
endpoints: {rest: null, stream: null, ws_api: null}
keys_file: null
enable_bots: true
state_dir: ~/.local/state/botd
data_dir: ~/.local/share/botd/candles
strategies_dir: ~/.config/botd/strategies
market:
  source: synthetic
  symbols: [BTC/USDT, ETH/USDT]
  seed: 1
  start: 2026-01-01T00:00:00Z
  interval: 1m
  speed: 1
  autoplay: true
paper: {maker_fee: 0.1%, taker_fee: 0.1%, slippage: 0.05%, latency_ms: 0, fee_asset: quote, max_volume_pct: off,
  balance: {USDT: 100000}}
instruments: {BTC/USDT: {tick: 0.01, step: 0.00001, min_notional: 5}}
redis: {host: null, port: 6379}
control: {socket: null, events: null, group: null, tcp: null}
risk: {preset: paper, max_exposure: 100%, daily_loss: {bot: 3%, account: 5%}}
log: {level: info, file: null, format: text}
"""


def read(text: str, environ: dict[str, str] | None = None, **overrides: str) -> Config:
    return build(parse_document(text), {} if environ is None else environ, overrides=overrides)


def refusal(text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, environ)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_the_example_of_the_contract_says_what_the_defaults_are_but_for_instruments_and_risk() -> None:
    config = read(EXAMPLE)
    live, restart = changed(config, read(""))
    assert (live, restart) == (["risk"], ["instruments"])
    assert config.paper.maker_fee == Decimal("0.001")
    assert config.paper.slippage == Decimal("0.0005")
    assert config.paper.max_volume_pct is None
    assert config.market.start == 1_767_225_600_000
    assert config.grids()["BTC/USDT"].step == Decimal("0.00001")
    assert config.risk == {"preset": "paper", "max_exposure": "100%", "daily_loss": {"bot": "3%", "account": "5%"}}


def test_an_empty_file_is_all_defaults() -> None:
    assert read("# nothing\n") == read("")


def test_numbers_are_exact_also_in_the_form_that_yaml_takes_for_text() -> None:
    config = read("instruments: {BTC/USDT: {tick: 1e-2, step: 1e-5, min_notional: 5.0}}\nmarket: {speed: 0.1}")
    assert config.instruments["BTC/USDT"].step == Decimal("0.00001")
    assert config.market.speed == Decimal("0.1")


@pytest.mark.parametrize("word", ["off", "false", "no", "Off"])
def test_off_and_false_are_the_same(word: str) -> None:
    config = read(f"paper: {{max_volume_pct: {word}}}\nmarket: {{autoplay: {word}}}\nrisk: {{preset: off}}")
    assert config.paper.max_volume_pct is None
    assert config.market.autoplay is False
    assert config.risk["preset"] == "off"


def test_native_values_of_another_yaml_reader_are_taken_too() -> None:
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    config = from_mapping({"market": {"start": start, "autoplay": False, "speed": 0}, "risk": {"preset": False}})
    assert config.market.start == 1_767_225_600_000
    assert config.market.autoplay is False
    assert config.risk["preset"] == "off"


def test_a_date_without_a_time_is_midnight_utc() -> None:
    assert read("market: {start: 2026-01-01}").market.start == 1_767_225_600_000


def test_an_unknown_key_is_refused_with_file_line_and_the_nearest_key() -> None:
    text = "mode: paper\nmarket:\n  source: synthetic\n  sped: 2\n"
    assert refusal(text) == "botd.yaml:4: market.sped: unknown key; did you mean speed?"


def test_a_key_of_another_section_is_named_with_its_section() -> None:
    assert refusal("speed: 2") == "botd.yaml:1: speed: unknown key; did you mean market.speed?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode: lif", "botd.yaml:1: mode: 'lif' is not one of paper, live"),
        ("mode: paper\nmode: live", "botd.yaml:2: mode: written twice (first in line 1)"),
        ("market:\n  speed: .nan", "botd.yaml:2: market.speed: '.nan' is not a finite number"),
        ("market:\n  speed: NaN", "botd.yaml:2: market.speed: 'NaN' is not a finite number"),
        ("market:\n  speed: -1", "botd.yaml:2: market.speed: -1 must be at least 0"),
        ("market: {interval: 7m}", "botd.yaml:1: market.interval: unknown interval '7m'; one of 1m, 3m"),
        ("market: {symbols: [BTCUSDT]}", "botd.yaml:1: market.symbols.0: 'BTCUSDT' is not a symbol"),
        (
            "market: {symbols: [btc/usdt]}",
            "botd.yaml:1: market.symbols.0: 'btc/usdt' is not a symbol; did you mean BTC/U",
        ),
        ("market: {symbols: [A/B, A/B]}", "botd.yaml:1: market.symbols.1: A/B is listed twice"),
        ("market: {start: tomorrow}", "botd.yaml:1: market.start: 'tomorrow' is not a time"),
        ("market: [1]", "botd.yaml:1: market: expected a mapping of keys"),
        ("market: {symbols: []}", "botd.yaml:1: market.symbols: a synthetic market needs at least one symbol"),
        ("market: {source: replay}", "botd.yaml:1: market.files: a replay needs a file a symbol"),
        ("market: {source: redis}", "botd.yaml:1: market.source: a redis market needs redis.host"),
        ("paper: {maker_fee: 0.1}", "botd.yaml:1: paper.maker_fee: 0.1 is outside 0% to 5%"),
        ("paper: {latency_ms: 1.5}", "botd.yaml:1: paper.latency_ms: '1.5' is not a whole number"),
        ("paper: {balance: {USDT: inf}}", "botd.yaml:1: paper.balance.USDT: 'inf' is not a finite number"),
        ("instruments: {BTC/USDT: {tick: 0}}", "botd.yaml:1: instruments.BTC/USDT.tick: 0 must be above 0"),
        ("redis: {port: 70000}", "botd.yaml:1: redis.port: 70000 is outside 1 to 65535"),
        ("endpoints: {rest: ftp://x}", "botd.yaml:1: endpoints.rest: 'ftp://x' is not a url starting with http://"),
        ("control: {tcp: 0.0.0.0}", "botd.yaml:1: control.tcp: '0.0.0.0' is not an address such as tcp://"),
        ("risk: {max_exposure: -1}", "botd.yaml:1: risk.max_exposure: -1 is not a finite number of at least 0"),
        ("risk: {daily_loss: {bot: .inf}}", "botd.yaml:1: risk.daily_loss.bot: .inf is not a finite number"),
        ("log: {level: inf}", "botd.yaml:1: log.level: 'inf' is not one of debug, info, warning, error"),
        ("a: &x 1", "botd.yaml:1: anchors and aliases are not allowed"),
        ("mode: *x", "botd.yaml:1: anchors and aliases are not allowed"),
        ("mode: !!python/object/apply:os.getcwd []", "botd.yaml:1: tags are not allowed"),
        ("a: [" * 5000, "botd.yaml:1: "),
        ("mode: paper\n---\nmode: paper", "botd.yaml:2: "),
        ("market:\n\tspeed: 1", "botd.yaml:2: "),
        ("mode: {", "botd.yaml:1: '{' or '[' is opened here and never closed"),
        ("mode: paper\nmarket: {speed: 1,\n\n\n", "botd.yaml:2: '{' or '[' is opened here and never closed"),
        ("market:\n  symbols: [A/B,\n  C/D\n", "botd.yaml:2: '[' is opened here and never closed"),
        ('mode: "paper\nseed: 1\n', "botd.yaml:1: a quotation mark is opened here and never closed"),
        ("redis: {port: 1\nmode: paper", "botd.yaml:2: expected ',' or '}', but got ':' ('{' of line 1 is still open)"),
        ("- a", "botd.yaml:1: expected `key: value` lines"),
        ("? [a]\n: 1", "botd.yaml:1: a key must be plain text"),
        ("mode: \x01", "botd.yaml: not YAML text"),
    ],
)
def test_a_mistake_is_refused_in_one_line(text: str, message: str) -> None:
    assert refusal(text).startswith(message)


def test_more_than_a_mebibyte_is_refused() -> None:
    assert refusal("#" * (1 << 20) + "\n") == "botd.yaml: larger than 1 MiB"


@pytest.mark.parametrize("source", ["synthetic", "replay"])
def test_live_on_a_simulated_market_is_refused_with_or_without_a_key(source: str) -> None:
    expected = f"botd.yaml:1: mode: live cannot run on a {source} market"
    assert refusal(f"mode: live\nmarket: {{source: {source}}}") == expected
    assert refusal(f"mode: live\nmarket: {{source: {source}}}", dict(KEYS)) == expected


KEYS = {"BINANCE_API_KEY": "k" * 64, "BINANCE_API_SECRET": "s" * 64}
LIVE = "mode: live\nmarket: {source: exchange}"


def test_live_needs_a_key_and_says_why_it_is_paper() -> None:
    config = read(LIVE)
    assert (config.mode, config.paper_reason) == ("paper", "no key")
    remedy = "give one by keys_file or a systemd credential, botd.yaml(5)"
    assert config.warnings == (f"mode is paper, not live: no key; {remedy}",)
    assert read(LIVE, dict(KEYS)).mode == "live"


def test_the_limits_of_live_are_the_default_of_live() -> None:
    assert read(LIVE, dict(KEYS)).risk == {"preset": "live"}
    assert read(LIVE + "\nrisk: {preset: paper}", dict(KEYS)).risk == {"preset": "paper"}
    assert "off is for paper mode only" in refusal(LIVE + "\nrisk: {preset: off}", dict(KEYS))


def test_the_limits_of_paper_on_real_money_are_warned_of() -> None:
    lenient = "\nrisk: {preset: paper}"
    warned = read(LIVE + lenient, dict(KEYS)).warnings
    assert len(warned) == len(read(LIVE, dict(KEYS)).warnings) + 1 and "preset: live has them all" in warned[-1]
    assert not any("preset" in line for line in read(lenient.strip(), {}).warnings)


def test_test_mode_forces_paper_and_its_opposite_makes_nothing_live() -> None:
    forced = read(LIVE, {**KEYS, "BINANCE_TEST_MODE": "true"})
    assert (forced.mode, forced.paper_reason) == ("paper", "BINANCE_TEST_MODE is set")
    assert forced.warnings[-1] == "mode is paper, not live: BINANCE_TEST_MODE is set; unset it"
    assert read("", {**KEYS, "BINANCE_TEST_MODE": "false"}).mode == "paper"


def test_keys_are_taken_out_of_the_environment_with_a_warning() -> None:
    environ = dict(KEYS)
    config = read(LIVE, environ)
    assert environ == {}
    assert config.keys is not None and config.keys.source == "environment"
    assert "environment" in config.warnings[0]
    assert "kkk" not in repr(config) and "sss" not in repr(config)


def test_half_a_key_is_no_key() -> None:
    config = read(LIVE, {"BINANCE_API_KEY": "k" * 64})
    assert config.keys is None and config.mode == "paper"
    assert "BINANCE_API_SECRET is not set" in config.warnings[0]


def test_variables_that_are_not_set_or_empty_change_nothing() -> None:
    assert read("testnet: true", {"BINANCE_TESTNET": "", "REDIS_HOST": ""}).testnet is True


def test_variables_win_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    environ = {
        "BINANCE_TESTNET": "true",
        "BINANCE_ENABLE_BOTS": "false",
        "REDIS_HOST": "cache",
        "REDIS_PORT": "7000",
        "BOTD_STATE_DIR": str(tmp_path / "env"),
    }
    config = read("state_dir: /elsewhere\nredis: {port: 1}", environ)
    assert (config.testnet, config.enable_bots) == (True, False)
    assert (config.redis.host, config.redis.port) == ("cache", 7000)
    assert config.state_dir == tmp_path / "env"
    assert read("", environ, state_dir="/given").state_dir == Path("/given")


@pytest.mark.parametrize("name", ["BINANCE_TESTNET", "BINANCE_ENABLE_BOTS", "BINANCE_TEST_MODE", "REDIS_PORT"])
def test_a_wrong_variable_is_refused_by_its_name(name: str) -> None:
    assert refusal("", {name: "maybe"}).startswith(f"${name}: ")


def test_paths_are_relative_to_the_file_and_of_variables_to_the_present_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc, work = tmp_path / "etc", tmp_path / "work"
    etc.mkdir()
    work.mkdir()
    (etc / "btc.csv").write_text("x")
    (etc / "botd.yaml").write_text(
        "state_dir: state\ndata_dir: ../data\nmarket: {source: replay, files: {BTC/USDT: btc.csv}}"
    )
    monkeypatch.chdir(work)
    config = load(Path("../etc/botd.yaml"), {})
    assert config.state_dir == etc / "state"
    assert config.data_dir == tmp_path / "data"
    assert config.market.files == {"BTC/USDT": etc / "btc.csv"}
    assert config.symbols == ("BTC/USDT",)
    assert load(etc / "botd.yaml", {"BOTD_STATE_DIR": "here"}).state_dir == work / "here"


def test_files_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(None, {}).path is None
    own = tmp_path / ".config/botd/botd.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("market: {seed: 2}")
    assert load(None, {}).market.seed == 2
    (tmp_path / "b.yaml").write_text("market: {seed: 3}")
    (tmp_path / "c.yaml").write_text("market: {seed: 4}")
    named = {"BOTD_CONFIG": str(tmp_path / "b.yaml")}
    assert load(None, named).market.seed == 3
    assert load(tmp_path / "c.yaml", named).market.seed == 4


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load(None, {"BOTD_CONFIG": str(tmp_path)})


def test_a_missing_candle_file_is_refused_on_its_line() -> None:
    text = "market:\n  source: replay\n  files:\n    BTC/USDT: /nowhere/x.csv"
    assert refusal(text) == "botd.yaml:4: market.files.BTC/USDT: no such file: /nowhere/x.csv"


def test_a_socket_path_the_kernel_would_refuse_is_refused_here() -> None:
    assert "too long for a socket path (at most 107)" in refusal("state_dir: /" + "x" * 100)
    assert "too long" in refusal("control: {socket: /" + "x" * 107 + "}")
    assert read("control: {socket: /" + "x" * 90 + "}").events_socket == Path("/events.sock")


def test_the_world_is_what_the_market_is_made_of(tmp_path: Path) -> None:
    config = read("market: {symbols: [ETH/USDT, BTC/USDT], seed: 7}")
    assert config.world() == {
        "mode": "paper",
        "exchange": "binance",
        "testnet": False,
        "account": "paper",
        "market": {
            "source": "synthetic",
            "seed": 7,
            "start": 1_767_225_600_000,
            "interval": "1m",
            "symbols": ["BTC/USDT", "ETH/USDT"],
        },
    }
    file = tmp_path / "btc.csv"
    file.write_text("x")
    replay = read(f"market: {{source: replay, interval: 5m, files: {{BTC/USDT: {file}}}}}").world()
    assert replay["market"] == {"source": "replay", "interval": "5m", "files": {"BTC/USDT": str(file.resolve())}}
    assert read(LIVE, dict(KEYS)).world()["market"] == {"source": "exchange"}


def test_speed_and_risk_are_no_part_of_the_world() -> None:
    assert read("market: {speed: 0, autoplay: no}\nrisk: {preset: off}").world() == read("").world()


def test_a_reload_tells_what_holds_at_once_and_what_needs_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "botd.yaml"
    file.write_text("log: {level: info}")
    environ = dict(KEYS)
    old = load(file, environ)
    file.write_text("log: {level: debug}\nrisk: {max_exposure: 50%}\nmarket: {seed: 2}")
    new = reload(old, environ)
    assert changed(old, new) == (["risk", "log.level"], ["market.seed"])
    assert new.keys == old.keys
    file.write_text("log: {level: loud}")
    with pytest.raises(ConfigError):
        reload(old, environ)


def test_a_reload_keeps_what_the_command_line_said(tmp_path: Path) -> None:
    old = load(None, {"HOME": str(tmp_path)}, overrides={"state_dir": str(tmp_path), "log.level": "debug"})
    assert changed(old, reload(old, {})) == ([], [])


def test_a_wrong_risk_key_is_refused_on_its_line() -> None:
    from botd.offline import risk_check

    document = parse_document("risk:\n  preset: paper\n  max_expsure: 50%")
    with pytest.raises(ConfigError) as caught:
        build(document, {}, check_risk=risk_check())
    assert caught.value.message.startswith("botd.yaml:3: risk.max_expsure: ")
    assert "max_exposure" in caught.value.message
