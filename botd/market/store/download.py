"""History from an exchange into the candle store, over REST: what is missing is asked for, nothing else.

So a download that ended early (Ctrl-C, kill -9, a cut line) goes on where it stopped when it is started again: what
is stored is the memory. A candle is taken when it is proven closed (:mod:`botd.market.by_ccxt.candle_poll`). A hole
that lies before a candle the exchange gave is known to be a hole, and is not asked for again. Half of the weight that
the exchange grants a minute is left to whoever trades from this address; 429 and 418 are waited out, with no request
meanwhile. ccxt speaks to the exchange; this page never signs anything.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from botd.domain.candle import Candle, bucket_start, interval_ms
from botd.domain.candles import Candles
from botd.domain.clock import Clock, rfc3339
from botd.domain.errors import BotdError, BusyError, InvalidError, NotFoundError, UnavailableError
from botd.domain.hints import did_you_mean
from botd.market.by_ccxt.candle_poll import CandleDesk
from botd.market.by_ccxt.ccxt_client import candle_of
from botd.market.candles import window_of
from botd.market.feed import PROOF_MS
from botd.market.store.candle_rows import Span, fault_of
from botd.market.store.candle_store import CandleStore, Written

PAGE = 1000  # rows in one answer, the most that Binance gives
WEIGHT_A_MINUTE = 3000
"""Of the 6000 that Binance grants an address."""

_USED = "x-mbx-used-weight-1m"
_MINUTE_MS = 60_000
_LONGEST_WAIT_S = 600.0  # a ban that lasts longer is told, not waited out
_RETRIES = 6  # in a row, and bans in a row
_KEEP_ROWS = 20_000  # loaded ones are stored after so many
_KEEP_S = 2.0  # or after so long
_BANNED = (418, 429)
_AGAIN = "do the same again later: it goes on where it stopped"

Tell = Callable[[int, int, str], None]
"""(candles done, of so many, what is waited for): progress for people."""


@dataclass(slots=True)
class Downloaded:
    """What a download did. ``odd`` counts rows of the exchange that are no candles and were left out."""

    written: Written
    requests: int = 0
    waited_s: float = 0.0
    odd: int = 0


class Gate:
    """One request at a time, never one too many: weight, bans and retries.

    ``attach`` makes it see every answer of a ccxt client.
    """

    def __init__(self, clock: Clock, say: Callable[[str], None], before_wait: Callable[[], None]) -> None:
        self._clock = clock
        self._say = say
        self._before_wait = before_wait
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._bans = 0
        self.body: Any = None
        """The last answer as it came, decoded; None where it was no JSON."""
        self._banned_by: tuple[type[Exception], ...] = ()
        self._network: tuple[type[Exception], ...] = ()
        self.requests = 0
        self.waited_s = 0.0

    def attach(self, client: Any) -> None:
        """Look at status and headers of every answer."""
        ccxt = importlib.import_module("ccxt")
        self._banned_by = (ccxt.DDoSProtection, ccxt.RateLimitExceeded)
        self._network = (ccxt.NetworkError,)
        inner = client.on_rest_response

        def look(
            code: int, reason: str, url: str, method: str, headers: Mapping[str, str], body: str, *rest: Any
        ) -> Any:
            self._status = code
            self._headers = {name.lower(): value for name, value in headers.items()}
            try:
                self.body = msgspec.json.decode(body)
            except (msgspec.DecodeError, UnicodeEncodeError):
                self.body = None
            return inner(code, reason, url, method, headers, body, *rest)

        client.on_rest_response = look

    async def ask(self, what: Callable[[], Awaitable[Any]]) -> Any:
        """Return the answer; waits for what the exchange says, tries again where the line is bad.

        Raises BusyError for a ban that lasts longer than ten minutes, UnavailableError after the last try.
        """
        failures = 0
        while True:
            self._status, self._headers = 0, {}
            self.requests += 1
            try:
                answer = await what()
            except BotdError:
                raise
            except Exception as error:  # ccxt raises anything on a broken answer; each is waited out the same
                if self._status in _BANNED or isinstance(error, self._banned_by):
                    await self._wait_out()
                    continue
                failures += 1
                if failures > _RETRIES or not self._may_help(error):
                    raise UnavailableError(f"the exchange does not answer: {_short(error)}", _AGAIN) from None
                await self._wait(min(0.5 * 2**failures, 30.0), f"no answer ({type(error).__name__}), again")
                continue
            self._bans = 0
            await self._leave_weight()
            return answer

    def _may_help(self, error: Exception) -> bool:
        """Tell whether the same request may succeed later: not where the exchange refused it as wrong."""
        refused = 400 <= self._status < 500 and self._status != 408
        return not refused and (isinstance(error, self._network) or self._status in (0, 200) or self._status >= 500)

    async def _wait_out(self) -> None:
        text = self._headers.get("retry-after", "")
        seconds = float(text) if text.isdigit() else 120.0 if self._status == 418 else 60.0
        self._bans += 1
        if seconds > _LONGEST_WAIT_S or self._bans > _RETRIES:
            until = rfc3339(bucket_start(self._clock.wall_ms(), 1000) + int(seconds * 1000))
            raise BusyError(f"the exchange refuses this address until {until} (HTTP {self._status})", _AGAIN)
        await self._wait(seconds + 0.5, f"the exchange asks to wait (HTTP {self._status})")

    async def _leave_weight(self) -> None:
        text = self._headers.get(_USED, "")
        if text.isdigit() and int(text) >= WEIGHT_A_MINUTE:
            left_ms = _MINUTE_MS - self._clock.wall_ms() % _MINUTE_MS
            await self._wait(left_ms / 1000 + 1, f"request weight {text} used in this minute")

    async def _wait(self, seconds: float, why: str) -> None:
        self._before_wait()
        self._say(f"{why}; {seconds:.0f} s")
        self.waited_s += seconds
        await self._clock.sleep(seconds)
        self._say("")


class Download:
    """One download into one lane. What is loaded is kept for a moment, then stored; :meth:`run` stores the rest
    however it ends."""

    def __init__(self, store: CandleStore, client: Any, clock: Clock, symbol: str, interval: str, tell: Tell) -> None:
        self._store = store
        self._client = client
        self._clock = clock
        self._symbol = symbol
        self._interval = interval
        self._length = interval_ms(interval)
        self._tell = tell
        self._desk = CandleDesk(client, clock)
        self._gate = Gate(clock, self._say, self._keep)
        self._done = self._total = self._odd = 0
        self._replace = False
        self._loaded: list[Candle] = []
        self._asked: Span | None = None
        self._kept_s = clock.monotonic()
        self._written = Written()

    async def run(self, from_ms: int, to_ms: int | None, *, replace: bool = False) -> Downloaded:
        """Load what is missing of [from, to) (``replace``: everything again) and return what that was."""
        self._replace = replace
        self._gate.attach(self._client)
        await self._gate.ask(self._client.load_markets)
        self._check_symbol()
        await self._gate.ask(self._desk.measure_time)
        closed = bucket_start(self._desk.server_ms() - PROOF_MS, self._length)
        start = from_ms + -from_ms % self._length
        end = closed if to_ms is None else min(closed, to_ms + -to_ms % self._length)
        if start >= end:
            until = rfc3339(closed if to_ms is None else min(closed, to_ms))
            raise InvalidError(
                f"no {self._interval} candle from {rfc3339(from_ms)} on is closed yet", f"those before {until} are"
            )
        spans = [(start, end)] if replace else self._store.missing(self._symbol, self._interval, start, end)
        self._total = sum(last - first for first, last in spans) // self._length
        try:
            for span in spans:
                if not await self._load(span):
                    break
        finally:
            self._keep()
        self._tell(self._done, self._total, "")
        return Downloaded(self._written, self._gate.requests, self._gate.waited_s, self._odd)

    async def _load(self, span: Span) -> bool:
        """Load one span; False when the exchange has nothing from here on."""
        at, end = span
        while at < end:
            limit = min(PAGE, (end - at) // self._length + 1)
            rows = await self._gate.ask(lambda at=at, limit=limit: self._page(at, limit))  # type: ignore[misc]
            reached = bucket_start(rows[-1].open_time, self._length) + self._length if rows else at
            if reached > at:
                # A hole before the first row is known only where the exchange would have filled it.
                begin = at if self._gives_the_next() else bucket_start(rows[0].open_time, self._length)
                reached = min(end, reached)
                self._take([row for row in rows if at <= row.open_time < end], (min(begin, reached), reached))
                at = reached
            elif self._gives_the_next():
                return False
            else:
                at += PAGE * self._length  # others answer for the time asked only
        return True

    async def _page(self, at: int, limit: int) -> list[Candle]:
        rows = await self._client.fetch_ohlcv(self._symbol, self._interval, at, limit)
        told = self._gate.body
        # ccxt makes nothing of HTML, of truncated JSON and of rows it cannot read, as if there were no candles.
        if self._gives_the_next() and not (isinstance(told, list) and len(told) == len(rows)):
            raise ValueError(f"{str(told)[:60]!r} is no list of candles")
        return sorted((candle_of(row) for row in rows), key=lambda candle: candle.open_time)

    def _gives_the_next(self) -> bool:
        """Tell whether an empty answer means that nothing comes later: Binance gives the next there are."""
        return str(self._client.id).startswith("binance")

    def _take(self, candles: list[Candle], asked: Span) -> None:
        if self._asked is not None and self._asked[1] != asked[0]:
            self._keep()
        self._loaded += candles
        self._asked = (self._asked[0] if self._asked else asked[0], asked[1])
        self._done += (asked[1] - asked[0]) // self._length
        self._tell(self._done, self._total, "")
        if len(self._loaded) >= _KEEP_ROWS or self._clock.monotonic() - self._kept_s > _KEEP_S:
            self._keep()

    def _keep(self) -> None:
        """Store what is loaded."""
        if self._asked is not None:
            rows, span = self._sound(), self._asked
            self._loaded, self._asked = [], None
            self._written += self._store.write(self._symbol, self._interval, rows, replace=self._replace, asked=span)
        self._kept_s = self._clock.monotonic()

    def _sound(self) -> Candles:
        """Return the loaded candles without those that cannot be: each costs a hole, and is counted.

        An outage can move candles off the grid by some seconds: they are set back on it.
        """
        whole = window_of(self._interval, self._loaded)
        if not fault_of(whole):
            return whole
        kept: dict[int, Candle] = {}
        for candle in self._loaded:
            begin = bucket_start(candle.open_time, self._length)
            moved = msgspec.structs.replace(candle, open_time=begin)
            if begin in kept or fault_of(window_of(self._interval, [moved])):
                self._odd += 1
            else:
                kept[begin] = moved
        return window_of(self._interval, [kept[begin] for begin in sorted(kept)])

    def _check_symbol(self) -> None:
        if self._symbol in self._client.markets:
            if self._interval in (self._client.timeframes or {self._interval: ""}):
                return
            raise InvalidError(f"{self._client.id} has no {self._interval} candles")
        hint = did_you_mean(self._symbol, self._client.markets)
        raise NotFoundError(f"{self._symbol}: no such symbol at {self._client.id}", hint)

    def _say(self, note: str) -> None:
        self._tell(self._done, self._total, note)


def _short(error: Exception) -> str:
    """Return an error of ccxt in a line, without the rest of the page that it may quote."""
    return f"{type(error).__name__} {' '.join(str(error).split())}"[:200].strip()
