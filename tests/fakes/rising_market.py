"""A market whose every price is known: it stands, then rises, then ends; who follows the trend holds something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.conftest import Botd

FIRST_MS = 1_722_470_400_000
RISING = [100.0] * 60 + [100 + 0.1 * step for step in range(60)]
CRASH = [105.9] * 20 + [90.0] * 20
TREND = ["--strategy", "ema_cross", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000"]
IDLE = ["--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000"]
FAST = ["--set", "fast=3", "--set", "slow=6"]


def write_candles(path: Path, closes: list[float]) -> None:
    lines = ["open_time_ms,open,high,low,close,volume"]
    for number, close in enumerate(closes):
        opened = closes[number - 1] if number else close
        time_ms = FIRST_MS + number * 60_000
        lines.append(f"{time_ms},{opened:.2f},{max(opened, close):.2f},{min(opened, close):.2f},{close:.2f},10.5")
    path.write_text("\n".join(lines) + "\n")


class Rising(Botd):
    """A botd that replays the rising market at once, once it is told to play."""

    def __init__(self, home: Path, **config: Any) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.files = {symbol: home / f"{symbol[:3]}.csv" for symbol in ("BTC/USDT", "ETH/USDT")}
        self.write(RISING)
        market = {"source": "replay", "files": {s: str(f) for s, f in self.files.items()}, "speed": 0}
        grids = {symbol: {"tick": "0.01", "step": "0.0001"} for symbol in self.files}
        super().__init__(home, {"market": {**market, "autoplay": False}, "instruments": grids, **config})

    def write(self, closes: list[float]) -> None:
        for file in self.files.values():
            write_candles(file, closes)

    def play(self) -> None:
        self.run("market", "play")
        self.run("wait", "--for", "market=ended", "--timeout", "30")

    def position(self, name: str) -> Any:
        return self.json("show", name)["position"]
