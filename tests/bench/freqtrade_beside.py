"""Five freqtrade bots beside one botd with five bots: the same symbols, the same exchange, paper money, in one run.

freqtrade is unmodified, installed by pip into an environment of its own under ``build/``, one process a bot as it is
meant to run; only its exchange's urls point at the Binance-wire front, by its own configuration. Both follow the
one-minute candles of a symbol each and read an RSI. ``python -m tests.bench freqtrade_beside``.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.figures import Options, Row
from tests.bench.fleet import Wire, launch
from tests.bench.live_capacity import front
from tests.bench.processes import cpu_s, end, resident_mb
from tests.e2e.conftest import Botd, clean_environment

VENV = Path(__file__).parents[2] / "build" / "freqtrade-venv"
BOTS = 5
RATE = 50.0
PEER = "freqtrade"
READY_S = 180.0

STRATEGY = '''
import talib
from freqtrade.strategy import IStrategy


class Rsi(IStrategy):
    """Long below 30, flat above 70; 2 % stop."""

    timeframe = "1m"
    stoploss = -0.02
    minimal_roi = {"0": 0.04}
    startup_candle_count = WARM_UP
    can_short = False

    def populate_indicators(self, dataframe, metadata):
        dataframe["rsi"] = talib.RSI(dataframe["close"], 14)
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["rsi"] < 30, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["rsi"] > 70, "exit_long"] = 1
        return dataframe
'''

_WARM_UP = 200
_URLS = """
import ccxt, json, sys
def moved(value):
    if isinstance(value, dict):
        return {key: moved(inner) for key, inner in value.items()}
    if value.startswith("ws"):
        return f"ws://127.0.0.1:{sys.argv[1]}/stream"
    return f"http://127.0.0.1:{sys.argv[1]}/" + value.split("/", 3)[3]
import ccxt.pro
print(json.dumps(moved(ccxt.pro.binance().urls["api"])))
"""


def run(options: Options) -> list[Row]:
    """Return memory and processor time of both, settled, over the time asked."""
    seconds = options.asked_s or (65.0 if options.quick else 180.0)
    try:
        programs = installed()
    except (OSError, subprocess.SubprocessError) as error:
        return [Row(f"skipped: pip could not install freqtrade: {error}", None)]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, front(BOTS, RATE) as port:
        home, symbols = Path(directory), [f"S{number:03d}/USDT" for number in range(BOTS)]
        with _freqtrades(programs, home, port, symbols) as theirs, _botd(home, port, symbols) as ours:
            began = [cpu_s(pid) for pid in (ours, *theirs)]
            time.sleep(seconds)
            used = [cpu_s(pid) - before for pid, before in zip((ours, *theirs), began, strict=True)]
            resident = [resident_mb(pid) for pid in (ours, *theirs)]
    at = f"{BOTS} bots, {BOTS} symbols at 1m, {seconds:.0f} s: "
    return [
        Row(f"{at}resident memory", resident[0], "MB", PEER, sum(resident[1:])),
        Row(f"{at}share of a processor", 100 * used[0] / seconds, "%", PEER, 100 * sum(used[1:]) / seconds),
    ]


def installed() -> Path:
    """Return the directory of freqtrade's programs; install it where it is not there yet."""
    programs = VENV / "bin"
    if not (programs / "freqtrade").exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, capture_output=True, timeout=120)
        pip = [programs / "pip", "install", "--quiet", "--disable-pip-version-check", "freqtrade"]
        subprocess.run(pip, check=True, capture_output=True, timeout=900)
    return programs


def urls_at(programs: Path, port: int) -> dict[str, Any]:
    """Return the urls of its exchange, all of them at the front."""
    done = subprocess.run([programs / "python", "-c", _URLS, str(port)], capture_output=True, text=True, check=True)
    urls: dict[str, Any] = json.loads(done.stdout)
    return urls


def prepare(home: Path, urls: dict[str, Any], symbol: str, wallet: float, warm_up: int = _WARM_UP) -> None:
    """Write its configuration and its strategy into its home; the strategy starts after so many candles."""
    (home / "strategies").mkdir(parents=True)
    (home / "strategies" / "rsi.py").write_text(STRATEGY.replace("WARM_UP", str(warm_up)))
    (home / "config.json").write_text(json.dumps({**_configuration(urls, symbol), "dry_run_wallet": wallet}))


@contextlib.contextmanager
def _freqtrades(programs: Path, home: Path, port: int, symbols: list[str]) -> Iterator[list[int]]:
    """Run a freqtrade for each symbol; give their process ids once all are trading."""
    urls = urls_at(programs, port)
    running: list[subprocess.Popen[bytes]] = []
    try:
        for number, symbol in enumerate(symbols):
            running.append(_freqtrade(programs, home / f"freqtrade{number}", urls, symbol))
        until = time.monotonic() + READY_S
        for number, process in enumerate(running):
            log = home / f"freqtrade{number}" / "log"
            while b"Bot heartbeat" not in log.read_bytes():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"freqtrade does not trade: {log.read_text()[-1500:]}")
                time.sleep(0.5)
        yield [process.pid for process in running]
    finally:
        for process in running:
            end(process)


def _freqtrade(programs: Path, home: Path, urls: dict[str, Any], symbol: str) -> subprocess.Popen[bytes]:
    prepare(home, urls, symbol, wallet=1000)
    command = [programs / "freqtrade", "trade", "--userdir", home, "--config", home / "config.json"]
    with (home / "log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--strategy", "Rsi", "--db-url", "sqlite://"],
            cwd=home,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _configuration(urls: dict[str, Any], symbol: str) -> dict[str, Any]:
    pricing = {"price_side": "same", "use_order_book": False}
    ccxt = {"urls": {"api": urls}, "options": {"fetchCurrencies": False, "fetchMarkets": {"types": ["spot"]}}}
    exchange = {"name": "binance", "key": "", "secret": "", "pair_whitelist": [symbol], "pair_blacklist": []}
    return {
        "dry_run": True,
        "max_open_trades": 1,
        "stake_currency": "USDT",
        "stake_amount": "unlimited",
        "timeframe": "1m",
        "trading_mode": "spot",
        "entry_pricing": pricing,
        "exit_pricing": pricing,
        "exchange": {**exchange, "ccxt_config": ccxt},
        "pairlists": [{"method": "StaticPairList"}],
        "initial_state": "running",
    }


@contextlib.contextmanager
def _botd(home: Path, port: int, symbols: list[str]) -> Iterator[int]:
    """Run one botd with a bot for each symbol; give its process id once all run."""
    endpoints = {"rest": f"http://127.0.0.1:{port}", "stream": f"ws://127.0.0.1:{port}"}
    botd = Botd(home / "botd", {"market": {"source": "exchange"}, "endpoints": endpoints})
    stops = {"stop_loss": "0.02", "take_profit": "0.04"}
    specs = [
        {
            "name": f"bot{n}",
            "strategy": "rsi",
            "symbol": symbol,
            "interval": "1m",
            "capital": "1000",
            "params": {},
            **stops,
        }
        for n, symbol in enumerate(symbols)
    ]
    try:
        launch(botd)
        assert botd.process is not None
        with Wire(botd.socket) as wire:
            until = time.monotonic() + READY_S
            while wire.call("market.status")["state"] != "ready" and time.monotonic() < until:
                time.sleep(0.2)
            wire.call("apply", {"bots": specs}, 60)
            wire.call("start", {"all": True}, 60)
            while any(row["state"] != "running" for row in wire.call("ls", {"all": True})["rows"]):
                if time.monotonic() > until:
                    raise RuntimeError("not all bots of botd run")
                time.sleep(0.2)
        yield botd.process.pid
    finally:
        botd.stop()
