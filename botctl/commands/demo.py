"""The verb that shows everything in half a minute: a private botd, bots of every strategy, a live table.

Everything lives in one temporary directory with a botd of its own; both are gone at the end, also after Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import click

from botctl.cells import gain, money, percent
from botctl.client import LONGEST_PATH, Client
from botctl.commands.inspect import LS_COLUMNS, STATS_COLUMNS
from botctl.commands.portfolio import health_text, portfolio_text
from botctl.exit_codes import FAILED, OK, Fault
from botctl.fitting import first_lines, lines_taken
from botctl.offline_calls import offline
from botctl.output import Row, output_options, table, world, write
from botctl.session import Session
from botctl.times import format_ms

CONFIG = """\
mode: paper
state_dir: {directory}
data_dir: {directory}/candles
strategies_dir: {directory}/strategies
market:
  source: synthetic
  symbols: [BTC/USDT, ETH/USDT, SOL/USDT, XRP/USDT]
  seed: 7
  interval: 1m
  speed: 14400   # four hours of the market in a second
risk: {{preset: paper}}
log: {{level: warning}}
"""

BOTS = [
    ("alpha", "rsi", "BTC/USDT", "1m", {}, {"stop_loss": "0.02", "take_profit": "0.04"}),
    ("bravo", "macd", "ETH/USDT", "5m", {}, {"stop_loss": "0.03"}),
    ("charlie", "mean_reversion", "SOL/USDT", "1m", {}, {"trailing_stop": "0.02"}),
    ("delta", "ema_cross", "BTC/USDT", "15m", {}, {"stop_loss": "0.02"}),
    ("echo", "breakout", "XRP/USDT", "5m", {}, {"trailing_stop": "0.03"}),
    ("foxtrot", "dca", "ETH/USDT", "1m", {"every": "1h", "amount": "100", "take_profit": "0.01"}, {}),
    ("golf", "grid", "SOL/USDT", "1m", {"levels": "10"}, {}),
]
CAPITAL = "5000"
GRID_WIDTH = 0.1  # the grid spans this part of the price on each side
FRAME_S = 0.5
PLAIN_FRAMES = 3


@click.command("demo")
@click.option("--seconds", type=click.FloatRange(1, 600), default=12.0, show_default=True, help="How long to trade.")
@output_options
def demo_command(session: Session, seconds: float) -> int:
    """Watch bots of seven strategies trade on a synthetic market, fast forward.

    It runs a botd of its own in a temporary directory, and leaves nothing behind.

    \b
    Example:
      botctl demo
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)  # a closed terminal cleans up like Ctrl-C
    with tempfile.TemporaryDirectory(prefix="botctl-demo-", dir=short_place()) as directory:
        stage = Stage(session, directory)
        try:
            stage.start()
            stage.populate()
            stage.watch(seconds)
            stage.summarise()
        finally:
            stage.stop()
    write(next_steps())
    return OK


def short_place() -> str:
    """Return where a temporary directory can hold a socket: its whole path must be short."""
    places = (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), os.path.expanduser("~"))
    return next((place for place in places if place and len(place) < LONGEST_PATH - 40), places[0])


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


class Stage:
    """One private daemon, and what is shown of it."""

    def __init__(self, session: Session, directory: str) -> None:
        self._session = session
        self._directory = directory
        self._client = Client(os.path.join(directory, "control.sock"))
        self._botd: subprocess.Popen[bytes] | None = None
        self._banner = world("paper", "synthetic")
        self._widest: dict[str, str] = {}

    def start(self) -> None:
        """Run botd as a child, and wait until it answers."""
        config = os.path.join(self._directory, "botd.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(directory=self._directory))
        log = os.path.join(self._directory, "demo.log")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("BINANCE_", "REDIS_", "BOTD_"))}
        with open(log, "wb") as output:
            self._botd = subprocess.Popen(
                [*offline("daemon_command"), "--config", config],
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is ours: the daemon is stopped in good order below
            )
        until = time.monotonic() + 30
        while True:
            try:
                self._client.call("hello", {}, 1.0)
                break
            except Fault:
                if self._botd.poll() is not None or time.monotonic() > until:
                    with open(log, encoding="utf-8", errors="replace") as file:
                        reason = file.read().strip().split("\n")[-1]
                    raise Fault(FAILED, f"demo: botd did not start: {reason}", "botctl doctor") from None
                time.sleep(0.05)

    def populate(self) -> None:
        """Create and start the bots."""
        for name, strategy, symbol, interval, params, stops in BOTS:
            if strategy == "grid":
                price = self._price(symbol)
                lower, upper = f"{price * (1 - GRID_WIDTH):.2f}", f"{price * (1 + GRID_WIDTH):.2f}"
                params = {**params, "lower": lower, "upper": upper}
            spec = {"name": name, "strategy": strategy, "symbol": symbol, "interval": interval, "capital": CAPITAL}
            self._client.call("create", {"spec": {**spec, "params": params, **stops}, "start": True, "replace": False})
            self._session.say(f"created {name}: {strategy} on {symbol} {interval}")

    def watch(self, seconds: float) -> None:
        """Show the table of bots: in place on a terminal, a few plain ones off it."""
        live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        pause = FRAME_S if live else seconds / PLAIN_FRAMES
        until = time.monotonic() + seconds
        drawn = ""
        while time.monotonic() < until:
            time.sleep(min(pause, max(0.0, until - time.monotonic())))
            frame = self._frame()
            if live:
                width, height = shutil.get_terminal_size()
                above = lines_taken(drawn, width)  # as it stands now, also where the terminal became narrower
                write(f"\x1b[{above}A\r\x1b[J" if above else "")
                drawn = first_lines(frame, width, height - 1)
                write(drawn)
            else:
                write(frame + "\n")
            sys.stdout.flush()

    def summarise(self) -> None:
        """Print ls, stats, portfolio and health, each under the command that gives it."""
        call = self._client.call
        self._chapter("botctl ls", self._bots({}))
        stats = call("stats", {})["rows"]
        self._chapter("botctl stats", table(self._session, stats, STATS_COLUMNS, banner=self._banner))
        self._chapter("botctl portfolio", portfolio_text(self._session, call("portfolio")))
        self._chapter("botctl health", health_text(self._session, call("health")))

    def stop(self) -> None:
        """Stop the daemon and wait for it; kill it where it does not end."""
        self._client.close()
        if self._botd is None:
            return
        self._botd.terminate()
        try:
            self._botd.wait(15)
        except subprocess.TimeoutExpired:
            self._botd.kill()
            self._botd.wait()

    def _chapter(self, command: str, text: str) -> None:
        write(f"\n$ {command}\n{text}")

    def _price(self, symbol: str) -> float:
        """Return the price of a symbol that another bot follows already, as soon as there is one."""
        until = time.monotonic() + 15
        while True:
            for row in self._client.call("prices", {})["rows"]:
                if row["symbol"] == symbol and row.get("price") is not None:
                    return float(row["price"])
            if time.monotonic() > until:
                raise Fault(FAILED, f"demo: no price of {symbol}", "botctl doctor")
            time.sleep(0.05)

    def _bots(self, widest: dict[str, str]) -> str:
        rows: list[Row] = self._client.call("ls", {"all": True})["rows"]
        shown = [column for column in LS_COLUMNS if column.key != "age"]
        return table(self._session, rows, shown, banner=self._banner, widest=widest)

    def _frame(self) -> str:
        market = self._client.call("market.status", {})
        portfolio = self._client.call("portfolio", {})
        when = market.get("time")
        at = format_ms(when) if isinstance(when, int) else str(when)
        equity = portfolio.get("equity")
        head = f"market {at}  " + (f"equity {money(equity)}  " if equity is not None else "")
        profit = sum(float(portfolio.get(key) or 0) for key in ("realized_pnl", "unrealized_pnl"))
        head += f"pnl {gain(profit)}  return {percent(portfolio.get('return_pct') or 0)}"
        return f"{head}\n{self._bots(self._widest)}"


def next_steps() -> str:
    """Return what to try next; where the shell does not find botctl, what it takes to find it."""
    activate = os.path.join(os.path.dirname(sys.executable), "activate")
    if shutil.which("botctl") or not os.path.exists(activate):
        return NEXT_STEPS
    first = f"  {f'. {os.path.relpath(activate)}':<23}  let the shell find botctl\n"
    return NEXT_STEPS.replace("Your own:\n\n", f"Your own:\n\n{first}")


NEXT_STEPS = """
That botd is stopped and its files are gone. Your own:

  botctl daemon start      start botd: paper money, synthetic market
  botctl strategies        what bots can do
  botctl create alpha --strategy rsi --symbol BTC/USDT --interval 1m \\
      --capital 1000 --stop-loss 2% --start
  botctl top               watch it
  botctl why alpha         why it traded, or did not
  botctl config init       a commented configuration, for real prices
"""
