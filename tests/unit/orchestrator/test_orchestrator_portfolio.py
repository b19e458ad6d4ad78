"""The account as one portfolio: unknown where a price is missing, never zero."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from botd.exchange.exchange import Balance
from botd.market.feed import Quote
from botd.orchestrator.portfolio import Portfolio, labels_match
from tests.fakes.plain_strategies import Hooks
from tests.fakes.small_world import SmallWorld

D = Decimal


class Prices:
    def __init__(self, **prices: float) -> None:
        self._prices = {f"{asset}/USDT": price for asset, price in prices.items()}

    def quote(self, symbol: str) -> Quote | None:
        price = self._prices.get(symbol)
        return None if price is None else Quote(price, price + 1, price + 2, 0)


class Account:
    in_process = True

    def __init__(self, **totals: str) -> None:
        self._balances = {asset: Balance(D(total), D(total) / 2) for asset, total in totals.items()}

    def balances(self) -> Mapping[str, Balance]:
        return self._balances


class NoOrders:
    def open_orders(self, symbol: str | None = None, bot: int | None = None) -> list[Any]:
        return []

    def watch(self, watcher: Any) -> None: ...


def portfolio(account: Account, prices: Prices) -> Portfolio:
    return Portfolio(account, NoOrders(), prices, list, "USDT")  # type: ignore[arg-type]


def test_equity_values_all_balances_at_the_bid() -> None:
    held = portfolio(Account(USDT="100", BTC="2", ETH="0"), Prices(BTC=50.0))
    assert held.account_equity() == 200
    assert (held.account_cash(), held.free("BTC"), held.free("XRP")) == (100, 1, 0)


def test_a_missing_price_makes_equity_unknown() -> None:
    assert portfolio(Account(USDT="100", BTC="2"), Prices()).account_equity() is None


def test_what_no_bot_claims_is_unassigned_with_no_value_where_there_is_no_price() -> None:
    rows = portfolio(Account(USDT="100", BTC="2", XRP="3.50"), Prices(BTC=50.0)).unassigned()
    assert rows == [
        {"asset": "BTC", "quantity": "2", "value": "100.00"},
        {"asset": "XRP", "quantity": "3.5", "value": ""},
    ]


def test_exposure_is_positions_and_open_remainders_of_entries(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        def start(context: Any) -> None:
            context.buy(D(1))
            context.buy(D(2), D(50))

        bot = small.add(by_hooks(Hooks(start=start)))
        small.add(by_hooks(Hooks()), "idle")
        await small.play(2)
        view = small.world.portfolio
        assert view.position_value(bot) == 100
        assert view.gross_exposure() == view.symbol_exposure("BTC/USDT") == 100 + 100
        assert view.symbol_exposure("ETH/USDT") == 0
        small.world.market.quote = lambda symbol: None  # type: ignore[method-assign]
        assert (view.gross_exposure(), view.position_value(bot), view.account_equity()) == (None, None, None)
        shown = small.world.views.portfolio(None)
        assert (shown["equity"], shown["positions_value"], shown["account_equity"]) == (None, None, None)
        assert shown["return_pct"] is None and shown["exposure_pct"] is None
        assert small.world.views.bot_row(bot)["equity"] is None

    run(script)


def test_labels_match_all_that_is_wanted() -> None:
    assert labels_match({"a": "1", "b": "2"}, {"a": "1"}) and labels_match({}, {})
    assert not labels_match({"a": "1"}, {"a": "1", "b": "2"})
