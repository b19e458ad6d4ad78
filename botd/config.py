"""Configuration: built-in defaults, one YAML file and the environment, as frozen values.

Every key is declared once, below, with its reader and its default; an unknown or wrong one is refused with
file, line and the nearest right key. Files named by keys are not opened here, except the keys file.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from botd import config_values as read
from botd.config_fill import fill, key, key_names, section
from botd.config_values import Spot
from botd.config_yaml import Document, read_document
from botd.domain.errors import ConfigError
from botd.domain.hints import did_you_mean
from botd.domain.instrument import Instrument, split_symbol
from botd.keys import Keys, find_keys

SEARCH = (Path("~/.config/botd/botd.yaml"), Path("/etc/botd/botd.yaml"))
LIVE_KEYS = ("risk", "log.level", "enable_bots")
"""What a reload changes in a running daemon; every other key needs a restart."""

CheckRisk = Callable[[Mapping[str, Any], str], list[str]]
"""``botd.risk.settings.check``, given by the composer: the ``risk`` section and the mode -> what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Base urls in place of the exchange's own."""

    rest: str | None = field(metadata=key(None, read.or_null(read.url("http", "https"))))
    stream: str | None = field(metadata=key(None, read.or_null(read.url("ws", "wss"))))
    ws_api: str | None = field(metadata=key(None, read.or_null(read.url("ws", "wss"))))


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketConfig:
    """Where prices come from. ``start`` in milliseconds UTC; ``files`` by symbol."""

    source: str = field(metadata=key("synthetic", read.choice("synthetic", "replay", "exchange", "redis")))
    symbols: tuple[str, ...] = field(metadata=key(["BTC/USDT", "ETH/USDT"], read.sequence(read.symbol)))
    seed: int = field(metadata=key(1, read.integer(0, 2**63 - 1)))
    start: int = field(metadata=key("2026-01-01T00:00:00Z", read.moment))
    files: Mapping[str, Path] = field(metadata=key({}, read.mapping(read.symbol, read.existing_file)))
    interval: str = field(metadata=key("1m", read.interval))
    speed: Decimal = field(metadata=key(1, read.decimal("0", "1000000")))
    autoplay: bool = field(metadata=key(True, read.boolean))


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperConfig:
    """The simulated exchange. Fees, slippage and ``max_volume_pct`` are fractions (0.001 is 0.1 %)."""

    maker_fee: Decimal = field(metadata=key("0.1%", read.fraction("0.05")))
    taker_fee: Decimal = field(metadata=key("0.1%", read.fraction("0.05")))
    slippage: Decimal = field(metadata=key("0.05%", read.fraction("0.05")))
    latency_ms: int = field(metadata=key(0, read.integer(0, 60_000)))
    fee_asset: str = field(
        metadata=key("quote", read.word(r"quote|base|[A-Z0-9]{1,20}", "quote, base or an asset such as BNB"))
    )
    max_volume_pct: Decimal | None = field(metadata=key("off", read.or_off(read.fraction("1"))))
    balance: Mapping[str, Decimal] = field(
        metadata=key(
            {"USDT": "100000"},
            read.mapping(read.word(r"[A-Z0-9]{1,20}", "an asset such as USDT"), read.decimal("0", "1e15")),
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentConfig:
    """Filters of one symbol, in place of the exchange's or of the decimals seen in a file."""

    tick: Decimal = field(metadata=key(None, read.decimal(above="0")))
    step: Decimal = field(metadata=key(None, read.decimal(above="0")))
    min_notional: Decimal = field(metadata=key(5, read.decimal("0")))


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisConfig:
    """The shared candle cache; without a host it is memory. ``publish``: other daemons may follow our market there."""

    host: str | None = field(metadata=key(None, read.or_null(read.word(r"[^\s/@]+", "a host name or address"))))
    port: int = field(metadata=key(6379, read.integer(1, 65535)))
    publish: bool = field(metadata=key(False, read.boolean))


_GROUP = read.or_null(read.word(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "the name of a group"))
_TCP = read.or_null(read.word(r"tcp://[^\s/]+:\d{1,5}", "an address such as tcp://127.0.0.1:7700"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConfig:
    """The control socket. ``group`` owns its file; ``operators`` and ``viewers`` are groups that may use it.

    ``tcp`` needs ``curve.key`` and ``curve.allow`` in the state directory (see :mod:`botd.control.curve`).
    """

    socket: Path | None = field(metadata=key(None, read.or_null(read.socket_path)))
    events: Path | None = field(metadata=key(None, read.or_null(read.socket_path)))
    group: str | None = field(metadata=key(None, _GROUP))
    tcp: str | None = field(metadata=key(None, _TCP))
    viewers: str | None = field(metadata=key(None, _GROUP))
    operators: str | None = field(metadata=key(None, _GROUP))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """How much is logged, where and in which form."""

    level: str = field(metadata=key("info", read.choice("debug", "info", "warning", "error")))
    file: Path | None = field(metadata=key(None, read.or_null(read.path)))
    format: str = field(metadata=key("text", read.choice("text", "json")))


def _instruments(raw: Any, spot: Spot) -> Mapping[str, InstrumentConfig]:
    table = read.mapping(read.symbol, lambda item, place: fill(InstrumentConfig, item, place))
    return table(raw, spot)  # type: ignore[no-any-return]


def _instrument(symbol: str, item: InstrumentConfig) -> Instrument:
    base, quote = split_symbol(symbol)
    return Instrument(
        symbol=symbol, base=base, quote=quote, tick=item.tick, step=item.step, min_notional=item.min_notional
    )


def _risk(raw: Any, spot: Spot) -> Mapping[str, Any]:
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        spot.fail("expected a mapping such as {preset: paper}")
    given = {str(name): value for name, value in raw.items() if value is not None}
    readers = {"preset": read.choice("paper", "live", "off")}
    return {name: readers.get(name, read.risk_value)(value, spot.child(name)) for name, value in given.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of it. ``mode`` is what holds: paper whenever there is no key or the environment forces it."""

    mode: str = field(metadata=key("paper", read.choice("paper", "live")))
    exchange: str = field(metadata=key(read.OURS, read.exchange_id))
    testnet: bool = field(metadata=key(False, read.boolean))
    endpoints: Endpoints = field(metadata=section(Endpoints))
    keys_file: Path | None = field(metadata=key(None, read.or_null(read.path)))
    enable_bots: bool = field(metadata=key(True, read.boolean))
    state_dir: Path = field(metadata=key("~/.local/state/botd", read.path))
    data_dir: Path = field(metadata=key("~/.local/share/botd/candles", read.path))
    strategies_dir: Path = field(metadata=key("~/.config/botd/strategies", read.path))
    market: MarketConfig = field(metadata=section(MarketConfig))
    paper: PaperConfig = field(metadata=section(PaperConfig))
    instruments: Mapping[str, InstrumentConfig] = field(metadata=key({}, _instruments))
    redis: RedisConfig = field(metadata=section(RedisConfig))
    control: ControlConfig = field(metadata=section(ControlConfig))
    risk: Mapping[str, Any] = field(metadata=key({}, _risk))
    log: LogConfig = field(metadata=section(LogConfig))

    path: Path | None = field(default=None)
    keys: Keys | None = field(default=None, compare=False)
    paper_reason: str = field(default="")
    warnings: tuple[str, ...] = field(default=(), compare=False)
    overrides: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.control.socket or self.state_dir / "control.sock"

    @property
    def events_socket(self) -> Path:
        """The events socket: beside the control socket unless told otherwise."""
        return self.control.events or self.socket.with_name("events.sock")

    @property
    def simulated(self) -> bool:
        """True where the market is not the exchange's."""
        return self.market.source in ("synthetic", "replay")

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of a simulated market: of a replay those that have a file."""
        return tuple(self.market.files) if self.market.source == "replay" else self.market.symbols

    @property
    def candles_of(self) -> str:
        """Whose candles these are in the local store: what a testnet made up never mixes with real prices."""
        return self.exchange + ("-testnet" if self.testnet else "")

    def grids(self) -> dict[str, Instrument]:
        """Return the instruments that are configured, by symbol."""
        return {symbol: _instrument(symbol, item) for symbol, item in self.instruments.items()}

    def world(self) -> dict[str, Any]:
        """Return what a ledger is bound to at birth; plain JSON values."""
        market: dict[str, Any] = {"source": self.market.source}
        if self.market.source == "synthetic":
            market |= {"seed": self.market.seed, "start": self.market.start, "interval": self.market.interval}
            market["symbols"] = sorted(self.market.symbols)
        elif self.market.source == "replay":
            files = {symbol: str(path.resolve()) for symbol, path in sorted(self.market.files.items())}
            market |= {"files": files, "interval": self.market.interval}
        return {
            "mode": self.mode,
            "exchange": self.exchange,
            "testnet": self.testnet,
            "account": self.mode,
            "market": market,
        }


def find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: the one given, else $BOTD_CONFIG, else the first that exists, else None."""
    if path is not None:
        return Path(os.path.abspath(path.expanduser()))
    if environ.get("BOTD_CONFIG"):
        return Path(os.path.abspath(Path(environ["BOTD_CONFIG"]).expanduser()))
    return next((found for found in map(_at_home, SEARCH) if found is not None and _is_file(found)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # a home that is somebody else's (sudo): what stands there must not be overlooked
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", "set HOME, or give --config") from None


def _at_home(path: Path) -> Path | None:
    try:
        return path.expanduser()
    except RuntimeError:  # no HOME, and a uid that is in no password file
        return None


def load(
    path: Path | None = None,
    environ: MutableMapping[str, str] | None = None,
    *,
    overrides: Mapping[str, str] | None = None,
    check_risk: CheckRisk | None = None,
) -> Config:
    """Read the configuration; ConfigError names file, line, key and remedy.

    ``overrides`` (dotted key to text) are the command line's and win over everything. API keys are removed
    from ``environ``, which is the process's own when not given.
    """
    environ = os.environ if environ is None else environ
    found = find_file(path, environ)
    document = read_document(found) if found else Document({})
    return build(document, environ, overrides=overrides, check_risk=check_risk)


def reload(old: Config, environ: MutableMapping[str, str] | None = None, check_risk: CheckRisk | None = None) -> Config:
    """Read again what ``old`` was read from; a key once taken from the environment is kept."""
    environ = dict(os.environ if environ is None else environ)
    if old.keys is not None and old.keys.source == "environment":
        environ.setdefault("BINANCE_API_KEY", old.keys.api_key.reveal())
        environ.setdefault("BINANCE_API_SECRET", old.keys.api_secret.reveal())
    return load(old.path, environ, overrides=dict(old.overrides), check_risk=check_risk)


def from_mapping(values: Mapping[str, Any], base: Path | None = None, **overrides: str) -> Config:
    """Build a configuration from native values, without a file or an environment (for tests)."""
    document = Document(dict(values), path=(base or Path.cwd()) / "botd.yaml")
    return dataclasses.replace(build(document, {}, overrides=overrides), path=None)


def build(
    document: Document,
    environ: MutableMapping[str, str],
    *,
    overrides: Mapping[str, str] | None = None,
    check_risk: CheckRisk | None = None,
) -> Config:
    """Turn a document, the environment and the command line into a :class:`Config`."""
    given = {key: (text, "command line") for key, text in (overrides or {}).items()}
    document = document.overlay({**_from_environment(environ), **given})
    spot = Spot(document, ())
    config: Config = fill(Config, document.data, spot)
    if check_risk is not None:
        _refuse_risk(check_risk(config.risk, config.mode), config.risk, spot.child("risk"))
    test_mode = _flag(environ, "BINANCE_TEST_MODE")
    keys, warnings = find_keys(config.keys_file, environ)
    config = dataclasses.replace(
        config,
        risk={"preset": config.mode, **config.risk},  # live money never starts with the limits of paper
        path=document.path,
        keys=keys,
        warnings=tuple(warnings),
        overrides=tuple((overrides or {}).items()),
    )
    _check(config, spot)
    return _enforce_paper(config, test_mode)


def _refuse_risk(problems: list[str], risk: Mapping[str, Any], spot: Spot) -> None:
    """Refuse the first problem, on the line of the control that it names."""
    for problem in problems[:1]:
        message = problem.removeprefix("risk: ")
        named = [name for name in risk if re.search(rf"\b{re.escape(name)}\b", message)]
        place = spot.child(named[0]) if named else spot
        place.fail(message.removeprefix(f"{named[0]}: ") if named else message, "botctl risk show lists the controls")


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the keys that variables set: dotted key to (text, variable)."""
    variables = {
        "BOTD_STATE_DIR": "state_dir",
        "BOTD_SOCKET": "control.socket",
        "BOTD_SOCKET_GROUP": "control.group",
        "BINANCE_TESTNET": "testnet",
        "BINANCE_ENABLE_BOTS": "enable_bots",
        "REDIS_HOST": "redis.host",
        "REDIS_PORT": "redis.port",
    }
    return {key: (environ[name], f"${name}") for name, key in variables.items() if environ.get(name, "").strip()}


def _flag(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name, "").strip()
    return bool(text) and read.boolean(text, Spot(Document({}, f"${name}"), ()))


def _check(config: Config, spot: Spot) -> None:
    """Refuse keys that do not go together."""
    market = spot.child("market")
    source = config.market.source
    if config.mode == "live" and config.simulated:
        spot.child("mode").fail(f"live cannot run on a {source} market", "set market.source: exchange, or mode: paper")
    if source == "replay" and not config.market.files:
        market.child("files").fail("a replay needs a file a symbol", "e.g. files: {BTC/USDT: btc.csv.gz}")
    if source == "synthetic" and not config.market.symbols:
        market.child("symbols").fail("a synthetic market needs at least one symbol", "e.g. symbols: [BTC/USDT]")
    if source == "exchange" and config.exchange != read.OURS:
        streaming = read.ccxt_ids("pro")
        if streaming and config.exchange not in streaming:
            hint = did_you_mean(config.exchange, streaming, "choose another")
            spot.child("exchange").fail(f"{config.exchange} has no streams in ccxt", hint)
    if source == "redis" and config.redis.host is None:
        market.child("source").fail("a redis market needs redis.host", "e.g. redis: {host: 127.0.0.1}")
    if config.redis.publish and (source != "exchange" or config.redis.host is None):
        fact = "needs redis.host" if source == "exchange" else f"a {source} market cannot be published"
        spot.child("redis").child("publish").fail(fact, "it shares a market.source: exchange through redis.host")
    if config.risk["preset"] == "off" and config.mode == "live":
        spot.child("risk").child("preset").fail("off is for paper mode only", "use preset: live")
    for place in (config.socket, config.events_socket):
        problem = read.socket_path_problem(place)
        if problem:
            raise ConfigError(f"{place}: {problem}", "choose a shorter state_dir, or set control.socket")
    if config.socket == config.events_socket:
        spot.child("control").child("events").fail("control and events need two paths", "leave control.events out")


_LENIENT = (
    "risk.preset is paper in mode live: no limit on daily loss, drawdown, losing streak or position binds real money; "
    "preset: live has them all (botctl risk show)"
)


def _enforce_paper(config: Config, test_mode: bool) -> Config:
    if config.mode != "live":
        return config
    reason = "BINANCE_TEST_MODE is set" if test_mode else "" if config.keys else "no key"
    if not reason:
        lenient = config.risk["preset"] == "paper" and not config.testnet
        return dataclasses.replace(config, warnings=(*config.warnings, _LENIENT)) if lenient else config
    remedy = "unset it" if test_mode else "give one by keys_file or a systemd credential, botd.yaml(5)"
    warning = f"mode is paper, not live: {reason}; {remedy}"
    return dataclasses.replace(config, mode="paper", paper_reason=reason, warnings=(*config.warnings, warning))


def changed(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Return the dotted keys that differ: those a reload changes at once, and those that need a restart."""
    different = [key for key in key_names(Config) if _value(old, key) != _value(new, key)]
    if old.keys != new.keys:
        different = [key for key in different if key != "keys_file"] + ["keys_file"]
    live = [key for key in different if key.startswith(LIVE_KEYS)]
    return live, [key for key in different if key not in live]


def _value(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, part)
    return config
