"""A sweep's parts on other processes: of this machine, or of a Dask cluster that exists already.

A part is lost when its worker dies; it is then played again elsewhere, so a killed worker costs only time. Nothing is
installed or started on a cluster: its workers must have this version of botctl.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from botd.backtest.sweep import Set
from botd.domain.errors import BotdError, InvalidError, UnavailableError
from botd.lab.ranking import Played
from botd.lab.work import Payload, play_part

PART_ROWS = 20_000_000
"""Candles times sets of a part: a second or so, so that little is lost with one."""
RETRIES = 20
_CONNECT_S = 10

_given: Payload | None = None


def parts(sets: Sequence[Set], candles: int, workers: int) -> Iterator[tuple[int, Sequence[Set]]]:
    """Yield (number of the first set, the sets of a part): small enough to lose, several a worker."""
    most = max(1, min(PART_ROWS // max(1, candles), -(-len(sets) // max(1, 3 * workers))))
    for first in range(0, len(sets), most):
        yield first, sets[first : first + most]


class ProcessPlayer:
    """Processes of this machine."""

    def __init__(self, processes: int, payload: Payload) -> None:
        if not 1 <= processes <= 256:
            raise InvalidError(f"--processes must be from 1 to 256, not {processes}")
        self._candles, self._processes = len(payload.history.candles), processes
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(processes, context, initializer=_take, initargs=(payload,))

    def play(self, sets: Sequence[Set]) -> Iterator[tuple[int, Played]]:
        """Yield what the sets give, part after part."""
        waiting: dict[Future[list[Played]], int] = {}
        for first, part in parts(sets, self._candles, self._processes):
            waiting[self._pool.submit(_play_given, part)] = first
        for done in as_completed(waiting):
            try:
                played = done.result()
            except BrokenProcessPool:
                raise UnavailableError(
                    "a process of the sweep died", "the same command goes on with the rest"
                ) from None
            for k, one in enumerate(played):
                yield waiting[done] + k, one

    def close(self, early: bool) -> None:
        """End the processes; what is played is not waited for when it ends ``early``."""
        self._pool.shutdown(wait=not early, cancel_futures=True)


class DaskPlayer:
    """The workers of an existing Dask cluster."""

    def __init__(self, address: str, payload: Payload) -> None:
        try:
            import distributed
        except ImportError:
            raise UnavailableError(
                "--dask needs distributed, which is not installed", "pip install 'botctl[lab]'"
            ) from None
        self._distributed: Any = distributed
        self._payload = payload
        try:
            self._client: Any = self._distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:  # TimeoutError is an OSError
            fact = str(error).split("\n")[0] or type(error).__name__
            raise UnavailableError(
                f"{address}: no Dask scheduler answers ({fact})", "dask scheduler --port 8786"
            ) from None
        if not self._client.scheduler_info()["workers"]:
            self._client.close()
            raise UnavailableError(f"{address}: the cluster has no worker", f"dask worker {address}")

    def play(self, sets: Sequence[Set]) -> Iterator[tuple[int, Played]]:
        """Yield what the sets give; a part whose worker dies is played by another."""
        client, payload = self._client, self._payload
        workers = sum(worker["nthreads"] for worker in client.scheduler_info()["workers"].values())
        waiting: dict[Any, int] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the candles travel with the tasks on purpose: they outlive any worker
            shared = client.submit(_same, payload, pure=False, retries=RETRIES)
            for first, part in parts(sets, len(payload.history.candles), workers):
                waiting[client.submit(play_part, shared, list(part), pure=False, retries=RETRIES)] = first
        for future in self._distributed.as_completed(list(waiting), loop=client.loop):
            try:
                played = future.result()
            except BotdError:
                raise
            except Exception as error:  # whatever the cluster says, it is what there is to tell
                raise UnavailableError(f"the Dask cluster failed: {type(error).__name__}: {error}") from None
            first = waiting.pop(future)
            for k, one in enumerate(played):
                yield first + k, one

    def close(self, early: bool) -> None:
        """Leave the cluster as it was; what is still asked for is taken back."""
        self._client.close()


def _same(payload: Payload) -> Payload:
    return payload


def _take(payload: Payload) -> None:
    global _given
    _given = payload


def _play_given(sets: Sequence[Set]) -> list[Played]:
    assert _given is not None
    return play_part(_given, sets)
