"""API keys: what they may do, and what they sign with. Values only."""

from __future__ import annotations

import string
from dataclasses import dataclass

_LETTERS = string.ascii_letters + string.digits


def made_key(name: str) -> str:
    """Return a key of the exchange's form (64 letters and digits) that begins with a name."""
    return (name + _LETTERS * 2)[:64]


@dataclass(frozen=True)
class ApiKey:
    """``secret``: of an HMAC key; ``public``: the 32 bytes of an Ed25519 one."""

    key: str
    secret: str = ""
    public: bytes = b""
    reads: bool = True
    trades: bool = True
    withdraws: bool = False
    transfers: bool = False
    ip_bound: bool = True

    def restrictions(self, created_ms: int) -> dict[str, object]:
        """Return the answer of ``apiRestrictions``."""
        off = (
            "enableMargin", "enableFutures", "permitsUniversalTransfer", "enableVanillaOptions",
            "enablePortfolioMarginTrading", "enableFixApiTrade", "enableFixReadOnly",
        )  # fmt: skip
        return {
            "ipRestrict": self.ip_bound,
            "createTime": created_ms,
            "enableReading": self.reads,
            "enableSpotAndMarginTrading": self.trades,
            "enableWithdrawals": self.withdraws,
            "enableInternalTransfer": self.transfers,
            **dict.fromkeys(off, False),
        }


DEFAULT_KEY = ApiKey(made_key("frontkey"), secret=made_key("frontsecret"))
