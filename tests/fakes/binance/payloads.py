"""The JSON of streams and REST rows, field by field as Binance sends it. Values come in ticks and steps."""

from __future__ import annotations

from typing import Any

from tests.fakes.binance.bars import Bar, Print
from tests.fakes.binance.listings import Listing
from tests.fakes.binance.market import DAY, Quote, text


def kline_payload(listing: Listing, interval: str, length: int, bar: Bar, now_ms: int, closed: bool) -> bytes:
    """Return a kline event; without a trade its ids are -1."""
    ids = (bar.first_id, bar.first_id + bar.trades - 1) if bar.trades else (-1, -1)
    price, quantity, both = _decimals(listing)
    return (
        f'{{"e":"kline","E":{now_ms},"s":"{listing.symbol}","k":{{"t":{bar.open_time},"T":{bar.open_time + length - 1},'
        f'"s":"{listing.symbol}","i":"{interval}","f":{ids[0]},"L":{ids[1]},"o":"{text(bar.open, price)}",'
        f'"c":"{text(bar.close, price)}","h":"{text(bar.high, price)}","l":"{text(bar.low, price)}",'
        f'"v":"{text(bar.volume, quantity)}","n":{bar.trades},"x":{"true" if closed else "false"},'
        f'"q":"{text(bar.quote, both)}","V":"{text(bar.taker, quantity)}",'
        f'"Q":"{text(bar.taker_quote, both)}","B":"0"}}}}'
    ).encode()


def trade_payload(listing: Listing, trade: Print, *, aggregated: bool) -> bytes:
    """Return a trade or aggTrade event; each aggregate is one trade."""
    price, quantity, _ = _decimals(listing)
    maker = "true" if trade.buyer_is_maker else "false"
    values = f'"p":"{text(trade.price, price)}","q":"{text(trade.quantity, quantity)}"'
    rest = f'"T":{trade.time_ms},"m":{maker},"M":true}}'
    event = f'"E":{trade.time_ms + 1},"s":"{listing.symbol}"'
    if aggregated:
        return f'{{"e":"aggTrade",{event},"a":{trade.id},{values},"f":{trade.id},"l":{trade.id},{rest}'.encode()
    return f'{{"e":"trade",{event},"t":{trade.id},{values},{rest}'.encode()


def mini_payload(listing: Listing, day: Bar, now_ms: int) -> bytes:
    price, quantity, both = _decimals(listing)
    return (
        f'{{"e":"24hrMiniTicker","E":{now_ms},"s":"{listing.symbol}","c":"{text(day.close, price)}",'
        f'"o":"{text(day.open, price)}","h":"{text(day.high, price)}","l":"{text(day.low, price)}",'
        f'"v":"{text(day.volume, quantity)}","q":"{text(day.quote, both)}"}}'
    ).encode()


def day_payload(listing: Listing, day: Bar, quote: Quote, now_ms: int) -> bytes:
    """Return a 24hrTicker event: the REST row under its short names."""
    row = day_row(listing, day, quote, now_ms)
    names = {
        "p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice", "x": "prevClosePrice", "c": "lastPrice",
        "Q": "lastQty", "b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty", "o": "openPrice",
        "h": "highPrice", "l": "lowPrice", "v": "volume", "q": "quoteVolume",
    }  # fmt: skip
    texts = ",".join(f'"{short}":"{row[name]}"' for short, name in names.items())
    numbers = f'"O":{row["openTime"]},"C":{now_ms},"F":{row["firstId"]},"L":{row["lastId"]},"n":{row["count"]}'
    return f'{{"e":"24hrTicker","E":{now_ms},"s":"{listing.symbol}",{texts},{numbers}}}'.encode()


def book_payload(listing: Listing, quote: Quote, update_id: int) -> bytes:
    row = book_row(listing, quote)
    return (
        f'{{"u":{update_id},"s":"{listing.symbol}","b":"{row["bidPrice"]}","B":"{row["bidQty"]}",'
        f'"a":"{row["askPrice"]}","A":"{row["askQty"]}"}}'
    ).encode()


def kline_row(listing: Listing, length: int, bar: Bar) -> list[Any]:
    """Return the twelve fields of a REST row."""
    price, quantity, both = _decimals(listing)
    prices = (text(value, price) for value in (bar.open, bar.high, bar.low, bar.close))
    taker = (text(bar.taker, quantity), text(bar.taker_quote, both))
    volume, quote = text(bar.volume, quantity), text(bar.quote, both)
    return [bar.open_time, *prices, volume, bar.open_time + length - 1, quote, bar.trades, *taker, "0"]


def book_row(listing: Listing, quote: Quote) -> dict[str, str]:
    price, quantity, _ = _decimals(listing)
    return {
        "symbol": listing.symbol,
        "bidPrice": text(quote.bid, price),
        "bidQty": text(quote.bid_quantity, quantity),
        "askPrice": text(quote.ask, price),
        "askQty": text(quote.ask_quantity, quantity),
    }


def agg_trade_row(listing: Listing, trade: Print) -> dict[str, Any]:
    price, quantity, _ = _decimals(listing)
    return {
        "a": trade.id, "p": text(trade.price, price), "q": text(trade.quantity, quantity), "f": trade.id, "l": trade.id,
        "T": trade.time_ms, "m": trade.buyer_is_maker, "M": True,
    }  # fmt: skip


def trade_row(listing: Listing, trade: Print) -> dict[str, Any]:
    price, quantity, both = _decimals(listing)
    return {
        "id": trade.id, "price": text(trade.price, price), "qty": text(trade.quantity, quantity),
        "quoteQty": text(trade.price * trade.quantity, both), "time": trade.time_ms,
        "isBuyerMaker": trade.buyer_is_maker, "isBestMatch": True,
    }  # fmt: skip


def day_row(listing: Listing, day: Bar, quote: Quote, now_ms: int) -> dict[str, Any]:
    """Return a row of ticker/24hr."""
    price, quantity, both = _decimals(listing)
    change = day.close - day.open
    sign = "-" if change < 0 else ""
    return {
        **book_row(listing, quote),
        "priceChange": sign + text(abs(change), price),
        "priceChangePercent": f"{change / day.open * 100:.3f}",
        "weightedAvgPrice": text(day.quote // max(1, day.volume), price),
        "prevClosePrice": text(day.open, price),
        "lastPrice": text(day.close, price),
        "lastQty": text(1, quantity),
        "openPrice": text(day.open, price),
        "highPrice": text(day.high, price),
        "lowPrice": text(day.low, price),
        "volume": text(day.volume, quantity),
        "quoteVolume": text(day.quote, both),
        "openTime": now_ms - DAY,
        "closeTime": now_ms,
        "firstId": day.first_id,
        "lastId": day.first_id + day.trades - 1,
        "count": day.trades,
    }


def depth(listing: Listing, quote: Quote, now_ms: int, limit: int) -> dict[str, Any]:
    """Return a book of a tick's distance each, its best level the quote."""
    price, quantity, _ = _decimals(listing)
    sizes = (text(quote.bid_quantity, quantity), text(quote.ask_quantity, quantity))
    bids = [[text(quote.bid - level, price), sizes[0]] for level in range(min(limit, quote.bid - 1 or 1))]
    asks = [[text(quote.ask + level, price), sizes[1]] for level in range(limit)]
    return {"lastUpdateId": now_ms, "bids": bids, "asks": asks}


def _decimals(listing: Listing) -> tuple[int, int, int]:
    price, quantity = listing.price_decimals, listing.quantity_decimals
    return price, quantity, price + quantity
