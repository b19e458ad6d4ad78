"""A user's place: a configuration, a store with candles of two symbols, botctl run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from botctl.cli import run
from botd.domain.candles import Candles
from botd.market.store.candle_store import CandleStore
from tests.unit.backtest.conftest import walk

CENTS = ("open", "high", "low", "close")


def in_cents(rows: Candles) -> Candles:
    rounded = {name: getattr(rows, name).round(2) for name in CENTS}
    rounded["high"] = np.maximum(rounded["high"], np.maximum(rounded["open"], rounded["close"]))
    rounded["low"] = np.minimum(rounded["low"], np.minimum(rounded["open"], rounded["close"]))
    return msgspec.structs.replace(rows, **rounded)


def csv_of(rows: Candles) -> str:
    columns = (rows.time, rows.open, rows.high, rows.low, rows.close, rows.volume)
    lines = [",".join(map(str, line)) for line in zip(*(column.tolist() for column in columns), strict=True)]
    return "open_time_ms,open,high,low,close,volume\n" + "\n".join(lines) + "\n"


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


class Lab:
    """botctl with a home of its own; ``candles`` is what is stored of BTC/USDT 1m."""

    def __init__(self, home: Path, read: Callable[[], Any], candles: Candles) -> None:
        self.home, self._read, self.candles = home, read, candles

    def run(self, *words: str) -> Result:
        code = run(list(words))
        shown = self._read()
        return Result(code, shown.out, shown.err)

    def json(self, *words: str, code: int = 0) -> Any:
        done = self.run(*words, "-o", "json")
        assert done.code == code, done.err
        return json.loads(done.out)

    def strategy(self, name: str, body: str, warmup: str = "50") -> str:
        """Write a strategy whose ``signals`` is ``body``; returns its name."""
        folder = self.home / "strategies"
        folder.mkdir(exist_ok=True)
        indented = "\n".join("        " + line for line in body.strip().split("\n"))
        (folder / f"{name}.py").write_text(
            '"""A strategy of a test."""\n'
            "import numpy as np\nimport talib\n"
            "from botd.strategy.base import Signals, SignalStrategy\n"
            "from botd.strategy.parameters import boolean, integer, number\n\n\n"
            "class Mine(SignalStrategy):\n"
            '    """Mine."""\n\n'
            "    period = integer(14, low=2, high=200)\n    share = number(1.0, low=0.5, high=2.0)\n"
            "    turned = boolean(False)\n\n"
            f"    def warmup(self):\n        return {warmup}\n\n"
            f"    def signals(self, candles):\n        close = candles.close\n{indented}\n"
        )
        return name


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Candles]:
    folder = tmp_path_factory.mktemp("store") / "candles"
    store = CandleStore(folder)
    rows = in_cents(walk(6000))
    store.write("BTC/USDT", "1m", rows)
    store.write("ETH/USDT", "1m", in_cents(walk(4000, seed=8)))
    return folder, rows


@pytest.fixture
def lab(
    tmp_path: Path, stored: tuple[Path, Candles], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Lab:
    for name in ("BOTCTL_ENDPOINT", "BOTCTL_OUTPUT", "BOTD_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "candles").mkdir()
    (tmp_path / "candles" / "binance").symlink_to(stored[0] / "binance")
    config = "data_dir: candles\nstate_dir: state\nstrategies_dir: strategies\n"
    (tmp_path / "botd.yaml").write_text(config + "instruments: {ETH/USDT: {tick: 0.01, step: 0.01}}\n")
    monkeypatch.setenv("BOTD_CONFIG", str(tmp_path / "botd.yaml"))
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path, capsys.readouterr, stored[1])
