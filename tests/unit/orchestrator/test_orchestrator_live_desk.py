"""What ``reconcile`` says of an account: nothing before it was read, and then what matches."""

from __future__ import annotations

from typing import cast

import pytest

from botd.domain.clock import VirtualClock
from botd.domain.errors import UnavailableError
from botd.exchange.remote import QueryFailedError
from botd.orchestrator.arming import Arming
from botd.orchestrator.live_desk import LiveDesk
from tests.fakes.remote_room import RemoteRoom, run


def test_an_account_that_was_not_read_yet_has_no_differences_but_is_said_to_be_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script() -> None:
        room = RemoteRoom(USDT="10000")
        desk = LiveDesk(cast(Arming, None), explain=room.reconciler.explain, name_of=str, reconciler=room.reconciler)

        async def refuse(*_: object) -> None:
            raise QueryFailedError("not signed in yet")

        with monkeypatch.context() as patch:
            patch.setattr(room.exchange, "find_balances", refuse)
            with pytest.raises(UnavailableError, match="not read yet"):
                await desk.reconcile(accept_reset=False, by="me")
        assert (await desk.reconcile(accept_reset=False, by="me"))["match"]

    run(script())


@pytest.mark.parametrize(
    ("paper", "fact", "hint"),
    [
        ("", "this botd trades on paper", "live wants mode: live and a state_dir of its own"),
        ("no key", "this botd trades on paper, not live: no key", "give one by keys_file or a systemd credential"),
        ("BINANCE_TEST_MODE is set", "on paper, not live: BINANCE_TEST_MODE is set", "unset it; live also wants"),
    ],
)
def test_arming_on_paper_names_what_live_lacks(paper: str, fact: str, hint: str) -> None:
    arming = Arming(VirtualClock(), lambda event: None, mode="paper", testnet=False, key="", paper=paper)
    with pytest.raises(UnavailableError) as caught:
        arming.arm(max_capital=None, for_ms=None, by="me")
    assert caught.value.message.endswith(fact) and caught.value.hint.startswith(hint)
    assert arming.status()["detail"].startswith("this botd trades on paper") and paper in arming.status()["detail"]
