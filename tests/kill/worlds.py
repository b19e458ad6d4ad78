"""The two markets of the campaign, the bots that trade on them, and the books they leave behind."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from botd.ledger import audit
from botd.ledger.checksums import damages

START = 1_767_225_600_000
MINUTE = 60_000
_OFTEN = {"period": "3", "oversold": "45", "overbought": "55"}


@dataclass(frozen=True)
class World:
    """A market and its bots. One that ``ends`` is compared at its end, the other up to where it was paused."""

    name: str
    market: dict[str, Any]
    bots: tuple[dict[str, Any], ...]
    ends: bool

    def config(self, speed: float) -> dict[str, Any]:
        """Return the configuration of a daemon that plays at ``speed`` (0: as fast as the bots follow)."""
        return {
            "market": {**self.market, "autoplay": False, "speed": speed},
            "paper": {"slippage": "0.01%"},
            "risk": {"preset": "off"},
        }


def replay(directory: Path, candles: int, seed: int) -> World:
    """A recorded market, written here: a price that wanders about 100."""
    file = directory / "tape.csv"
    file.write_text("timestamp,open,high,low,close,volume\n" + "".join(_rows(candles, random.Random(seed))))
    market = {"source": "replay", "files": {"BTC/USDT": str(file)}, "interval": "1m"}
    return World("replay", market, _bots("BTC/USDT", 100), ends=True)


def synthetic(seed: int) -> World:
    """The synthetic market, which never ends."""
    market = {"source": "synthetic", "symbols": ["BTC/USDT", "ETH/USDT"], "seed": seed}
    return World("synthetic", market, _bots("BTC/USDT", 60_000), ends=False)


def _rows(candles: int, dice: random.Random) -> Any:
    price = 100.0
    for number in range(candles):
        close = price + dice.gauss(0, 0.12) + (100 - price) * 0.002
        high, low = max(price, close) + abs(dice.gauss(0, 0.05)), min(price, close) - abs(dice.gauss(0, 0.05))
        yield f"{START + number * MINUTE},{price:.2f},{high:.2f},{low:.2f},{close:.2f},{dice.uniform(50, 500):.3f}\n"
        price = round(close, 2)


def _bots(symbol: str, price: int) -> tuple[dict[str, Any], ...]:
    def bot(strategy: str, interval: str = "1m", **more: Any) -> dict[str, Any]:
        fields = {"symbol": symbol, "interval": interval, "capital": "10000", "params": {}}
        return {"name": strategy.replace("_", "-"), "strategy": strategy, **fields, **more}

    grid = {"lower": str(price * 97 // 100), "upper": str(price * 103 // 100), "levels": "13"}
    return (
        bot("rsi", params=_OFTEN, stop_loss="0.01", take_profit="0.02"),
        bot("grid", params=grid),
        bot("dca", params={"every": "30m", "amount": "200", "take_profit": "0.01"}),
        bot("macd", "5m", trailing_stop="0.01"),
        bot("mean_reversion", stop_loss="0.02"),
    )


# -- what is left


def rows(path: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return rows of a ledger whose daemon has ended."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, values).fetchall()


def cursor(path: Path) -> int:
    """Return up to when the market was played."""
    found = rows(path, "SELECT value FROM keyed WHERE space = 'market' AND key = 'cursor'")
    return int(found[0][0]) if found else 0


def books(path: Path, world: World, up_to: int) -> dict[str, list[Any]]:
    """Return what must be equal: orders, fills, trades and equity up to a time; money and positions at the end."""
    most = len(world.bots)
    found: dict[str, list[Any]] = {
        "orders": rows(
            path,
            "SELECT substr(client_order_id, 7, length(client_order_id) - 9), bot, sequence, symbol, side, type,"
            " quantity, price, purpose, created_ms FROM orders WHERE bot <= ? AND created_ms <= ?"
            " ORDER BY bot, sequence",
            most,
            up_to,
        ),
        "fills": rows(
            path,
            "SELECT substr(client_order_id, 7, length(client_order_id) - 9), side, quantity, price, fee, fee_asset,"
            " realized_pnl, time_ms FROM fills WHERE time_ms <= ? ORDER BY bot, time_ms, client_order_id, id",
            up_to,
        ),
        "trades": rows(
            path,
            "SELECT bot, symbol, quantity, entry_time_ms, exit_time_ms, entry_price, exit_price, pnl, fees,"
            " exit_reason, bars FROM trades WHERE exit_time_ms <= ? ORDER BY bot, id",
            up_to,
        ),
        "equity": rows(
            path,
            "SELECT bot, time_ms, equity, cash FROM equity WHERE bot <= ? AND time_ms <= ? ORDER BY bot, time_ms",
            most,
            up_to,
        ),
    }
    if world.ends:
        found["books"] = rows(path, "SELECT bot, cash, realized, fees FROM books WHERE bot <= ? ORDER BY bot", most)
        found["positions"] = rows(path, "SELECT bot, symbol, quantity, cost, realized_pnl FROM positions ORDER BY 1, 2")
        found["last orders"] = rows(
            path, "SELECT bot, sequence, status, filled FROM orders WHERE bot <= ? ORDER BY 1, 2", most
        )
    return found


def differences(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> list[str]:
    """Return in words what differs, the first row of each kind."""
    said = []
    for kind, right in expected.items():
        if found[kind] != right:
            pairs = enumerate(zip(found[kind], right, strict=False))
            first = next((f"row {at}: {one} instead of {two}" for at, (one, two) in pairs if one != two), "")
            said.append(f"{kind}: {len(found[kind])} rows instead of {len(right)} {first}")
    return said


def unsound(path: Path) -> list[str]:
    """Return what is wrong inside the books: damage, a broken chain, an order or a fill twice, cash below zero."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        said = [*damages(connection, indexes=True), *audit.verify(connection, path).broken][:3]
        twice = "SELECT bot, sequence, count(*) FROM orders GROUP BY bot, sequence HAVING count(*) > 1"
        said += [f"order twice: {row}" for row in connection.execute(twice)]
        orphans = "SELECT client_order_id FROM fills WHERE client_order_id NOT IN (SELECT client_order_id FROM orders)"
        said += [f"fill without an order: {row[0]}" for row in connection.execute(orphans)]
        said += [
            f"order {order}: filled {filled}, its fills say {total}"
            for order, filled in connection.execute("SELECT client_order_id, filled FROM orders WHERE filled <> '0'")
            if Decimal(filled) != (total := _filled(connection, order))
        ]
        return said


def _filled(connection: sqlite3.Connection, order: str) -> Decimal:
    found = connection.execute("SELECT quantity FROM fills WHERE client_order_id = ?", (order,))
    return sum((Decimal(row[0]) for row in found), Decimal(0))
