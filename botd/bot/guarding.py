"""Where the levels of a position are kept, as its protection knows it, and the words for people. It decides nothing."""

from __future__ import annotations

from typing import NamedTuple


class Guarding(NamedTuple):
    """``place`` of the stop: exchange, botd, or placing; of the ``target``: exchange or botd. ``detail`` says why not
    on the exchange, ``seconds`` for how long the stop was neither there nor declared to be botd's."""

    place: str = "botd"
    seconds: float = 0.0
    target: str = "botd"
    detail: str = ""

    def told(self, *, stop: bool, target: bool) -> str:
        """Return what guards a position that has these levels; empty where it has none."""
        if not stop:
            return "botd watches the target" if target else ""
        if self.place == "exchange" and target and self.target == "exchange":
            return "stop and target rest on the exchange"
        beside = ", botd watches the target" if target else ""
        words = {
            "exchange": f"the stop rests on the exchange{beside}",
            "placing": f"the stop is on its way to the exchange, botd guards {'stop and target' if target else 'it'}",
            "botd": f"botd guards {'stop and target' if target else 'the stop'}",
        }[self.place]
        return f"{words}: {self.detail}" if self.detail else words
