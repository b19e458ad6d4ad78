"""Lists of the ledger over the wire: a cursor leads on, from the first row to the last, and none comes twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botd.control.arguments import decode
from botd.control.handlers_inspect import InspectHandlers
from botd.control.requests import COMMANDS
from botd.domain.events import Event
from tests.fakes.small_world import START, SmallWorld


def test_events_are_read_on_from_the_cursor_of_the_page_before(tmp_path: Path) -> None:
    async def go() -> None:
        small = SmallWorld(tmp_path)
        world = await small.begin()
        for number in range(7):
            world.journal.event(Event(topic="bot.state", time_ms=START + number))
        await world.settlement.commit()
        look = InspectHandlers(SimpleNamespace(archive=world.archive, records=None))  # type: ignore[arg-type]

        async def page(**asked: Any) -> dict[str, Any]:
            return await look.events(decode(COMMANDS["events"].schema, {"topics": ["bot"], **asked}), None)

        newest = await page(limit=3)
        assert [row["seq"] for row in newest["rows"]] == [newest["seq"] - 2, newest["seq"] - 1, newest["seq"]]
        told, asked = [], {"since_seq": 0, "limit": 3}
        while (found := await page(**asked))["next"]:
            told += found["rows"]
            asked["cursor"] = found["next"]
            assert len(told) <= 7
        told += found["rows"]
        assert len({row["seq"] for row in told}) == len(told) == 7
        await small.end()

    asyncio.run(go())
