"""Any fills, fees in any asset: average cost, lots and postings agree, and replaying the fills gives the same book."""

from __future__ import annotations

from decimal import Decimal
from functools import reduce

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from botd.domain.amounts import EXACT, money
from botd.domain.instrument import ZERO
from botd.domain.order import Fill, Side
from botd.ledger.accounting import BotBook
from botd.ledger.double_entry import FEES, MARKET, Posting, balances, bot_account, moved, postings
from botd.ledger.lots import FifoBook
from tests.fakes.campaign import campaign

CAPITAL = Decimal(10_000)
STEP = Decimal("0.0001")

_prices = st.integers(1, 10**9).map(lambda cents: Decimal(cents) / 100)
_shares = st.integers(1, 10_000)
_fee_assets = st.sampled_from(["USDT", "BTC", "BNB"])


class Books(RuleBasedStateMachine):
    """A bot that buys and sells part of what it has, at any price, with fees in quote, base or BNB."""

    @initialize()
    def begin(self) -> None:
        self.fills: list[tuple[Fill, Decimal | None, bool]] = []
        self.lines: list[Posting] = []
        self.posted: dict[tuple[str, str], Decimal] = {}
        self.worth = ZERO
        self.book, self.lots = self._fresh()

    @rule(price=_prices, share=_shares, fee_asset=_fee_assets, fee=st.integers(0, 100))
    def buy(self, price: Decimal, share: int, fee_asset: str, fee: int) -> None:
        self._fill(Side.BUY, STEP * share, price, fee_asset, fee)

    @precondition(lambda self: self.book.position.quantity >= STEP)
    @rule(price=_prices, share=st.integers(1, 10_000), fee_asset=_fee_assets, fee=st.integers(0, 100))
    def sell(self, price: Decimal, share: int, fee_asset: str, fee: int) -> None:
        held = self.book.position.quantity
        quantity = max(STEP, held * share // 10_000 // STEP * STEP)
        base_fee = fee_asset == "BTC" and fee
        if base_fee and quantity + quantity * fee / 10_000 > held:
            fee_asset = "USDT"
        self._fill(Side.SELL, quantity, price, fee_asset, fee)

    @precondition(lambda self: 0 < self.book.position.quantity < STEP)
    @rule()
    def write_off(self) -> None:
        last, worth, _ = self.fills[-1]
        self.fills[-1] = last, worth, True
        self.book.close_dust(STEP, reason="signal", bar=0, time_ms=0)
        self.lots.write_off()

    @invariant()
    def cash_is_capital_and_profit_less_cost(self) -> None:
        book = self.book
        assert book.cash == CAPITAL + book.realized_pnl - book.position.cost

    @invariant()
    def nothing_is_held_below_zero(self) -> None:
        assert self.book.position.quantity >= 0 and self.book.position.cost >= 0

    @invariant()
    def average_cost_and_lots_agree_at_any_price(self) -> None:
        """A4: realised + unrealised is the same; the price cancels out, for both hold the same quantity."""
        assert self.lots.quantity == self.book.position.quantity
        assert self.lots.realized_pnl - self.lots.cost == self.book.realized_pnl - self.book.position.cost

    @invariant()
    def postings_sum_to_zero_and_to_the_holding(self) -> None:
        """A1: every asset's postings cancel out; what the bot holds is what was posted to it, dust included."""
        for asset in ("BTC", "USDT", "BNB"):
            assert reduce(EXACT.add, (amount for (_, name), amount in self.posted.items() if name == asset), ZERO) == 0
        held = self.posted.get((bot_account(1), "BTC"), ZERO)
        assert held == self.book.position.quantity + self.book.dust

    @invariant()
    def money_is_what_was_posted(self) -> None:
        """Cash is the posted quote, within the last digit that is booked, less what BNB fees were worth."""
        posted = self.posted.get((bot_account(1), "USDT"), ZERO)
        assert abs(CAPITAL + posted - self.worth - self.book.cash) <= Decimal("1e-16") * (2 * len(self.fills) + 1)

    def teardown(self) -> None:
        """A6: replaying the fills gives the live book, byte for byte, and all postings what they gave one by one."""
        assert balances(self.lines) == self.posted
        assert moved(self.lines, "BTC") == self.posted.get((bot_account(1), "BTC"), ZERO)
        book, lots = self._fresh()
        for number, (fill, worth, dust) in enumerate(self.fills):
            book.apply(fill, reason="signal", bar=number, fee_value_quote=worth)
            lots.apply(fill, fee_value_quote=worth)
            if dust:
                book.close_dust(STEP, reason="signal", bar=0, time_ms=0)
                lots.write_off()
        assert _state(book) == _state(self.book)
        assert list(lots.lots) == list(self.lots.lots)

    def _fresh(self) -> tuple[BotBook, FifoBook]:
        return BotBook(1, "BTC/USDT", CAPITAL), FifoBook("BTC/USDT")

    def _fill(self, side: Side, quantity: Decimal, price: Decimal, fee_asset: str, fee: int) -> None:
        rate = Decimal(fee) / 10_000
        amounts = {"USDT": quantity * price * rate, "BTC": quantity * rate, "BNB": quantity * price * rate / 600}
        worth = EXACT.multiply(amounts["BNB"], Decimal(600)) if fee_asset == "BNB" else None
        fill = Fill(
            trade_id=str(len(self.fills)),
            client_order_id="P-1-1-00",
            bot=1,
            symbol="BTC/USDT",
            side=side,
            quantity=quantity,
            price=price,
            fee=amounts[fee_asset],
            fee_asset=fee_asset,
            time_ms=len(self.fills),
        )
        self.book.apply(fill, reason="signal", bar=len(self.fills), fee_value_quote=worth)
        self.lots.apply(fill, fee_value_quote=worth)
        self.fills.append((fill, worth, False))
        self.worth = EXACT.add(self.worth, money(worth) if worth is not None else ZERO)
        for line in postings(fill):
            assert isinstance(line, Posting) and line.account in (bot_account(1), MARKET, FEES)
            self.lines.append(line)
            before = self.posted.get((line.account, line.asset), ZERO)
            self.posted[line.account, line.asset] = EXACT.add(before, line.amount)


def _state(book: BotBook) -> tuple[object, ...]:
    position = {name: getattr(book.position, name) for name in book.position.__struct_fields__}
    return book.cash, book.realized_pnl, book.fees, position


TestBooks = Books.TestCase
TestBooks.settings = campaign(200, 50)
