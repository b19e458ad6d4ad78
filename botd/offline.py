"""What botctl can do without a daemon: one façade, so that it need not know botd's rooms.

Every function imports what it needs when it is called, returns plain values and raises
:class:`botd.domain.errors.BotdError`. Nothing here talks to a running daemon.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botd.domain.errors import BotdError, ConfigError, ConflictError, ForbiddenError

if TYPE_CHECKING:
    from botd.config import CheckRisk, Config
    from botd.lab.given import Place
    from botd.strategy.registry import Registry

FIRST_PERSON = 1000
"""From this uid on accounts are people's, below it the system's own."""
Tell = Callable[[int, int, str], None]
"""(done, of so many, what is waited for): progress for people."""


def config(path: str | Path | None = None, overrides: Mapping[str, str] | None = None) -> Config:
    """Return the configuration that botd would run with; the environment stays as it is."""
    from botd.config import load

    return load(Path(path) if path else None, dict(os.environ), overrides=overrides, check_risk=risk_check())


def risk_check() -> CheckRisk:
    """Return the risk room's check of the ``risk`` section."""
    from botd.risk.settings import check

    return check


def config_init(path: str | Path | None = None) -> Path:
    """Write the commented configuration file and return where; ConflictError when it exists."""
    given = path or os.environ.get("BOTD_CONFIG") or "~/.config/botd/botd.yaml"
    target = Path(os.path.abspath(Path(given).expanduser()))
    text = files("botd.deploy").joinpath("botd.yaml").read_text(encoding="utf-8")
    _write_new(target, text, "edit it, or give another FILE")
    return target


def config_check(path: str | Path | None = None) -> dict[str, Any]:
    """Return what the configuration means, or raise ConfigError with file, line, key and remedy.

    The files of a replay are read as the start reads them. ``warnings`` has what would keep botd from starting with
    it all the same, ``hint`` the remedy.
    """
    checked = config(path)
    read_market(checked)
    misfit = ledger_refusal(checked)
    return {
        "valid": True,
        "path": str(checked.path) if checked.path else None,
        "mode": checked.mode,
        "exchange": checked.exchange,
        "testnet": checked.testnet,
        "source": checked.market.source,
        "state_dir": str(checked.state_dir),
        "socket": str(checked.socket),
        "risk_preset": checked.risk["preset"],
        "keys": checked.keys.source if checked.keys else None,
        "world": checked.world(),
        "warnings": [*checked.warnings, *([misfit.message] if misfit else [])],
        "hint": misfit.hint if misfit else "",
    }


def fleet_values(content: bytes, name: str) -> Any:
    """Return what a fleet file says, scalars as text; ConfigError names file, line and remedy."""
    from botd.config_yaml import parse_values

    try:
        return parse_values(content, name)[0]
    except ConfigError as error:
        raise ConfigError(error.message, "see botctl export for the form") from None


def read_market(checked: Config) -> None:
    """Read the files of a replayed market; ConfigError names file, line, fact and remedy."""
    if checked.market.source == "replay":
        from botd.feeds import candle_source

        candle_source(checked)


def start_check(path: str | Path | None = None, state_dir: str | None = None) -> None:
    """Raise what would keep botd from starting with this configuration, as far as can be told before it does."""
    checked = config(path, {"state_dir": state_dir} if state_dir else None)
    read_market(checked)
    if (misfit := ledger_refusal(checked)) is not None:
        raise misfit


def ledger_refusal(checked: Config) -> BotdError | None:
    """Return why botd would not take the ledger that the state directory holds, None where it would."""
    from botd.ledger.schema import refusal

    return refusal(checked.state_dir / "ledger.db", checked.world())


def doctor(path: str | Path | None = None) -> list[dict[str, str]]:
    """Return one row a check: name, status (ok, warning or failed), detail, hint."""
    from botd.doctor import examine

    return examine(path)


def daemon_command() -> list[str]:
    """Return the command that runs botd: the script beside this interpreter, else the module."""
    script = Path(sys.executable).with_name("botd")
    found = str(script) if os.access(script, os.X_OK) else shutil.which("botd")
    return [found] if found else [sys.executable, "-m", "botd.cli"]


def daemon_unit() -> str:
    """Return the systemd unit for this installation."""
    command = daemon_command()
    text = files("botd.deploy").joinpath("botd.service").read_text(encoding="utf-8")
    text = text.replace("@BOTD@", " ".join(part.replace("%", "%%") for part in command))
    text = text.replace("@PROTECT_HOME@", "read-only" if _lies_in(command[0], _homes()) else "true")
    return text.replace("@PRIVATE_TMP@", "false" if _is_temporary(command[0]) else "true")


def daemon_unit_warning() -> str:
    """Return what speaks against this installation as a service, empty where nothing does."""
    program = daemon_command()[0]
    remedy = "for good, install it in /opt/botd (README, Running it for good)"
    if _is_temporary(program):
        return f"{program} lies in a directory that may be emptied at a restart, and the unit shares it: {remedy}"
    if _lies_in(program, _homes()):
        return f"{program} lies in a home, which the user botd must be able to read: {remedy}"
    return ""


def _homes() -> list[str]:
    """Return the homes of people: of root, and of every account that is not the system's own."""
    import pwd

    people = [entry for entry in pwd.getpwall() if entry.pw_uid == 0 or entry.pw_uid >= FIRST_PERSON]
    return [entry.pw_dir for entry in people]


def _is_temporary(program: str) -> bool:
    """Tell whether a program lies where everybody may write, and only the owner may remove."""
    import tempfile

    return _lies_in(program, [tempfile.gettempdir()]) or any(_is_shared(at) for at in Path(program).resolve().parents)


def _is_shared(directory: Path) -> bool:
    shared = stat.S_ISVTX | stat.S_IWOTH
    try:
        return directory.stat().st_mode & shared == shared
    except OSError:
        return False


def _lies_in(program: str, places: Iterable[str]) -> bool:
    programs = {Path(program), Path(program).resolve()}
    wanted = {path for place in places for path in (Path(place), Path(place).resolve())} - {Path("/")}
    return any(path in wanted for name in programs for path in name.parents)


def registry(checked: Config | None = None) -> Registry:
    """Return the strategies there are: the built-in ones and the user's."""
    from importlib.util import find_spec

    from botd.strategy.registry import Registry

    spec = find_spec("strategies")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise BotdError("the package `strategies` is not installed", "install botctl again")
    return Registry(Path(places[0]), (checked or config()).strategies_dir)


def strategies(path: str | Path | None = None) -> list[dict[str, Any]]:
    """Return a row for every strategy; one that does not load has its reason in ``error``."""
    return registry(config(path)).describe()


def strategy(name: str, path: str | Path | None = None) -> dict[str, Any]:
    """Return one strategy with its parameters; NotFoundError names the nearest."""
    return registry(config(path)).load(name).describe()


def new_strategy(name: str, path: str | Path | None = None) -> Path:
    """Write a working strategy, and its test beside it, into the user's directory; returns the strategy's file."""
    from botd.strategy.scaffold import scaffold

    checked = config(path)
    texts = scaffold(name)
    if name in registry(checked).names():
        raise ConflictError(f"strategy {name}: exists already", "choose another name")
    for file_name, text in texts.items():
        _write_new(checked.strategies_dir / file_name, text, "choose another name, or remove it")
    return checked.strategies_dir / f"{name}.py"


def data_lanes(path: str | Path | None = None) -> list[dict[str, Any]]:
    """Return a row for every series of candles in the local store."""
    from botd.candle_data import list_lanes

    return list_lanes(config(path))


def data_verify(
    path: str | Path | None, symbol: str | None = None, interval: str | None = None, repair: bool = False
) -> list[dict[str, Any]]:
    """Read the store whole; a row a series with its gaps and its damaged files, which ``repair`` sets aside."""
    from botd.candle_data import verify_lanes

    return verify_lanes(config(path), symbol, interval, repair)


def data_import(
    path: str | Path | None, files: list[Path], symbol: str, interval: str, replace: bool, tell: Tell
) -> list[dict[str, Any]]:
    """Read files of candles into the store; a row a file."""
    from botd.candle_data import import_into

    return import_into(config(path), files, symbol, interval, replace, tell)


def data_download(
    path: str | Path | None, symbol: str, interval: str, from_ms: int, to_ms: int | None, replace: bool, tell: Tell
) -> dict[str, Any]:
    """Load what the store lacks of [from, to) from the configured exchange; goes on where an earlier one stopped."""
    from botd.candle_data import download_into

    return download_into(config(path), symbol, interval, from_ms, to_ms, replace, tell)


def audit_rows(
    path: str | Path | None, since_ms: int = 0, kind: str | None = None, last: int | None = None
) -> list[dict[str, Any]]:
    """Return the audit's entries, oldest first."""
    from botd.audit_trail import rows

    return rows(config(path), since_ms, kind, last)


def audit_verify(path: str | Path | None = None) -> dict[str, Any]:
    """Return whether the audit's chain holds, and what is broken."""
    from botd.audit_trail import verify

    return verify(config(path))


def audit_accept(path: str | Path | None, reason: str) -> dict[str, Any] | None:
    """Accept that the audit's chain is broken; return the entry that says so, None where it holds. Not beside botd."""
    from botd.audit_trail import accept

    return accept(config(path), reason)


def panic_place(path: str | Path | None = None) -> dict[str, Any]:
    """Return what panic would work on: ledger, socket, the pid of a botd that runs, warnings."""
    from botd.panic import place

    return place(config(path), path is not None)


def panic(path: str | Path | None, sell: bool, budget_s: float | None = None) -> dict[str, Any]:
    """Cancel our working orders on the exchange, and sell what bots hold if asked; what was done, row by row."""
    from botd.panic import BUDGET_S, panic

    return panic(config(path), sell=sell, budget_s=budget_s or BUDGET_S)


def lab_backtest(path: str | Path | None, asked: dict[str, Any]) -> dict[str, Any]:
    """Play strategies over candles; ``rows`` has one a strategy and symbol, ``notes`` is for people."""
    from botd.lab.backtests import run_backtests

    return run_backtests(_place(path), asked)


def lab_report(path: str | Path | None, asked: dict[str, Any], target: Path) -> dict[str, Any]:
    """Play what ``lab_backtest`` would and write it as one HTML file."""
    from botd.lab.backtests import write_report

    return write_report(_place(path), asked, target)


def lab_check(path: str | Path | None, asked: dict[str, Any]) -> dict[str, Any]:
    """Examine a strategy; DeniedError where it looks ahead or warms up too short."""
    from botd.lab.backtests import check_strategy

    return check_strategy(_place(path), asked)


def lab_sweep(path: str | Path | None, asked: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Play many sets of parameters; ``rows`` has the best first."""
    from botd.lab.sweep import run_sweep

    return run_sweep(_place(path), asked, tell)


def lab_walk_forward(path: str | Path | None, asked: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Train and test, window after window; a row a window, the total last."""
    from botd.lab.walk_forward import run_walk

    return run_walk(_place(path), asked, tell)


def lab_replay(
    path: str | Path | None, name: str, tolerance: float, data: Path | None, since: int = 0
) -> dict[str, Any]:
    """Return what a bot did beside what the rules say, a row a trade, and how many differ."""
    from botd.lab.replay import World, run_replay

    checked = config(path)
    market, paper = checked.market, checked.paper
    world = World(
        checked.state_dir / "ledger.db",
        *(market.source, market.files, market.symbols, market.interval, market.seed, market.start),
        costs={"maker_fee": paper.maker_fee, "taker_fee": paper.taker_fee, "slippage": paper.slippage},
    )
    return run_replay(_place(path), world, name, tolerance, data, since)


def _place(path: str | Path | None) -> Place:
    """Return what the lab needs of the configuration."""
    from botd.lab.given import Place

    checked = config(path)
    places = checked.data_dir, checked.state_dir, checked.candles_of
    return Place(*places, checked.grids(), registry(checked), checked.risk)


def _write_new(target: Path, text: str, hint: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_EXCL
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        fact = "is not a directory" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise ForbiddenError(f"{target.parent}: {fact}", "choose another place") from None
    try:
        with os.fdopen(os.open(target, flags, 0o644), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConflictError(f"{target}: exists already", hint) from None
    except OSError as error:
        raise ForbiddenError(f"{target}: {error.strerror}", "choose another place, or correct its owner") from None
