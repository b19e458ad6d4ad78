"""Verbs that read: rows of the living bots, and the ledger's lists."""

from __future__ import annotations

from typing import Any

from botd.bot.bot import Bot
from botd.control.arguments import nearest
from botd.control.services import Services
from botd.domain.clock import rfc3339
from botd.domain.errors import InvalidError
from botd.domain.order import OrderStatus

PAGE = 500
CANDLES_A_PAGE, MOST_CANDLES = 2_000, 50_000  # more would hold up the loop; a month of minutes is 44,640
TOP_EVENTS = 30


class InspectHandlers:
    """One method a verb."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._records = services.records

    async def ls(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        chosen = args.names or args.labels
        names = services.names(args) if chosen else list(services.orchestrator.bots)
        rows = [services.views.bot_row(services.orchestrator.get(name)) for name in names]
        if not chosen:
            rows += [services.views.removed_row(record) for record in services.orchestrator.broken.values()]
        if args.removed:
            rows += [services.views.removed_row(record) for record in await services.archive.removed()]
        return _paged(rows, args.cursor, args.limit)

    async def show(self, args: Any, caller: Any) -> dict[str, Any]:
        return self._services.views.details(self._services.orchestrator.get(args.name))

    async def stats(self, args: Any, caller: Any) -> dict[str, Any]:
        bots = self._bots(args.names)
        return {"rows": [await self._records.of(bot) for bot in bots]}

    async def portfolio(self, args: Any, caller: Any) -> dict[str, Any]:
        return self._services.views.portfolio(self._records.fleet_drawdown_pct())

    async def positions(self, args: Any, caller: Any) -> dict[str, Any]:
        return {"rows": [self._services.views.position_row(bot) for bot in self._bots(args.names) if bot.holds]}

    async def why(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        bot = services.orchestrator.get(args.name)
        if args.at is None:
            last = bot.last_decision or await services.archive.decision(bot, None)
            return services.views.why(bot, last)
        return services.views.why(bot, await services.archive.decision(bot, args.at), args.at)

    async def health(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        status, checks = services.health.report()
        identity = services.identity()
        states: dict[str, int] = {}
        for bot in services.orchestrator.bots.values():
            states[bot.state.value] = states.get(bot.state.value, 0) + 1
        by_name, details = {check["name"]: check for check in checks}, services.details()
        return {
            "status": status,
            "trading": services.views.trading_state(),
            **{key: identity[key] for key in ("version", "pid", "uptime_s", "mode", "source")},
            "exchange": {**details["exchange"], **by_name["exchange"]},
            "market": {**services.desk.market.statistics(), **services.market_status(), **by_name["market"]},
            "redis": by_name.get("redis"),
            "ledger": services.archive.statistics(),
            "loop": services.lag.statistics(),
            "log": details["log"],
            "bots": {"total": len(services.orchestrator.bots), **states},
            "orders": services.desk.gateway.statistics(),
            "risk": services.risk.statistics(),
            "evaluations": services.desk.evaluator.statistics(),
            "checks": checks,
        }

    async def prices(self, args: Any, caller: Any) -> dict[str, Any]:
        self._services.require_symbols(*(args.symbols or ()))
        return {"rows": self._services.views.prices(args.symbols)}

    async def symbols(self, args: Any, caller: Any) -> dict[str, Any]:
        seen = {row["symbol"]: row for row in self._services.views.prices(None)}
        rows = []
        for symbol, grid in self._services.parser.symbols.items():
            state = seen.get(
                symbol, {"price": None, "age_s": None, "stale": True, "lanes": [], "gaps": 0, "incomplete": {}}
            )
            rows.append(
                {
                    "symbol": symbol,
                    "base": grid.base,
                    "quote": grid.quote,
                    "tick": f"{grid.tick:f}",
                    "step": f"{grid.step:f}",
                    "min_notional": f"{grid.min_notional:f}",
                    "status": grid.status,
                    **{key: state[key] for key in ("price", "age_s", "stale", "lanes", "gaps", "incomplete")},
                    "source": self._services.views.source,
                }
            )
        return {"rows": rows}

    async def candles(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        services.require_market()
        services.require_symbols(args.symbol)
        if (args.limit or 0) > MOST_CANDLES:
            raise InvalidError(f"at most {MOST_CANDLES:,} candles are told at once", "give a smaller -n")
        window = services.desk.market.window(args.symbol, args.interval, args.limit or MOST_CANDLES)
        if not len(window) and not services.desk.market.candle_feed:
            raise InvalidError(f"no bot follows {args.symbol} {args.interval}", "candles are kept for lanes in use")
        # A cursor is the open time of the next candle: what closes between two pages moves nothing.
        first = int(window.time.searchsorted(max(args.since or 0, _position(args.cursor))))
        end = first + CANDLES_A_PAGE
        rows = [
            {
                "time": rfc3339(int(window.time[i])),
                **{key: repr(float(getattr(window, key)[i])) for key in ("open", "high", "low", "close", "volume")},
            }
            for i in range(first, min(end, len(window)))
        ]
        return {"rows": rows, "next": str(int(window.time[end])) if end < len(window) else None}

    # -- the ledger's lists

    async def orders(self, args: Any, caller: Any) -> dict[str, Any]:
        if args.status is not None and args.status not in tuple(OrderStatus):
            raise InvalidError(f"no order has the status {args.status!r}", nearest(args.status, list(OrderStatus)))
        more = {"symbol": args.symbol, "status": args.status, "open_only": args.open}
        return await self._list(self._services.archive.orders, args, **more)

    async def fills(self, args: Any, caller: Any) -> dict[str, Any]:
        return await self._list(self._services.archive.fills, args, symbol=args.symbol)

    async def trades(self, args: Any, caller: Any) -> dict[str, Any]:
        page = await self._list(self._services.archive.trades, args, symbol=args.symbol)
        if page["next"] is None and args.until is None:
            page["rows"] += [
                self._services.archive.open_trade(bot)
                for bot in self._services.orchestrator.bots.values()
                if bot.holds and args.name in (None, bot.name) and args.symbol in (None, bot.spec.symbol)
            ]
        return page

    async def equity(self, args: Any, caller: Any) -> dict[str, Any]:
        return await self._list(self._services.archive.equity, args)

    async def events(self, args: Any, caller: Any) -> dict[str, Any]:
        archive = self._services.archive
        limit = args.limit or PAGE
        last = limit if args.since_seq is None and args.since is None and args.cursor is None else None
        wanted = {"since_seq": args.since_seq, "since_ms": args.since, "topics": args.topics}
        rows, cursor = await archive.events(**wanted, cursor=args.cursor, limit=limit, last=last)
        for row in rows:
            row["epoch"] = archive.epoch
        return {"rows": rows, "next": cursor, "seq": archive.event_seq, "epoch": archive.epoch}

    async def top(self, args: Any, caller: Any) -> dict[str, Any]:
        services = self._services
        events, _ = await services.archive.events(last=TOP_EVENTS)
        return {
            "bots": [services.views.bot_row(bot) for bot in services.orchestrator.bots.values()],
            "portfolio": services.views.portfolio(self._records.fleet_drawdown_pct()),
            "prices": services.views.prices(None),
            "health": await self.health(args, caller),
            "events": events,
            "market": services.market_status(),
        }

    # -- inside

    def _bots(self, names: list[str]) -> list[Bot]:
        """Return the named bots, all where none is named."""
        orchestrator = self._services.orchestrator
        return [orchestrator.get(name) for name in names] if names else list(orchestrator.bots.values())

    async def _list(self, query: Any, args: Any, **more: Any) -> dict[str, Any]:
        rows, cursor = await query(
            args.name,
            since_ms=args.since,
            until_ms=args.until,
            cursor=args.cursor,
            limit=args.limit or PAGE,
            last=args.last,
            **more,
        )
        return {"rows": rows, "next": cursor}


def _paged(rows: list[dict[str, Any]], cursor: str | None, limit: int | None) -> dict[str, Any]:
    start = _position(cursor)
    end = start + (limit or PAGE)
    return {"rows": rows[start:end], "next": str(end) if end < len(rows) else None}


def _position(cursor: str | None) -> int:
    if cursor is not None and not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 16):
        raise InvalidError(f"{cursor!r} is not a cursor", "give back what the last page said, or none")
    return int(cursor or 0)
