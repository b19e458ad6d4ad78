"""A botd with many bots, and a client of its control socket that knows the wire and nothing of botctl."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import zmq

from tests.e2e.conftest import Botd

STRATEGIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("rsi", {"period": 14}),
    ("macd", {}),
    ("mean_reversion", {"period": 20}),
    ("ema_cross", {"fast": 12, "slow": 26}),
    ("breakout", {"entry": 20, "exit": 10}),
)
STOPS: tuple[dict[str, str], ...] = (
    {},
    {"stop_loss": "0.02", "take_profit": "0.04"},
    {"trailing_stop": "0.015"},
    {"stop_loss": "0.03", "fraction": "0.5"},
)
NAMED = ("BTC", "ETH", "BNB", "SOL", "LTC", "AVAX", "LINK", "DOT", "XRP", "ADA", "TRX", "DOGE")
CAPITAL = 1000


def symbols(count: int) -> list[str]:
    """Return symbols of a synthetic market."""
    return [f"{base}/USDT" for base in (*NAMED, *(f"C{number:03d}" for number in range(count)))][:count]


def specs(bots: int, markets: list[str]) -> list[dict[str, Any]]:
    """Return the fleet: strategies, symbols and stops in turns, so that each symbol has different bots."""
    fleet = []
    for number in range(bots):
        lap = number // len(markets)
        strategy, params = STRATEGIES[(number + lap) % len(STRATEGIES)]
        spec = {
            "name": f"bot{number:04d}",
            "strategy": strategy,
            "symbol": markets[number % len(markets)],
            "interval": "1m",
            "capital": str(CAPITAL),
            "params": params,
            **STOPS[lap % len(STOPS)],
        }
        fleet.append(spec)
    return fleet


def market(count: int, *, speed: float, autoplay: bool = False) -> dict[str, Any]:
    """Return the configuration of a synthetic market that gives every bot of :func:`specs` its capital."""
    return {
        "market": {"source": "synthetic", "symbols": symbols(count), "speed": speed, "autoplay": autoplay},
        "paper": {"balance": {"USDT": 1_000_000}},
        "log": {"level": "warning"},
    }


def populate(wire: Wire, bots: int, markets: int) -> None:
    """Create the bots and start them, once the market serves: the first ping is answered before."""
    until = time.monotonic() + 20.0
    while {row["name"]: row["status"] for row in wire.call("health")["checks"]}["market"] != "ok":
        if time.monotonic() > until:
            raise RuntimeError("the market does not come up")
        time.sleep(0.02)
    wire.call("apply", {"bots": specs(bots, symbols(markets))}, 120)
    done = wire.call("start", {"all": True}, 120)
    failed = [row for row in done["rows"] if row["result"] == "failed"]
    if failed:
        raise RuntimeError(f"{len(failed)} bots do not start: {failed[0]['error']}")


def launch(botd: Botd, deadline_s: float = 30.0) -> float:
    """Start botd; return the seconds until it answered the first ping."""
    began = time.perf_counter()
    botd.start(wait=False)
    assert botd.process is not None
    while not listens(botd.socket):
        if botd.process.poll() is not None or time.perf_counter() - began > deadline_s:
            raise RuntimeError(f"botd does not start: {botd.log()}")
        time.sleep(0.001)
    with Wire(botd.socket) as wire:
        wire.call("ping")
    return time.perf_counter() - began


def listens(path: Path) -> bool:
    """Tell whether somebody accepts connections at ``path``."""
    with socket.socket(socket.AF_UNIX) as stream:
        try:
            stream.connect(str(path))
        except OSError:
            return False
    return True


class WireError(Exception):
    """The daemon refused."""


class Wire:
    """A DEALER on the control socket."""

    def __init__(self, path: Path) -> None:
        context: zmq.Context[Any] = zmq.Context.instance()
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(f"ipc://{path}")
        self._sent = 0

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *ended: object) -> None:
        self.socket.close()

    def call(self, cmd: str, args: dict[str, Any] | None = None, timeout_s: float = 20.0) -> Any:
        """Send a request and return its result; asked again while the daemon is busy."""
        until = time.monotonic() + timeout_s
        while True:
            self.socket.send_multipart(self.request(cmd, args, timeout_s))
            if not self.socket.poll((until - time.monotonic()) * 1000):
                raise WireError(f"{cmd}: no answer within {timeout_s:g} s")
            reply = json.loads(self.socket.recv_multipart()[-1])
            if reply["ok"]:
                return reply["result"]
            if reply["error"]["code"] != "BUSY" or time.monotonic() > until:
                raise WireError(f"{cmd}: {reply['error']}")
            time.sleep(0.05)

    def request(self, cmd: str, args: dict[str, Any] | None = None, timeout_s: float = 20.0) -> list[bytes]:
        """Return the frames of a request with an id of its own."""
        self._sent += 1
        body = {
            "id": f"bench-{os.getpid()}-{time.monotonic_ns()}-{self._sent}",
            "cmd": cmd,
            "args": args or {},
            "deadline_ms": int(timeout_s * 1000),
            "client": "bench",
        }
        return [b"botd/1", json.dumps(body).encode()]
