"""The control plane: whole runs of botctl beside the peers' command lines, and round trips over the socket."""

from __future__ import annotations

import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import zmq

from tests.bench.echo import KINDS
from tests.bench.figures import Options, Row, median, quantile
from tests.bench.fleet import Wire, launch, listens, market, populate
from tests.bench.peers import Peer, PeersMissingError
from tests.bench.processes import running, whole_process_ms
from tests.e2e.conftest import BIN, Botd, clean_environment

BOTS, SYMBOLS = 200, 50
LS_JSON_MS, LS_TABLE_MS, SKELETON_MS = 45.0, 70.0, 36.0
P99_MS = 20.0
IN_FLIGHT, CONNECTIONS = 200, 4
ALLOWED_PER_S = 40


def run(options: Options) -> list[Row]:
    """Measure both."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        home = Path(directory)
        return [*whole_processes(home, 5 if options.quick else 25), *round_trips(home, 0.5 if options.quick else 2.0)]


# -- whole processes ------------------------------------------------------------------------------------------


def whole_processes(home: Path, rounds: int) -> list[Row]:
    """Return what a run of each command line takes, start to end, all in turns."""
    botd = Botd(home / "botd", market(SYMBOLS, speed=1, autoplay=True))
    botctl = [BIN / "botctl", "--endpoint", botd.socket]
    here = Path(__file__).parent
    commands: dict[str, list[str | Path]] = {
        "json": [*botctl, "ls", "-o", "json"],
        "table": [*botctl, "ls"],
        "python": [sys.executable, "-c", "pass"],
        "skeleton": [sys.executable, here / "skeleton.py", botd.socket],
    }
    missing = ""
    with contextlib.ExitStack() as stack:
        try:
            for peer in (Peer("circus", home / "circus"), Peer("supervisor", home / "supervisor")):
                stack.enter_context(peer.run())
                commands[peer.name] = peer.status
        except PeersMissingError as error:
            missing = str(error)
        try:
            launch(botd)
            with Wire(botd.socket) as wire:
                populate(wire, BOTS, SYMBOLS)
                taken = whole_process_ms(commands, rounds, clean_environment())
                trips = [trip * 1000 for trip in paced_trips(wire, 2 * rounds)]
        finally:
            botd.stop()
    times = {name: median(values) for name, values in taken.items()}
    return [*_process_rows(times, missing), *_paced_rows(trips)]


def _process_rows(times: dict[str, float], missing: str) -> list[Row]:
    peers = {"circus": "circusctl status", "supervisor": "supervisorctl status"}
    json_, table = f"botctl ls -o json, {BOTS} bots", f"botctl ls (table), {BOTS} bots"
    rows = []
    for peer, command in peers.items():
        if peer in times:
            rows.append(Row(json_, times["json"], "ms", f"{command}, 1 program", times[peer], LS_JSON_MS))
    rows.append(Row(json_, times["json"], "ms", "click + zmq skeleton, one ping", times["skeleton"], LS_JSON_MS))
    for peer, command in peers.items():
        if peer in times:
            rows.append(Row(table, times["table"], "ms", f"{command}, 1 program", times[peer], LS_TABLE_MS))
    # The bounds are those of a machine on which the skeleton takes 36 ms: as shares of it they hold on any.
    for told, name, bound in ((json_, "json", LS_JSON_MS), (table, "table", LS_TABLE_MS)):
        rows.append(Row(f"{told}, in skeletons", times[name] / times["skeleton"], "", bound=bound / SKELETON_MS))
    rows.append(Row("python -c pass", times["python"], "ms"))
    return [*rows, Row("circus, supervisor", None, note=missing)] if missing else rows


def _paced_rows(trips: list[float]) -> list[Row]:
    told = f"ls of {BOTS} bots through the socket"
    return [Row(f"{told}, p50", median(trips), "ms"), Row(f"{told}, p99", quantile(trips, 0.99), "ms", bound=P99_MS)]


def paced_trips(wire: Wire, count: int) -> Iterator[float]:
    """Ask for the list at a rate that botd allows one program; give the seconds of each round trip."""
    for _ in range(count):
        began = time.perf_counter()
        wire.call("ls", {"all": True})
        yield time.perf_counter() - began
        time.sleep(1 / ALLOWED_PER_S)


# -- round trips ----------------------------------------------------------------------------------------------


def round_trips(home: Path, seconds: float) -> list[Row]:
    """Return pings a second with one and with 200 in flight: botd's server beside bare sockets.

    The 200 come over four connections: a socket of botd keeps at most 100 answers for a peer.
    """
    rates: dict[str, dict[int, float]] = {kind: {} for kind in KINDS}
    with contextlib.ExitStack() as stack:
        wires: dict[str, list[Wire]] = {}
        for kind in KINDS:
            path = home / f"{kind}.sock"
            command: list[str | Path] = [sys.executable, "-m", "tests.bench.echo", kind, path]
            stack.enter_context(running(command, home / "echo.log", clean_environment()))
            while not listens(path):
                time.sleep(0.01)
            wires[kind] = [stack.enter_context(Wire(path)) for _ in range(CONNECTIONS)]
        for kind, open_wires in wires.items():
            rates[kind][1] = trips_per_second(open_wires[:1], 1, seconds)
            rates[kind][IN_FLIGHT] = trips_per_second(open_wires, IN_FLIGHT // CONNECTIONS, seconds)
    ours = rates.pop("botd")
    return [
        Row(f"pings a second, {in_flight} in flight", ours[in_flight], "/s", f"{kind} echo", rate[in_flight])
        for in_flight in (1, IN_FLIGHT)
        for kind, rate in rates.items()
    ]


def trips_per_second(wires: list[Wire], in_flight: int, seconds: float) -> float:
    """Keep so many pings under way on each connection; return answers a second."""
    requests = itertools.cycle([wires[0].request("ping") for _ in range(1000)])
    poller = zmq.Poller()
    for wire in wires:
        poller.register(wire.socket, zmq.POLLIN)
        for _ in range(in_flight):
            wire.socket.send_multipart(next(requests))
    began = time.perf_counter()
    waiting, answers = len(wires) * in_flight, 0
    while waiting:
        ready = poller.poll(2000)
        if not ready:
            raise RuntimeError(f"{waiting} answers did not come, {answers} came")
        ending = time.perf_counter() - began > seconds
        for socket, _ in ready:
            with contextlib.suppress(zmq.Again):
                for _ in range(in_flight):
                    socket.recv_multipart(zmq.NOBLOCK)
                    answers += 1
                    waiting -= 1
                    if not ending:
                        socket.send_multipart(next(requests))
                        waiting += 1
    return answers / (time.perf_counter() - began)
