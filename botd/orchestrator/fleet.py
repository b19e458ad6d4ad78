"""Fleets: many bots as one document. ``apply`` shows the difference, then does all of it or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from botd.domain.bot_spec import BotSpec
from botd.domain.errors import BotdError, InvalidError, WrongStateError
from botd.orchestrator.orchestrator import Orchestrator
from botd.orchestrator.specs import SpecParser, as_mapping, difference

_KEYS = "fraction|risk-per-trade|stop-loss|take-profit|trailing-stop|break-even|atr-stop|time-stop"
_OPTION = re.compile(rf"--({_KEYS})( (?=must|needs|[0-9]))?")


class Fleet:
    """Plans and applies fleet documents. Bots that the document does not name are left alone."""

    def __init__(self, orchestrator: Orchestrator, parser: SpecParser) -> None:
        self._orchestrator = orchestrator
        self._parser = parser

    def plan(self, documents: Iterable[Mapping[str, Any]]) -> list[tuple[BotSpec, dict[str, Any]]]:
        """Return (spec, {name, action, diff}) for each bot; raises on the first that cannot be."""
        planned: list[tuple[BotSpec, dict[str, Any]]] = []
        seen: set[str] = set()
        for document in documents:
            try:
                spec = self._parser.parse(document)
                if spec.name in seen:
                    raise InvalidError(f"{spec.name}: named twice in the fleet")
                planned.append((spec, self._change(spec)))
            except BotdError as error:
                raise in_document(str(document.get("name")), error) from None
            seen.add(spec.name)
        return planned

    def apply(self, planned: list[tuple[BotSpec, dict[str, Any]]]) -> None:
        """Carry out a plan; what could be refused has been checked by :meth:`plan`."""
        for spec, change in planned:
            if change["action"] == "create":
                self._orchestrator.create(spec, start=False, replace=False)
            elif change["action"] == "change":
                self._orchestrator.change(self._orchestrator.get(spec.name), spec)

    def export(self) -> list[dict[str, Any]]:
        """Return all bots as a document that ``apply`` takes."""
        return [as_mapping(bot.spec) for bot in self._orchestrator.bots.values()]

    def _change(self, spec: BotSpec) -> dict[str, Any]:
        existing = self._orchestrator.bots.get(spec.name)
        if existing is None:
            if spec.name in self._orchestrator.broken:
                raise WrongStateError(f"{spec.name}: exists, but {self._orchestrator.broken[spec.name].reason}")
            return {"name": spec.name, "action": "create", "diff": {}}
        changes = difference(existing.spec, spec)
        refusal = self._orchestrator.refusal_of_change(existing, spec)
        if refusal is not None:
            raise refusal
        return {"name": spec.name, "action": "change" if changes else "leave", "diff": changes}


def in_document(name: str, error: BotdError) -> BotdError:
    """Return an error in the words of a fleet's document: ``bot alpha: stop_loss: must be above 0 %``."""
    message = _OPTION.sub(_key, error.message.removeprefix(f"{name}: "))
    return type(error)(f"bot {name}: {message}", _OPTION.sub(_key, error.hint))


def _key(option: re.Match[str]) -> str:
    return option[1].replace("-", "_") + (": " if option[2] else "")


def action_row(name: str, before: str, after: str, detail: str = "", error: BotdError | None = None) -> dict[str, Any]:
    """Return the row that an action on one bot prints."""
    result = "failed" if error else "unchanged" if before == after else "changed"
    told = {"code": error.code, "message": error.message, "hint": error.hint} if error else None
    return {"name": name, "before": before, "after": after, "result": result, "detail": detail, "error": told}
