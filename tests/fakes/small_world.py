"""A whole botd without sockets: the real parts on a scripted market, moved candle by candle, ended at will."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botd.config import from_mapping
from botd.world import World
from tests.fakes.small_fleet import SmallFleet

START, MINUTE = 1_767_225_600_000, 60_000
GRID = {"BTC/USDT": {"tick": "0.01", "step": "0.0001", "min_notional": "5"}}
FREE = {"maker_fee": "0%", "taker_fee": "0%", "slippage": "0%"}


class SmallWorld(SmallFleet):
    """``market`` is closes, or (open, high, low, close) rows: one-minute candles of BTC/USDT. No fees, no slippage."""

    def __init__(self, home: Path, market: Sequence[Any] = (100,), **config: Any) -> None:
        self.home, csv = home, home / "btc.csv"
        for place in (home / "state", home / "strategies"):
            place.mkdir(parents=True, exist_ok=True)
        rows = [row if isinstance(row, tuple) else (row, row, row, row) for row in market]
        lines = [f"{START + i * MINUTE},{','.join(map(str, row))},10" for i, row in enumerate(rows)]
        csv.write_text("\n".join(["open_time_ms,open,high,low,close,volume", *lines, ""]))
        replay = {"source": "replay", "files": {"BTC/USDT": str(csv)}, "interval": "1m", "speed": 0}
        self.config = {"state_dir": str(home / "state"), "strategies_dir": str(home / "strategies"), "market": replay,
                       "instruments": GRID, "paper": FREE, "risk": {"preset": "off"}, **config}  # fmt: skip

    def open(self) -> World:
        """Build the world, or build it again from its ledger."""
        self.world = World(from_mapping(self.config, self.home))
        self.world.build()
        self.world.evaluator._timeout_s = 0.3
        self.source, cursor = self.world.source, self.world.loaded.kv.get("market", {}).get("cursor")
        self.source.seek(None if cursor is None else int(cursor))  # type: ignore[union-attr]
        return self.world

    async def begin(self) -> World:
        """Open, and let the market serve."""
        self.open().orchestrator.market_ready()
        self.world.kill_switch.enforce()
        await self.world.settlement.commit()
        return self.world

    async def end(self, *, killed: bool = False) -> None:
        """Commit, then close the ledger; ``killed``: what had not been committed is lost."""
        await self.world.settlement.commit() if not killed else self.world.settlement.abandon()
        await self.world.ledger.close()

    async def play(self, moments: int = 1_000_000) -> int:
        """Deliver so many moments; return how many there were."""
        for played in range(moments):
            if (moment := self.source.next()) is None:
                return played
            await self.world.market.deliver(moment)
        return moments
