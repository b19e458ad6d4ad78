"""``python -m tests.bench.honest_front``: client libraries that people use, unmodified, against the Binance-wire front.

They are installed once, from the ordinary index, into an environment of their own under ``build/``, and run there as
a process (:mod:`.honest_clients`); the front is another process. A line each; the exit code tells whether all work.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.figures import Options, Row
from tests.bench.processes import end
from tests.fakes.binance.exchange import DEFAULT_KEY

ROOT = Path(__file__).parents[2]
VENV = ROOT / "build" / "wire-venv"
PACKAGES = ("ccxt", "python-binance", "binance-sdk-spot")
MODULES = ("ccxt", "binance", "binance_sdk_spot")
SYMBOLS = "BTCUSDT,ETHUSDT,BNBUSDT"


def interpreter() -> Path:
    """Return the environment's interpreter; install what is missing."""
    python = VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, timeout=120)
    probe = "import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, sys.argv[1:])))"
    if subprocess.run([str(python), "-c", probe, *MODULES]).returncode:
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(command, check=True, timeout=600)
    return python


def run(options: Options) -> list[Row]:
    """Tell whether all of them work, as a figure."""
    return [
        Row("client libraries unmodified against the front: all work", float(main([]) == 0), bound=1, at_least=True)
    ]


def main(names: list[str]) -> int:
    python = interpreter()
    front = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.binance", "--symbols", SYMBOLS, "--rate", "20", "--kline-ms", "500",
         "--exchange", "--balance", "USDT=100000", "--balance", "BTC=1"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert front.stdout is not None
        port = front.stdout.readline().split()[1]
        clients = [str(python), str(Path(__file__).with_name("honest_clients.py")), port, *names]
        account = {"FRONT_KEY": DEFAULT_KEY.key, "FRONT_SECRET": DEFAULT_KEY.secret}
        return subprocess.run(clients, cwd=VENV, timeout=300, env=os.environ | account).returncode
    finally:
        end(front)
        print("the front saw", (front.stdout.read() if front.stdout else "").strip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
