"""A6: replaying all fills of real runs gives the books that are kept, byte for byte; a changed book is named."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from botd.ledger import replay

FLEET = {
    "alpha": "--strategy rsi --symbol BTC/USDT --interval 1m --stop-loss 1%",
    "bravo": "--strategy ema_cross --symbol ETH/USDT --interval 5m --trailing-stop 1%",
    "charlie": "--strategy dca --symbol BTC/USDT --interval 1m --set every=1h --set amount=50",
}


@pytest.mark.parametrize("fee_asset", ["quote", "base", "ETH"])
def test_the_fills_make_the_books(make_botd: Any, fee_asset: str) -> None:
    """Fees in quote, in what was bought, and in a third asset with a price; step sizes leave dust."""
    botd = make_botd(
        {"market": {"seed": 5, "speed": 0}, "paper": {"fee_asset": fee_asset, "balance": {"USDT": 100000, "ETH": 5}}}
    )
    botd.start()
    for name, options in FLEET.items():
        botd.run("create", name, *options.split(), "--capital", "1000", "--start")
    botd.until(lambda: len(botd.json("fills")) > 60, 60)
    botd.kill()
    connection = sqlite3.connect(botd.state_dir / "ledger.db")
    assert list(replay.differences(connection)) == []
    assert replay.state_hash(replay.replayed(connection)) == replay.state_hash(replay.kept(connection))
    connection.execute("UPDATE books SET cash = '12345' WHERE bot = 1")
    (line,) = replay.differences(connection)
    assert line.startswith("bot 1: cash is 12345, its fills make it ")
    connection.close()
