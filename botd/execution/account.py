"""What the exchange should hold for us: each asset's total by the fills, trades of others and transfers known.

Exact decimals, moved by what was reported only. It asks nothing and judges nothing: reconciliation compares.
The rows live in the ledger's keyed space, in the same transaction as the fills that moved them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from botd.domain.instrument import ZERO, split_symbol
from botd.domain.order import Fill, Side
from botd.exchange.remote import RemoteBalance, RemoteTrade

_EXPECTED, _CURSOR, _INFERRED = "expected:", "cursor:", "inferred:"
_MOST_INFERRED = 64


class AccountBook:
    """Expected totals by asset, and up to which trade each symbol was read."""

    def __init__(self) -> None:
        self.expected: dict[str, Decimal] = {}
        self.cursors: dict[str, str] = {}
        """The last trade taken into account, by symbol."""
        self.opened_ms: int | None = None
        """Since when the account is followed, None while it is not."""
        self.epoch = 0
        self._inferred: dict[tuple[str, int], Decimal] = {}
        """Transfers that nobody told of yet, by asset and when they were taken: one that is told late counts once."""
        self._changed: dict[str, str | None] = {}
        self._seen: dict[str, set[Decimal]] | None = None
        """Every total since :meth:`watch`, by asset, while somebody watches."""

    # -- what moves it

    def open(self, balances: Mapping[str, RemoteBalance], now_ms: int) -> None:
        """Begin with what the exchange holds."""
        self.opened_ms = now_ms
        self._changed["opened"] = str(now_ms)
        for asset in {*self.expected, *balances}:
            balance = balances.get(asset)
            self._set(asset, balance.total if balance else ZERO)

    def begin_anew(self, balances: Mapping[str, RemoteBalance], now_ms: int) -> None:
        """The exchange began anew: its trade ids count from one again, and nothing of before is there."""
        for symbol in list(self.cursors):
            self._changed[_CURSOR + symbol] = None
        self.cursors.clear()
        for key in list(self._inferred):
            self._forget(key)
        self.epoch += 1
        self._changed["epoch"] = str(self.epoch)
        self.open(balances, now_ms)

    def on_fill(self, fill: Fill) -> None:
        """Take a fill of ours."""
        self._trade(fill.symbol, fill.side, fill.quantity, fill.notional, fill.fee, fill.fee_asset)

    def on_external(self, trade: RemoteTrade) -> None:
        """Take a trade of somebody else on the same account."""
        notional = trade.quantity * trade.price
        self._trade(trade.symbol, trade.side, trade.quantity, notional, trade.fee, trade.fee_asset)

    def on_transfer(self, asset: str, amount: Decimal) -> None:
        """Take a deposit (positive) or a withdrawal."""
        self._add(asset, amount)

    def infer(self, asset: str, amount: Decimal, now_ms: int) -> None:
        """Remember, for as long as there are not too many, that a transfer was taken before anybody told of it."""
        self._inferred[asset, now_ms] = amount
        self._changed[f"{_INFERRED}{now_ms}:{asset}"] = f"{amount:f}"
        if len(self._inferred) > _MOST_INFERRED:
            self._forget(min(self._inferred, key=lambda key: key[1]))

    def was_inferred(self, asset: str, amount: Decimal, time_ms: int) -> bool:
        """Tell, once, whether a transfer that is told now was taken before, alone or in one sum with others."""
        whole = {
            key: taken
            for key, taken in self._inferred.items()
            if key[0] == asset and time_ms <= key[1] and taken * amount > 0 and abs(amount) <= abs(taken)
        }
        if not whole:
            return False
        key = min(whole, key=lambda key: (whole[key] != amount, key[1]))
        self._forget(key)
        if rest := whole[key] - amount:
            self.infer(asset, rest, key[1])
        return True

    def move_cursor(self, symbol: str, trade_id: str) -> None:
        """Remember that the trades of a symbol up to ``trade_id`` were taken."""
        self.cursors[symbol] = trade_id
        self._changed[_CURSOR + symbol] = trade_id

    # -- comparing

    def watch(self) -> None:
        """Remember every total from now on: balances read meanwhile may be those of any moment."""
        self._seen = {asset: {total} for asset, total in self.expected.items()}

    @property
    def has_moved(self) -> bool:
        """True where a total changed since :meth:`watch`: balances read since may be of before or after it."""
        return any(len(totals) > 1 for totals in (self._seen or {}).values())

    def differences(self, balances: Mapping[str, RemoteBalance], only: Iterable[str] = ()) -> dict[str, Decimal]:
        """Return by asset what the exchange holds beyond the total expected, where it was never that since
        :meth:`watch`; of the assets ``only``, where given."""
        assets = set(only) or {*self.expected, *balances}
        found: dict[str, Decimal] = {}
        for asset in sorted(assets):
            balance = balances.get(asset)
            total = balance.total if balance else ZERO
            expected = self.expected.get(asset, ZERO)
            seen = {expected} if self._seen is None else self._seen.get(asset, {ZERO}) | {expected}
            if total not in seen:
                found[asset] = total - expected
        return found

    # -- in the ledger

    def drain_changes(self) -> dict[str, str | None]:
        """Return the rows that changed since the last call."""
        changed, self._changed = self._changed, {}
        return changed

    def restore(self, rows: Mapping[str, str]) -> None:
        """Take up what :meth:`drain_changes` gave."""
        for key, value in rows.items():
            if key.startswith(_EXPECTED):
                self.expected[key.removeprefix(_EXPECTED)] = Decimal(value)
            elif key.startswith(_CURSOR):
                self.cursors[key.removeprefix(_CURSOR)] = value
            elif key.startswith(_INFERRED):
                time_ms, _, asset = key.removeprefix(_INFERRED).partition(":")
                self._inferred[asset, int(time_ms)] = Decimal(value)
        self.opened_ms = int(rows["opened"]) if "opened" in rows else None
        self.epoch = int(rows.get("epoch", "0"))

    # -- inside

    def _trade(self, symbol: str, side: Side, quantity: Decimal, notional: Decimal, fee: Decimal, paid: str) -> None:
        base, quote = split_symbol(symbol)
        sign = 1 if side is Side.BUY else -1
        moves = {base: sign * quantity, quote: -sign * notional}
        if fee:
            moves[paid] = moves.get(paid, ZERO) - fee
        for asset, amount in moves.items():
            self._add(asset, amount)

    def _forget(self, key: tuple[str, int]) -> None:
        del self._inferred[key]
        self._changed[f"{_INFERRED}{key[1]}:{key[0]}"] = None

    def _add(self, asset: str, amount: Decimal) -> None:
        if self.opened_ms is not None:  # before, the balances that it opens with include it
            self._set(asset, self.expected.get(asset, ZERO) + amount)

    def _set(self, asset: str, total: Decimal) -> None:
        self.expected[asset] = total
        self._changed[_EXPECTED + asset] = f"{total:f}" if total else None
        if self._seen is not None:
            self._seen.setdefault(asset, {ZERO}).add(total)
