"""Lots: what a sale took from which purchase, to the last digit."""

from __future__ import annotations

from decimal import Decimal

from botd.domain.order import Fill, Side
from botd.ledger.lots import Disposal, FifoBook
from tests.fakes.ledger_rows import START, fill


def _fill(side: Side, quantity: str, price: str, fee: str = "0", asset: str = "USDT", at: int = START) -> Fill:
    return fill(
        1,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
        fee_asset=asset,
        time_ms=at,
    )


def _book(*purchases: tuple[str, str]) -> FifoBook:
    """Return a book with purchases a millisecond apart, without fees."""
    book = FifoBook("BTC/USDT")
    for number, (quantity, price) in enumerate(purchases):
        book.apply(_fill(Side.BUY, quantity, price, at=START + number))
    return book


def test_a_purchase_disposes_of_nothing_and_its_fee_is_a_loss_at_once() -> None:
    book = FifoBook("BTC/USDT")
    assert book.symbol == "BTC/USDT"
    assert book.apply(_fill(Side.BUY, "2", "100", "0.2")) == []
    assert (book.quantity, book.cost, book.realized_pnl) == (2, 200, Decimal("-0.2"))


def test_a_fee_in_base_leaves_the_lot_and_what_is_left_costs_the_same() -> None:
    book = FifoBook("BTC/USDT")
    book.apply(_fill(Side.BUY, "2", "100", "0.002", "BTC"))
    assert (book.quantity, book.cost, book.realized_pnl) == (Decimal("1.998"), 200, 0)


def test_a_fee_in_a_third_asset_counts_at_a_known_value_only() -> None:
    book = FifoBook("BTC/USDT")
    book.apply(_fill(Side.BUY, "1", "100", "0.001", "BNB"))
    assert book.realized_pnl == 0
    book.apply(_fill(Side.BUY, "1", "100", "0.001", "BNB"), fee_value_quote=Decimal("0.5"))
    assert book.realized_pnl == Decimal("-0.5")


def test_a_sale_takes_the_oldest_lots_first_and_tells_each() -> None:
    book = _book(("1", "100"), ("2", "130"))
    rows = book.apply(_fill(Side.SELL, "2", "150", "0.3", at=START + 60_000))
    # 1 of 100 whole, then 1 of the 2 at 130; proceeds 300, half each; the fee stands on the last row
    shared = {"symbol": "BTC/USDT", "quantity": 1, "sold_ms": START + 60_000, "proceeds": 150}
    assert rows == [
        Disposal(**shared, bought_ms=START, cost=100, fee=0),
        Disposal(**shared, bought_ms=START + 1, cost=130, fee=Decimal("0.3")),
    ]
    assert [(lot.quantity, lot.cost, lot.time_ms) for lot in book.lots] == [(1, 130, START + 1)]
    assert book.realized_pnl == 300 - 230 - Decimal("0.3")


def test_the_rest_of_a_lot_keeps_its_share_of_the_cost() -> None:
    book = _book(("3", "100"))
    (row,) = book.apply(_fill(Side.SELL, "1", "100"))
    assert (row.quantity, row.cost, row.proceeds) == (1, 100, 100)
    assert (book.quantity, book.cost) == (2, 200)
    (row,) = book.apply(_fill(Side.SELL, "2", "110"))
    assert (row.quantity, row.cost, row.proceeds) == (2, 200, 220)
    assert (book.quantity, book.cost, len(book.lots), book.realized_pnl) == (0, 0, 0, 20)


def test_proceeds_are_shared_by_quantity() -> None:
    rows = _book(("2", "100"), ("2", "100")).apply(_fill(Side.SELL, "3", "10"))
    assert [(row.quantity, row.proceeds) for row in rows] == [(2, 20), (1, 10)]


def test_rows_of_one_sale_add_up_to_its_proceeds_where_they_cannot_be_shared_evenly() -> None:
    book = _book(("1", "10"), ("2", "10"))
    rows = book.apply(_fill(Side.SELL, "3", "0.00000000000000003333"))  # 1e-16 for all three
    assert [row.proceeds for row in rows] == [0, Decimal("1e-16")]


def test_what_is_sold_beyond_the_lots_is_profit_and_the_last_lot_has_all_the_proceeds() -> None:
    book = _book(("1", "100"), ("1", "100"))
    rows = book.apply(_fill(Side.SELL, "4", "100", "0.4"))
    # 1 of 4 for 100; the last lot takes the other 300
    assert [(row.quantity, row.proceeds, row.fee) for row in rows] == [(1, 100, 0), (1, 300, Decimal("0.4"))]
    assert (book.quantity, book.realized_pnl) == (0, Decimal("199.6"))
    assert book.apply(_fill(Side.SELL, "1", "50")) == []
    assert book.realized_pnl == Decimal("249.6")


def test_a_sale_with_its_fee_in_base_takes_the_fee_from_the_lots_too() -> None:
    book = _book(("1", "100"))
    (row,) = book.apply(_fill(Side.SELL, "0.4", "100", "0.1", "BTC"))
    assert (row.quantity, row.cost, row.proceeds, row.fee) == (Decimal("0.5"), 50, 40, 0)
    assert (book.quantity, book.realized_pnl) == (Decimal("0.5"), -10)


def test_dust_that_is_written_off_is_a_loss_of_its_cost() -> None:
    book = _book(("1", "100"), ("1", "50"))
    book.write_off()
    assert (book.quantity, book.cost, book.realized_pnl, len(book.lots)) == (0, 0, -150, 0)
