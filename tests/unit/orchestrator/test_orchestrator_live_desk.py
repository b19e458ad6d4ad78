"""What ``reconcile`` says of an account: nothing before it was read, and then what matches."""

from __future__ import annotations

from typing import cast

import pytest

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
