"""Double entry: the lines of a fill, one by one."""

from __future__ import annotations

from decimal import Decimal

from botd.domain.order import Side
from botd.ledger.double_entry import FEES, MARKET, Posting, balances, bot_account, moved, postings
from tests.fakes.ledger_rows import fill

AMOUNTS = {"quantity": Decimal(2), "price": Decimal(100)}


def test_a_purchase_moves_both_assets_and_the_fee_between_named_accounts() -> None:
    bought = fill(1, **AMOUNTS, fee=Decimal("0.1"), fee_asset="USDT")
    assert bot_account(bought.bot) == f"bot:{bought.bot}"
    bot = bot_account(bought.bot)
    assert postings(bought) == [
        Posting(bot, "BTC", Decimal(2)),
        Posting(MARKET, "BTC", Decimal(-2)),
        Posting(bot, "USDT", Decimal(-200)),
        Posting(MARKET, "USDT", Decimal(200)),
        Posting(bot, "USDT", Decimal("-0.1")),
        Posting(FEES, "USDT", Decimal("0.1")),
    ]


def test_a_sale_moves_them_the_other_way_and_no_fee_leaves_no_line() -> None:
    sold = fill(1, **AMOUNTS, side=Side.SELL, fee=Decimal(0), fee_asset="BNB")
    bot = bot_account(sold.bot)
    assert postings(sold) == [
        Posting(bot, "BTC", Decimal(-2)),
        Posting(MARKET, "BTC", Decimal(2)),
        Posting(bot, "USDT", Decimal(200)),
        Posting(MARKET, "USDT", Decimal(-200)),
    ]


def test_balances_sum_by_account_and_asset_and_ours_are_all_but_the_other_sides() -> None:
    one = fill(1, **AMOUNTS, fee=Decimal("0.5"), fee_asset="BNB")
    lines = postings(one) + postings(fill(2, **AMOUNTS, side=Side.SELL, fee=Decimal("0.25"), fee_asset="BNB"))
    bot = bot_account(one.bot)
    assert balances(lines) == {
        (bot, "BTC"): 0,
        (MARKET, "BTC"): 0,
        (bot, "USDT"): 0,
        (MARKET, "USDT"): 0,
        (bot, "BNB"): Decimal("-0.75"),
        (FEES, "BNB"): Decimal("0.75"),
    }
    assert (moved(lines, "BNB"), moved(lines[:2], "BTC"), moved(lines, "ETH")) == (Decimal("-0.75"), 2, 0)
