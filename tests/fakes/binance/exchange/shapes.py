"""The JSON of REST answers about orders, trades and the account, field by field as Binance sends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.fakes.binance.exchange.matching import Fees
from tests.fakes.binance.exchange.orders import STOPS, ZERO, Order, OrderList, Trade, money

Row = dict[str, Any]


def placed(order: Order, response: str, fills: Iterable[Trade] | None = None) -> Row:
    """Return the answer to a new order: ACK, RESULT or FULL."""
    row: Row = {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "transactTime": order.updated_ms,
    }
    if response == "ACK":
        return row
    row |= _amounts(order)
    row |= _conditional(order)
    row["workingTime"] = order.working_ms
    if response == "FULL":
        row["fills"] = [_fill(trade) for trade in (order.trades if fills is None else fills)]
    row["selfTradePreventionMode"] = order.asked.self_trade
    return row


def cancelled(order: Order) -> Row:
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_id,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.cancel_id,
        "transactTime": order.updated_ms,
        **_amounts(order),
        **_conditional(order),
        "selfTradePreventionMode": order.asked.self_trade,
    }


def queried(order: Order) -> Row:
    return {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "price": money(order.price),
        "origQty": money(order.quantity),
        "executedQty": money(order.executed),
        "cummulativeQuoteQty": money(order.quote),
        "status": order.status,
        "timeInForce": order.asked.time_in_force,
        "type": order.type,
        "side": order.side,
        "stopPrice": money(order.asked.stop_price),
        "icebergQty": money(ZERO),
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": order.working,
        "workingTime": order.working_ms,
        "origQuoteOrderQty": money(order.asked.quote_quantity),
        **{key: value for key, value in _conditional(order).items() if key != "stopPrice"},
        "selfTradePreventionMode": order.asked.self_trade,
    }


def _amounts(order: Order) -> Row:
    return {
        "price": money(order.price),
        "origQty": money(order.quantity),
        "executedQty": money(order.executed),
        "origQuoteOrderQty": money(order.asked.quote_quantity),
        "cummulativeQuoteQty": money(order.quote),
        "status": order.status,
        "timeInForce": order.asked.time_in_force,
        "type": order.type,
        "side": order.side,
    }


def _conditional(order: Order) -> Row:
    row: Row = {}
    if order.type in STOPS:
        row["stopPrice"] = money(order.asked.stop_price)
    if order.asked.trailing_delta:
        row["trailingDelta"] = order.asked.trailing_delta
        row["trailingTime"] = order.created_ms if order.extreme is not None else -1
    if order.asked.strategy_id is not None:
        row["strategyId"] = order.asked.strategy_id
    if order.asked.strategy_type is not None:
        row["strategyType"] = order.asked.strategy_type
    if order.expiry:
        row["expiryReason"] = order.expiry
    return row


def _fill(trade: Trade) -> Row:
    return {
        "price": money(trade.price),
        "qty": money(trade.quantity),
        "commission": money(trade.commission),
        "commissionAsset": trade.commission_asset,
        "tradeId": trade.id,
    }


def my_trade(trade: Trade) -> Row:
    return {
        "symbol": trade.symbol,
        "id": trade.id,
        "orderId": trade.order_id,
        "orderListId": trade.list_id,
        "price": money(trade.price),
        "qty": money(trade.quantity),
        "quoteQty": money(trade.quote),
        "commission": money(trade.commission),
        "commissionAsset": trade.commission_asset,
        "time": trade.time_ms,
        "isBuyer": trade.buys,
        "isMaker": trade.maker,
        "isBestMatch": True,
    }


def order_list(pair: OrderList, legs: Iterable[Order], time_ms: int, reports: list[Row] | None = None) -> Row:
    """Return an order list, with reports of its orders where they are given."""
    row: Row = {
        "orderListId": pair.id,
        "contingencyType": "OCO",
        "listStatusType": "ALL_DONE" if pair.state == "ALL_DONE" else "EXEC_STARTED",
        "listOrderStatus": pair.state,
        "listClientOrderId": pair.client_id,
        "transactionTime": time_ms,
        "symbol": pair.symbol,
        "orders": [{"symbol": leg.symbol, "orderId": leg.id, "clientOrderId": leg.client_id} for leg in legs],
    }
    if reports is not None:
        row["orderReports"] = reports
    return row


def account(
    balances: Mapping[str, tuple[Decimal, Decimal]], fees: Fees, updated_ms: int, uid: int, *, can_trade: bool,
    omit_zero: bool,
) -> Row:  # fmt: skip
    rates = {"maker": money(fees.maker), "taker": money(fees.taker), "buyer": money(ZERO), "seller": money(ZERO)}
    return {
        "makerCommission": int(fees.maker * 10_000),
        "takerCommission": int(fees.taker * 10_000),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": rates,
        "canTrade": can_trade,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": updated_ms,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": money(free), "locked": money(locked)}
            for asset, (free, locked) in balances.items()
            if free or locked or not omit_zero
        ],
        "permissions": ["SPOT"],
        "uid": uid,
    }


def commission(symbol: str, fees: Fees) -> Row:
    none = dict.fromkeys(("maker", "taker", "buyer", "seller"), money(ZERO))
    return {
        "symbol": symbol,
        "standardCommission": {**none, "maker": money(fees.maker), "taker": money(fees.taker)},
        "specialCommission": none,
        "taxCommission": none,
        "discount": {
            "enabledForAccount": fees.in_bnb,
            "enabledForSymbol": True,
            "discountAsset": "BNB",
            "discount": money(fees.discount),
        },
    }
