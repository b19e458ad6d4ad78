"""A Binance spot exchange on loopback: real sockets, the wire's rules, a market whose truth is known, and faults.

    front = await BinanceFront(["BTCUSDT"], clock=ManualClock()).start()     # .rest_url, .ws_url, .record, .market
    await front.advance(60_000)
    front.inject(Fault(kind="half_open"))
    front.market.truth("BTCUSDT", "1m", start, end)

The rooms, from inside out: ``bars walk tables capture`` (the truth), ``market candle_market streams payloads`` (what
is said of it), ``clock pump`` (when), ``faults fault_frames`` (what goes wrong), ``hub connection commands`` (streams),
``rest rest_gate limits`` (REST), ``front thread __main__`` (how it runs), ``tls`` (production urls), ``steering`` (from
another process). Orders, signed requests and user data: :mod:`tests.fakes.binance.exchange`.
"""

from tests.fakes.binance.candle_market import CandleMarket
from tests.fakes.binance.capture import ReplayMarket
from tests.fakes.binance.clock import FollowedClock, ManualClock, RunningClock
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.binance.faults import Fault, FaultPlan
from tests.fakes.binance.front import BinanceFront
from tests.fakes.binance.rules import Rules
from tests.fakes.binance.streams import Pace
from tests.fakes.binance.tables import TableBars
from tests.fakes.binance.thread import FrontThread

__all__ = [
    "BinanceFront",
    "CandleMarket",
    "Exchange",
    "Fault",
    "FaultPlan",
    "FollowedClock",
    "FrontThread",
    "ManualClock",
    "Pace",
    "ReplayMarket",
    "Rules",
    "RunningClock",
    "TableBars",
]
