"""The track record: statistics of each bot from the ledger, and the fleet's drawdown as it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from botd.bot.bot import Bot
from botd.domain.instrument import ZERO
from botd.domain.position import Trade
from botd.ledger.store import Ledger
from botd.orchestrator.views import Views
from botd.report.statistics import Account, Curve, statistics

FLEET = "fleet"
_TRADE = ",".join(Trade.__struct_fields__)


class FleetDrawdown:
    """The deepest fall of all bots' equity from its peak. Capital that comes or goes moves the peak along."""

    def __init__(self, bots: Callable[[], Iterable[Bot]], equity: Callable[[Bot], Decimal | None]) -> None:
        self._bots = bots
        self._equity = equity
        self._capital = ZERO
        self._peak = ZERO
        self._deepest = 0.0
        self._changed = False

    def mark(self) -> None:
        """Take the present equity into account; an unknown price leaves it out."""
        capital = equity = ZERO
        for bot in self._bots():
            worth = self._equity(bot)
            if worth is None:
                return
            capital += bot.spec.capital
            equity += worth
        peak = max(self._peak + capital - self._capital, equity)
        if peak != self._peak or capital != self._capital:
            self._peak, self._capital, self._changed = peak, capital, True
        if peak > 0 and (fall := float((peak - equity) / peak)) > self._deepest:
            self._deepest, self._changed = min(fall, 1.0), True

    def percent(self) -> float | None:
        """Return the deepest fall so far in percent, None before there was a bot."""
        return round(self._deepest * 100, 6) if self._peak else None

    def drain_changes(self) -> dict[str, str | None]:
        """Return what changed since the last call, for the ledger."""
        if not self._changed:
            return {}
        self._changed = False
        return {FLEET: json.dumps([str(self._capital), str(self._peak), self._deepest])}

    def restore(self, rows: Mapping[str, str]) -> None:
        """Take up what :meth:`drain_changes` gave."""
        if FLEET in rows:
            capital, peak, self._deepest = json.loads(rows[FLEET])
            self._capital, self._peak = Decimal(capital), Decimal(peak)


class TrackRecord:
    """Reads curves and trades; :mod:`botd.report.statistics` says what they amount to."""

    def __init__(self, ledger: Ledger, views: Views, drawdown: FleetDrawdown) -> None:
        self._ledger = ledger
        self._views = views
        self._drawdown = drawdown

    async def of(self, bot: Bot) -> dict[str, Any]:
        """Return the ``stats`` row of a bot."""
        number = (bot.number,)
        points = await self._ledger.query(
            "SELECT time_ms, equity, exposure FROM equity WHERE bot = ? ORDER BY time_ms", number
        )
        trades = await self._ledger.query(f"SELECT {_TRADE} FROM trades WHERE bot = ? ORDER BY id", number)
        fills = await self._ledger.query("SELECT quantity, price FROM fills WHERE bot = ?", number)
        curve = Curve(
            np.array([row["time_ms"] for row in points], dtype=np.int64),
            np.array([float(row["equity"]) for row in points]),
            np.array([float(row["exposure"]) for row in points]),
        )
        book = bot.book
        account = Account(
            capital=bot.spec.capital,
            realized_pnl=book.realized_pnl,
            unrealized_pnl=self._views.unrealized(bot),
            equity=self._views.equity(bot),
            fees=book.fees,
            traded=sum((Decimal(row["quantity"]) * Decimal(row["price"]) for row in fills), ZERO),
            skipped_min_notional=bot.skipped_min_notional,
        )
        figures = statistics(curve, [_trade(row) for row in trades], account, bot.spec.interval)
        return {"name": bot.name, **figures, "seconds_unprotected": round(bot.desk.protection(bot.number).seconds, 1)}

    def fleet_drawdown_pct(self) -> float | None:
        """Return the fleet's deepest drawdown in percent."""
        return self._drawdown.percent()


def _trade(row: dict[str, Any]) -> Trade:
    exact = ("quantity", "entry_price", "exit_price", "pnl", "fees")
    values: dict[str, Any] = {key: Decimal(row[key]) if key in exact else row[key] for key in row}
    return Trade(**values)
