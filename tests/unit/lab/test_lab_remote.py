"""A sweep on a Dask cluster: a real scheduler and two workers on loopback, a worker that is killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from botd.backtest.history import from_candles
from botd.backtest.sweep import Set
from botd.domain.errors import InvalidError
from botd.lab.remote import DaskPlayer, parts
from botd.lab.work import Payload, payload_of, play_part
from botd.strategy.registry import Registry
from tests.fakes.input_strategies import write_trend
from tests.unit.lab.conftest import Lab

LANE = ("--symbol", "BTC/USDT", "--interval", "1m")
ROOT = Path(__file__).parents[3]
CLUSTER = """
import asyncio, sys
from distributed import Scheduler, Worker
async def main():
    if sys.argv[1] == "scheduler":
        node = Scheduler(host="127.0.0.1", port=int(sys.argv[2]), dashboard=False)
    else:
        node = Worker(sys.argv[2], host="127.0.0.1", nthreads=1, dashboard=False)
    async with node:
        print("ready", flush=True)
        await node.finished()
asyncio.run(main())
"""


class Cluster:
    """A scheduler and workers, each a process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.processes = [self._begin("scheduler", str(port))]
        self._until_ready(self.processes)
        self.workers = [self._begin("worker", self.address) for _ in range(2)]
        self.processes += self.workers
        self._until_ready(self.workers)

    def _begin(self, *words: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_TEMPORARY_DIRECTORY": str(self._folder)}
        return subprocess.Popen(
            [sys.executable, "-c", CLUSTER, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    @staticmethod
    def _until_ready(processes: list[subprocess.Popen[str]]) -> None:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"

    def end(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="distributed is not installed (extra lab)")
    running = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        yield running
    finally:
        running.end()


def test_what_a_strategy_reads_besides_goes_along_to_a_cluster(lab: Lab, cluster: Cluster) -> None:
    write_trend(lab.home / "strategies")
    words = ("sweep", "trend", "--symbol", "ETH/USDT", "--interval", "1m", "--range", "slow=2:5", "--fresh")
    assert lab.json(*words, "--dask", cluster.address) == lab.json(*words)


def test_a_cluster_gives_the_same_to_the_last_bit_and_a_killed_worker_costs_only_time(
    lab: Lab, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "up = talib.SMA(close, self.period)\nreturn Signals(close > up * self.share, close < up)"
    own = lab.strategy("mine", body, "200")
    words = ("sweep", own, *LANE, "--range", "period=5:64", "--range", "share=0.99,1,1.01", "--fresh", "--top", "200")
    here = lab.json(*words)
    assert lab.json(*words, "--dask", cluster.address) == here
    monkeypatch.setattr("botd.lab.remote.PART_ROWS", 20_000)  # many small parts: the kill comes in the middle
    victim, played = cluster.workers[0], DaskPlayer.play

    def killing(player: DaskPlayer, sets: Any) -> Any:
        for count, one in enumerate(played(player, sets)):
            if not count:
                victim.kill()
            yield one

    monkeypatch.setattr(DaskPlayer, "play", killing)
    assert lab.json(*words, "--dask", cluster.address) == here
    assert victim.wait(10) == -9


def test_a_cluster_that_is_not_there_is_unavailable(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed (extra lab)")
    monkeypatch.setattr("botd.lab.remote._CONNECT_S", 0.5)
    done = lab.run("sweep", "rsi", *LANE, "--range", "period=5:9", "--dask", "tcp://127.0.0.1:9")
    assert done.code == 69 and "tcp://127.0.0.1:9: no Dask scheduler answers" in done.err
    assert done.err.count("\n") == 2


def test_parts_cover_all_sets_and_are_small_enough_to_lose() -> None:
    sets = [Set() for _ in range(1000)]
    for candles, workers in ((100, 1), (1_000_000, 2), (50_000_000, 8), (10, 4000)):
        cut = list(parts(sets, candles, workers))
        assert [first for first, _ in cut] == [sum(len(part) for _, part in cut[:k]) for k in range(len(cut))]
        assert sum(len(part) for _, part in cut) == 1000
        assert all(len(part) * candles <= max(20_000_000, candles) for _, part in cut)


def test_another_version_of_the_rules_is_refused(lab: Lab) -> None:
    payload: Any = payload_of(from_candles(lab.candles, "BTC/USDT"), Registry.standard().load("rsi"))
    assert play_part(payload, [Set({"period": 7})])[0][0] is not None
    other = Payload(payload.history, payload.strategy, payload.source, "other")
    with pytest.raises(InvalidError, match="another version of botctl"):
        play_part(other, [Set()])
    with pytest.raises(InvalidError, match="a worker has another version"):
        play_part(Payload(payload.history, "rsi", b"# other", payload.rules), [Set()])


def test_without_dask_it_says_how_to_get_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "botd.lab.tpe", raising=False)
    for words, package in ((("--dask", "tcp://127.0.0.1:9"), "distributed"), (("--tpe", "5"), "optuna")):
        done = lab.run("sweep", "rsi", *LANE, "--range", "period=5:9", *words)
        assert done.code == 69 and f"needs {package}, which is not installed" in done.err and "[lab]" in done.err
    done = lab.run("backtest", "rsi", *LANE, "--plot", "p.png")
    assert done.code == 69 and "needs matplotlib, which is not installed" in done.err
    assert json.loads(lab.run("backtest", "rsi", *LANE, "-o", "json").out)["trades"]
