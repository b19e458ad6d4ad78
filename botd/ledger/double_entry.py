"""Double entry: what a fill moves, as postings that sum to zero for each asset.

    buy 1 BTC at 100, fee 0.1 USDT    bot +1 BTC, market -1 BTC; bot -100 USDT, market +100 USDT;
                                      bot -0.1 USDT, fees +0.1 USDT

A fill says all there is to say, so postings are made from fills whenever they are asked for, and never kept beside
them to differ from them. Pure: no prices, no clocks, no database.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from botd.domain.amounts import EXACT
from botd.domain.instrument import ZERO, split_symbol
from botd.domain.order import Fill, Side

MARKET, FEES = "market", "fees"
"""Accounts beside the bots': the other side of a trade, and who takes the fees."""


class Posting(NamedTuple):
    """One line: an account gets (positive) or gives an amount of an asset."""

    account: str
    asset: str
    amount: Decimal


def bot_account(number: int) -> str:
    """Return the name of a bot's account."""
    return f"bot:{number}"


def postings(fill: Fill) -> list[Posting]:
    """Return what a fill moves. Fees are in any asset; the bot pays them."""
    base, quote = split_symbol(fill.symbol)
    owner = bot_account(fill.bot)
    notional = EXACT.multiply(fill.quantity, fill.price)
    sign = 1 if fill.side is Side.BUY else -1
    lines = [
        *_pair(owner, MARKET, base, EXACT.multiply(fill.quantity, Decimal(sign))),
        *_pair(owner, MARKET, quote, EXACT.multiply(notional, Decimal(-sign))),
    ]
    if fill.fee:
        lines += _pair(owner, FEES, fill.fee_asset, EXACT.minus(fill.fee))
    return lines


def balances(lines: Iterable[Posting]) -> dict[tuple[str, str], Decimal]:
    """Return what each account has of each asset."""
    sums: dict[tuple[str, str], Decimal] = {}
    for account, asset, amount in lines:
        sums[account, asset] = EXACT.add(sums.get((account, asset), ZERO), amount)
    return sums


def moved(lines: Iterable[Posting], asset: str) -> Decimal:
    """Return by how much the account on the exchange changed in an asset: all postings of ours together."""
    ours = (line.amount for line in lines if line.asset == asset and line.account not in (MARKET, FEES))
    total = ZERO
    for amount in ours:
        total = EXACT.add(total, amount)
    return total


def _pair(account: str, other: str, asset: str, amount: Decimal) -> list[Posting]:
    return [Posting(account, asset, amount), Posting(other, asset, EXACT.minus(amount))]
