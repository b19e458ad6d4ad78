"""Verbs about the daemon itself: identity, logs, backup, reload, shutdown."""

from __future__ import annotations

import asyncio
from typing import Any

from botd.control.services import Services
from botd.domain.clock import rfc3339
from botd.domain.errors import NotFoundError


class DaemonHandlers:
    """One method a verb; ``commands`` are the names of all verbs, for ``hello``."""

    def __init__(self, services: Services, commands: list[str]) -> None:
        self._services = services
        self._commands = commands

    async def hello(self, args: Any, caller: Any) -> dict[str, Any]:
        return {**self._services.identity(), "commands": sorted(self._commands)}

    async def ping(self, args: Any, caller: Any) -> dict[str, Any]:
        return {"pong": True, "time": rfc3339(self._services.clock.wall_ms())}

    async def logs(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        path = services.log_file(args.name)
        if args.name and args.name not in services.orchestrator.bots and not path.exists():
            raise NotFoundError(f"{args.name}: no such bot, and no log of one", "see: botctl ls --removed")
        lines, cursor = await asyncio.to_thread(services.read_log, path, args.lines, args.since, args.cursor)
        return {"lines": lines, "cursor": cursor}

    async def backup(self, args: Any, caller: Any) -> dict[str, Any]:
        return await self._services.archive.backup(args.verify)

    async def reload(self, args: Any, caller: Any) -> dict[str, Any]:
        return self._services.reload()

    async def shutdown(self, args: Any, caller: Any) -> dict[str, Any]:
        self._services.shutdown()
        return {"stopping": True}
