"""What an answer about the exchange's rules becomes: the grid of a pair, and the most that one order may have."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from botd.exchange.binance.listing import ExchangeInfo, Listing


def listed(lot: str, market: str | None) -> Decimal:
    filters = [{"filterType": "LOT_SIZE", "minQty": "0.1", "maxQty": lot, "stepSize": "0.1"}]
    if market is not None:
        filters.append({"filterType": "MARKET_LOT_SIZE", "minQty": "0", "maxQty": market, "stepSize": "0"})
    row = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": filters}
    listing = Listing()
    listing.take(msgspec.convert({"symbols": [row]}, ExchangeInfo, strict=False))
    return listing.instruments["BTC/USDT"].max_quantity


@pytest.mark.parametrize(
    ("lot", "market", "most"),
    [("9000.0", "107.5", "107.5"), ("9000.0", "0.0", "9000"), ("9000.0", None, "9000"), ("0", "107.5", "107.5")],
)
def test_one_order_may_have_what_a_market_order_may_have_and_zero_is_no_rule(
    lot: str, market: str | None, most: str
) -> None:
    assert listed(lot, market) == Decimal(most)
