"""The arithmetic of a bot's book: exact, from fills only."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from botd.domain.order import Fill, Side
from botd.ledger.accounting import BotBook
from tests.fakes.ledger_rows import START, fill


def _sell(quantity: str, price: str, fee: str = "0", asset: str = "USDT", at: int = START + 60_000) -> Fill:
    return fill(
        2,
        side=Side.SELL,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
        fee_asset=asset,
        time_ms=at,
    )


def _buy(quantity: str, price: str, fee: str = "0", asset: str = "USDT") -> Fill:
    return fill(1, quantity=Decimal(quantity), price=Decimal(price), fee=Decimal(fee), fee_asset=asset)


def test_round_trip_gives_a_trade_net_of_both_fees() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    entry = book.apply(_buy("0.01", "60000", "0.6"), reason="signal", bar=10)
    assert (book.cash, book.position.cost, entry.realized_pnl, entry.trade) == (
        Decimal("399.4"),
        Decimal(600),
        Decimal("-0.6"),
        None,
    )
    done = book.apply(_sell("0.01", "61000", "0.61"), reason="take_profit", bar=14)
    # 610 - 600 - 0.6 - 0.61 = 8.79, of which the sale realised 610 - 600 - 0.61 = 9.39
    assert done.realized_pnl == Decimal("9.39")
    trade = done.trade
    assert trade is not None
    assert (trade.pnl, trade.fees, trade.bars, trade.exit_reason) == (
        Decimal("8.79"),
        Decimal("1.21"),
        4,
        "take_profit",
    )
    assert (trade.entry_price, trade.exit_price, trade.quantity) == (Decimal(60000), Decimal(61000), Decimal("0.01"))
    assert (trade.entry_time_ms, trade.exit_time_ms) == (START, START + 60_000)
    assert abs(trade.return_pct - 8.79 / 600 * 100) < 1e-12
    assert book.cash == Decimal("1008.79") == Decimal(1000) + book.realized_pnl
    assert (book.position.quantity, book.position.cost, book.position.bought_quantity) == (0, 0, 0)


def test_levels_are_left_while_held_and_cleared_when_flat() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    held = book.position
    book.apply(_buy("0.01", "60000"), reason="signal", bar=0)
    held.stop, held.target, held.trailing, held.highest = 1.0, 2.0, 3.0, 4.0
    book.apply(_sell("0.004", "60000"), reason="manual", bar=1)
    assert (held.stop, held.target, held.trailing, held.highest) == (1.0, 2.0, 3.0, 4.0)
    book.apply(_sell("0.006", "60000"), reason="manual", bar=2)
    assert book.position is held
    assert (held.stop, held.target, held.trailing, held.highest, held.entry_bar) == (None, None, None, None, 0)


def test_average_cost_over_two_entries_and_a_partial_exit() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    book.apply(_buy("1", "100"), reason="signal", bar=0)
    book.apply(_buy("2", "130"), reason="signal", bar=1)  # 3 for 360: 120 each
    assert book.position.entry_price == Decimal(120)
    part = book.apply(_sell("1", "150"), reason="signal", bar=2)
    assert (part.realized_pnl, part.trade, book.position.cost) == (Decimal(30), None, Decimal(240))
    done = book.apply(_sell("2", "90"), reason="stop_loss", bar=5)  # 180 - 240
    assert done.trade is not None
    assert (done.realized_pnl, done.trade.pnl, done.trade.exit_price) == (Decimal(-60), Decimal(-30), Decimal(110))
    assert done.trade.quantity == Decimal(3)


def test_fee_in_base_reduces_the_holding_and_counts_as_fees_at_the_fill_price() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    book.apply(_buy("1.0", "100", "0.001", "BTC"), reason="signal", bar=0)
    assert (book.position.quantity, book.cash, book.fees) == (Decimal("0.999"), Decimal(900), Decimal("0.1"))
    done = book.apply(_sell("0.999", "100"), reason="signal", bar=1)
    assert done.trade is not None
    assert (done.trade.pnl, book.cash, book.realized_pnl) == (Decimal("-0.1"), Decimal("999.9"), Decimal("-0.1"))


def test_fee_in_a_third_asset_counts_only_at_a_known_value() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    book.apply(_buy("1", "100", "0.001", "BNB"), reason="signal", bar=0)
    assert (book.fees, book.cash) == (0, Decimal(900))
    book.apply(_buy("1", "100", "0.001", "BNB"), reason="signal", bar=0, fee_value_quote=Decimal("0.5"))
    assert (book.fees, book.cash, book.realized_pnl) == (Decimal("0.5"), Decimal("799.5"), Decimal("-0.5"))


def test_dust_after_base_fees_is_written_off_and_ends_the_trade() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    book.apply(_buy("1.0", "100", "0.0015", "BTC"), reason="signal", bar=0)  # 0.9985 held, step 0.001
    assert book.apply(_sell("0.998", "100"), reason="signal", bar=3).trade is None
    trade = book.close_dust(Decimal("0.001"), reason="signal", bar=3, time_ms=START + 1)
    assert trade is not None
    assert (trade.pnl, trade.exit_price, trade.bars, book.dust) == (Decimal("-0.2"), Decimal(100), 3, Decimal("0.0005"))
    assert (book.position.quantity, book.cash) == (0, Decimal("999.8"))
    assert book.cash == book.capital + book.realized_pnl
    assert book.close_dust(Decimal("0.001"), reason="signal", bar=3, time_ms=START) is None


def test_a_whole_step_is_not_dust() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    book.apply(_buy("0.001", "100"), reason="signal", bar=0)
    assert book.close_dust(Decimal("0.001"), reason="signal", bar=3, time_ms=START) is None
    assert book.position.quantity == Decimal("0.001")


def test_selling_more_than_is_held_never_makes_the_holding_negative() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    book.apply(_buy("1", "100"), reason="signal", bar=0)
    done = book.apply(_sell("3", "100"), reason="manual", bar=1)
    assert (book.position.quantity, done.oversold) == (0, Decimal(2))
    assert book.cash == book.capital + book.realized_pnl == Decimal(1200)


def test_entry_price_of_a_single_fill_is_the_very_price() -> None:
    price = Decimal("60153.065000000002")  # 17 digits, as an open times (1 + slippage) gives
    book = BotBook(1, "BTC/USDT", Decimal(10000))
    book.apply(_buy("0.16617", str(price)), reason="signal", bar=0)
    done = book.apply(_sell("0.16617", str(price)), reason="signal", bar=1)
    assert done.trade is not None
    assert done.trade.entry_price == done.trade.exit_price == price


def test_a_trade_began_with_its_first_purchase_however_often_more_was_bought_or_sold() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    assert (book.last_trade_id, book.dust) == ("", 0)
    book.apply(_buy("1", "100"), reason="signal", bar=3)
    book.apply(fill(3, quantity=Decimal(1), price=Decimal(100), time_ms=START + 1), reason="signal", bar=5)
    book.apply(_sell("1", "100"), reason="signal", bar=6)
    assert (book.position.entry_time_ms, book.position.entry_bar, book.last_trade_id) == (START, 3, "2")
    done = book.apply(_sell("1", "100"), reason="signal", bar=7)
    assert done.trade is not None and (done.trade.entry_time_ms, done.trade.bars) == (START, 4)


def test_a_flat_book_has_no_dust_and_keeps_the_levels_of_the_entry_to_come() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    book.position.stop = 90.0
    assert book.close_dust(Decimal("0.001"), reason="signal", bar=1, time_ms=START) is None
    assert (book.position.stop, book.equity(Decimal(100)), book.cash) == (90.0, 1000, 1000)


def test_change_of_capital_moves_cash_only() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    book.apply(_buy("1", "100", "0.1"), reason="signal", bar=0)
    book.change_capital(Decimal(1500))
    assert (book.cash, book.realized_pnl) == (Decimal("1399.9"), Decimal("-0.1"))
    assert book.cash == book.capital + book.realized_pnl - book.position.cost


def test_equity_and_unrealized_value_the_holding() -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    book.apply(_buy("2", "100", "0.1"), reason="signal", bar=0)
    assert (book.equity(Decimal(110)), book.unrealized_pnl(Decimal(110))) == (Decimal("1019.9"), Decimal(20))


_FILLS = st.tuples(
    st.booleans(),
    st.integers(1, 10**9).map(lambda steps: steps * Decimal("0.00001")),
    st.floats(1e-5, 1e6).map(lambda price: Decimal(repr(price))),
    st.decimals(0, 5, places=8),
    st.sampled_from(["USDT", "BTC", "BNB"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_FILLS, max_size=30), st.decimals(1, 10**7, places=2))
def test_cash_is_capital_plus_realized_minus_invested_to_the_last_digit(
    steps: list[tuple[bool, Decimal, Decimal, Decimal, str]], capital: Decimal
) -> None:
    book = BotBook(1, "BTC/USDT", capital)
    for number, (buys, quantity, price, fee, asset) in enumerate(steps):
        side = Side.BUY if buys else Side.SELL
        paid = min(fee, quantity / 100)
        one = fill(number, side=side, quantity=quantity, price=price, fee=paid, fee_asset=asset)
        book.apply(one, reason="signal", bar=number, fee_value_quote=Decimal("0.25"))
        book.close_dust(Decimal("0.001"), reason="signal", bar=number, time_ms=START)
        assert book.cash == capital + book.realized_pnl - book.position.cost
        assert book.position.quantity >= 0
        assert book.position.quantity > 0 or book.position.cost == 0
        kept = {"cash": book.cash, "realized_pnl": book.realized_pnl, "position": book.position}
        assert BotBook(1, "BTC/USDT", capital, **kept).equity(price) == book.equity(price)


@settings(max_examples=100, deadline=None)
@given(st.lists(_FILLS, max_size=30))
def test_profits_of_trades_and_of_fills_add_up_to_the_books_profit(
    steps: list[tuple[bool, Decimal, Decimal, Decimal, str]],
) -> None:
    book = BotBook(1, "BTC/USDT", Decimal(1000))
    by_fill = by_trade = Decimal(0)
    for number, (buys, quantity, price, fee, _) in enumerate(steps):
        held = book.position.quantity
        side = Side.BUY if buys or not held else Side.SELL
        one = fill(
            number, side=side, quantity=min(quantity, held) if side is Side.SELL else quantity, price=price, fee=fee
        )
        applied = book.apply(one, reason="signal", bar=number)
        by_fill += applied.realized_pnl
        by_trade += applied.trade.pnl if applied.trade else 0
    assert book.realized_pnl == by_fill == by_trade + book.position.realized_pnl
