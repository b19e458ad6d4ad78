"""What was sold while botd was dead is not protected and not sold again at the next boot: other coins lie there."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from botd.domain.order import PANIC_SEQUENCE
from botd.execution.client_ids import client_order_id
from tests.fakes.binance import BinanceFront
from tests.fakes.binance.exchange import named
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_account import play, venue
from tests.integration.test_order_life_wire import check, settled, until
from tests.integration.test_pairs_wire import HELD, Guarded, resting

OTHERS = Decimal("0.5")
"""Coins on the account that no bot holds."""


def sell_like_panic(made: Exchange, daemon: Guarded) -> None:
    """``botctl panic --sell`` while botd is dead: our orders end, what the bot holds is sold under an id of ours."""
    made.venue.engine.cancel_all("BTCUSDT")
    key = client_order_id("live", daemon.ledger.instance, daemon.number, PANIC_SEQUENCE + 1)
    made.venue.order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity=f"{HELD:f}", newClientOrderId=key)


def sent_orders(front: BinanceFront) -> int:
    return sum(seen.method == "POST" and "order" in seen.path for seen in front.record.requests)


@pytest.mark.parametrize("deaf_ms", [0, 1500])
def test_a_panic_that_sold_offline_leaves_no_leg_against_the_coins_of_others(tmp_path: Path, deaf_ms: int) -> None:
    async def scene() -> None:
        made = Exchange({"USDT": "1000", "BTC": str(HELD + OTHERS)})
        async with venue(made) as front:
            daemon = Guarded(front, tmp_path)
            await daemon.start()
            await until(daemon.rests, 10)
            await daemon.end(killed=True)
            sell_like_panic(made, daemon)
            before = sent_orders(front)
            if deaf_ms:
                made.inject(named("503_unknown_without_effect", path="/api/v3/myTrades", for_ms=deaf_ms))
            after = Guarded(front, tmp_path)
            await after.start()
            await until(lambda: settled(after, made) and not after.quantity(), 15)
            assert sent_orders(front) == before and resting(made) == []
            assert made.books.balances["BTC"] == OTHERS and after.told == []
            await after.end(killed=False)
            await check(made, tmp_path)

    play(scene, 40)
