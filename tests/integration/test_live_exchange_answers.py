"""Every answer that Binance may give to an order call, through real HTTP; and no secret in any log."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from botd import logs as botd_logs
from botd.config import from_mapping
from botd.domain.clock import WallClock
from botd.domain.order import OrderStatus
from botd.exchange.binance.outcomes import Operation, Outcome
from botd.exchange.remote import QueryFailedError
from tests.fakes.binance import BinanceFront
from tests.fakes.binance.exchange import DEFAULT_KEY, ExchangeFault, named
from tests.fakes.binance_answers import ANSWERS, GivenAnswer
from tests.fakes.live_account import BTC, LiveAccount, account, play, venue

METHODS = {Operation.CREATE: "POST", Operation.CANCEL: "DELETE", Operation.QUERY: "GET"}
TOLD = {
    Outcome.PLACED: OrderStatus.OPEN,
    Outcome.REJECTED: OrderStatus.REJECTED,
    Outcome.RETRY_LATER: OrderStatus.REJECTED,
}


class Written:
    """All that was logged, as it would be without any redaction, and through botd's own logs at debug."""

    def __init__(self, directory: Path) -> None:
        self._raw = io.StringIO()
        self._handler = logging.StreamHandler(self._raw)
        self._handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self._root = logging.getLogger()
        names = (None, "botd", "ccxt", "aiohttp", "asyncio")
        self._levels = {name: logging.getLogger(name).level for name in names}
        config = from_mapping({"state_dir": str(directory), "log": {"level": "debug"}})
        self.logs = botd_logs.start(config, clock=WallClock(), environ={}, stderr=None)
        for name in names:
            logging.getLogger(name).setLevel(logging.DEBUG)
        self._root.addHandler(self._handler)
        self._text = ""

    def text(self) -> str:
        """End the logs, and return what is in them."""
        if self._text:
            return self._text
        self._root.removeHandler(self._handler)
        self.logs.close()
        logging.captureWarnings(False)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        self._text = f"{self._raw.getvalue()}\n{self.logs.path().read_text()}"
        return self._text


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    found = Written(tmp_path)
    yield found
    found.text()


def fault(given: GivenAnswer, operation: Operation) -> ExchangeFault:
    return ExchangeFault(
        kind="error", method=METHODS[operation], path="/api/v3/order", times=1, effect=False,
        status=given.status, code=given.code, message=given.message, how=given.how,
    )  # fmt: skip


async def ask(live: LiveAccount, operation: Operation, client_order_id: str) -> str:
    """Do one thing, and return what was told of it: a status, ``doubt``, or what the question returned."""
    if operation is Operation.QUERY:
        try:
            return "none" if await live.exchange.find_order(BTC, client_order_id) is None else "order"
        except QueryFailedError as error:
            return error.message.partition(": HTTP")[0]
    if operation is Operation.CREATE:
        live.exchange.submit(live.order(kind="limit", price="50000", client_order_id=client_order_id))
    else:
        live.exchange.know({client_order_id: BTC})
        live.exchange.cancel(client_order_id)
    await live.until(lambda: live.doubts or live.reports)
    return "doubt" if live.doubts else live.reports[-1].status.value


def expected(outcome: Outcome, operation: Operation) -> str:
    if operation is Operation.CANCEL:
        return "doubt"
    if operation is Operation.CREATE:
        return TOLD.get(outcome, OrderStatus.UNKNOWN).value
    return "none" if outcome is Outcome.NO_SUCH_ORDER else f"order: {outcome}"


async def told_wrongly(
    front: BinanceFront, operation: Operation, note: Callable[[LiveAccount], None]
) -> dict[str, Any]:
    """Return it by the name of the answer. Each row meets a botd that was never banned before."""
    wrong: dict[str, Any] = {}
    faults = []
    async with account(front, start=False) as first:
        listing = await first.site.load_listing()
    for number, given in enumerate(ANSWERS):
        if given.code and not given.message:
            continue  # the front has words for every code
        async with account(front, start=False) as live:
            live.site._listing = listing
            faults.append(front.exchange.inject(fault(given, operation)))
            told = await ask(live, operation, f"L-7-{number}")
            await live.until(lambda: not live.exchange.statistics()["orders"]["under_way"])
            front.exchange.mend(faults[-1])
            outcome = given.outcome(operation)
            counted = {name for name, count in live.exchange.statistics()["orders"].items() if count}
            if told != expected(outcome, operation) or (operation is not Operation.QUERY and counted != {outcome}):
                wrong[given.name] = (outcome, told, counted)
            note(live)
    return wrong


@pytest.mark.parametrize("operation", list(Operation), ids=str)
def test_every_answer_is_told_as_what_it_proves(operation: Operation, written: Written) -> None:
    async def scene() -> None:
        asyncio.get_running_loop().set_debug(True)
        reasons: list[str] = []

        def note(live: LiveAccount) -> None:
            reasons.extend(report.reason for report in live.reports)
            reasons.extend(reason for _, reason in live.doubts)
            reasons.append(str(live.exchange.statistics()) + live.exchange.detail + repr(live.exchange))

        async with venue() as front:
            assert await told_wrongly(front, operation, note) == {}
            assert front.exchange.books.orders == {}
            signatures = {
                value
                for seen in front.record.requests
                for name, value in seen.parameters.items()
                if name == "signature"
            }
        text = written.text() + "\n".join(reasons)
        canaries = {DEFAULT_KEY.key, DEFAULT_KEY.secret, *signatures}
        assert len(signatures) > 60
        assert [canary for canary in canaries if canary in text] == []

    play(scene, 60)


@pytest.mark.parametrize(
    "name, changes",
    [
        ("accept_then_timeout", {}),
        ("lost_request", {}),
        ("cut_before", {}),
        ("cut_after", {}),
        ("200_truncated", {}),
        ("200_html", {}),
        ("200_empty", {}),
        ("5xx_with_effect", {}),
        ("503_unknown_with_effect", {}),
        ("-1006_with_effect", {}),
        ("-1007_with_effect", {}),
        ("slow_answer", {"delay_ms": 700}),
    ],
)
def test_what_does_not_come_back_whole_proves_nothing(name: str, changes: dict[str, Any], written: Written) -> None:
    async def scene() -> None:
        async with venue() as front, account(front, start=False, timeout_s=0.3) as live:
            await live.site.load_listing()
            resting = live.submit(kind="limit", price="50000")
            await live.settled(resting)
            front.exchange.inject(named(name, times=1, method="POST", **changes))
            order = live.submit(kind="limit", price="40000")
            report = await live.settled(order)
            assert report.status is OrderStatus.UNKNOWN
            assert report.reason
            again = 2 if name.startswith("cut") else 1  # what may be sent twice is, when its connection was cut
            front.exchange.inject(named(name, times=again, method="DELETE", **changes))
            live.exchange.cancel(resting)
            await live.until(lambda: live.doubts)
            assert live.doubts[0][0] == resting
            front.exchange.inject(named(name, times=again, method="GET", **changes))
            with pytest.raises(QueryFailedError):
                await live.exchange.find_order(BTC, resting)
            assert len([seen for seen in front.record.requests if seen.method == "POST"]) == 2
            text = written.text() + report.reason + live.doubts[0][1]
            assert not any(canary in text for canary in (DEFAULT_KEY.key, DEFAULT_KEY.secret, "signature="))

    play(scene)


def test_what_never_left_is_a_refusal() -> None:
    async def scene() -> None:
        async with venue() as front, account(front, start=False) as live:
            await live.site.load_listing()
            await front.stop()
            report = await live.settled(live.submit())
            assert report.status is OrderStatus.REJECTED
            assert report.reason.startswith("not sent: /api/v3/order: no connection")
            live.exchange.know({"L-7-99": BTC})
            live.exchange.cancel("L-7-99")
            await live.until(lambda: live.doubts)
            assert live.doubts[0][1].startswith("cancel: not sent: ")
            assert live.exchange.statistics()["orders"]["not_sent"] == 2
            assert live.site.governor.used == 20  # exchangeInfo: what never left weighs nothing

    play(scene)


def test_nothing_is_sent_while_the_exchange_wants_silence() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            front.exchange.inject(named("418", times=1, method="POST"))
            first = await live.settled(live.submit())
            assert (first.status, first.reason[:18]) == (OrderStatus.REJECTED, "turned away: -1003")
            asked = len(front.record.requests)
            second = await live.settled(live.submit(purpose="exit"))
            assert second.status is OrderStatus.REJECTED
            assert second.reason.startswith("not sent: 418")
            with pytest.raises(QueryFailedError, match="418"):
                await live.exchange.find_open_orders(BTC)
            assert len(front.record.requests) == asked
            assert not live.exchange.is_ready() and "418" in live.exchange.unreliable

    play(scene)


def test_too_many_orders_silence_orders_and_nothing_else() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            resting = live.submit(kind="limit", price="50000")
            await live.settled(resting)
            front.exchange.inject(named("-1015", times=1, method="POST"))
            assert (await live.settled(live.submit())).reason.startswith("turned away: -1015")
            assert live.exchange.is_ready()
            late = live.submit()  # waits for the next window of ten seconds
            live.exchange.cancel(resting)
            await live.until(lambda: OrderStatus.CANCELED in live.statuses(resting))
            assert await live.exchange.find_open_orders(BTC) == []
            assert live.told(late) == []

    play(scene)


def test_most_requests_failing_makes_the_exchange_unreliable() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            assert live.exchange.unreliable == ""
            done = front.exchange.inject(named("503_unknown_without_effect", method="GET"))
            for _ in range(12):
                with pytest.raises(QueryFailedError):
                    await live.exchange.find_open_orders(BTC)
            assert "requests of the last minute failed" in live.exchange.unreliable
            assert live.exchange.status == "degraded"
            front.exchange.mend(done)
            for _ in range(20):
                await live.exchange.find_open_orders(BTC)
            assert live.exchange.unreliable == ""

    play(scene)
