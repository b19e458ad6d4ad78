"""The campaign of kills: a real botd killed at every failpoint, inside writes and syncs, and at random times.

After each round of kills the market is played on undisturbed and the books must be those of a run that nobody
disturbed; every command that was answered must have been kept, and botd must be READY within 5 s each time.
"""

from __future__ import annotations

import contextlib
import errno
import random
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botctl.client import Client
from botctl.exit_codes import Fault
from botd.ledger import audit
from botd.ledger.tables import ALL
from tests.e2e.conftest import Botd
from tests.kill.failing_disk import KILL, FailingDisk, why_not
from tests.kill.worlds import World, books, cursor, differences, rows, unsound

READY_S = 5.0
SPEED = 12_000
"""Of the market while kills go on: 200 candles a second."""
NEW_IN_2 = ("audit", "adjustments")
"""Tables that schema version 1 had not."""
BIRTHS = ("ledger.before_birth", "ledger.after_birth", "audit.before_key")
COMMITS = ("ledger.before_commit", "ledger.after_commit")
MIGRATIONS = ("migration.before_copy", "migration.after_copy", "migration.before_commit", "migration.after_commit")
BACKUPS = ("backup.before_copy", "backup.before_rename", "backup.after_rename")
_TORN = (("write", "-wal", 60), ("write", "-wal", 600), ("sync", "-wal", 12), ("write", ".db", 40), ("sync", ".db", 2))
_FAULTS = (errno.ENOSPC, errno.EIO, errno.EROFS)


class Campaign:
    """Counts and findings over all rounds. ``wrong`` is empty where everything held."""

    def __init__(self, home: Path, seed: int, report: Callable[[str], None]) -> None:
        self.home = home
        self.dice = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest_s = 0.0
        self.slowest_allowed_s = READY_S
        self.fills = 0
        self.starts = 0
        self.acknowledged = 0
        self._report = report
        self._rounds = 0
        self._calm: dict[str, Victim] = {}
        self.disk = None if why_not() else FailingDisk(home)

    @property
    def kills(self) -> int:
        """How many kills there were."""
        return sum(count for name, count in self.counts.items() if not name.startswith("disk"))

    def round(self, world: World, kills: int) -> None:
        """Kill a botd of ``world`` so often, play on, and compare with the undisturbed run."""
        self._rounds += 1
        home = self.home / f"r{self._rounds}"
        begun = self.kills
        victim = Victim(home, world, self)
        try:
            victim.births()
            victim.populate()
            while self.kills - begun < kills - 1:  # and one at the end
                victim.cycle()
            victim.finish()
        finally:
            victim.end()
        self._compare(victim)
        shutil.rmtree(home)

    def say(self, what: str) -> None:
        """Keep a finding."""
        self.wrong.append(what)
        self._report(what)

    def saw_ready(self, seconds: float, how: str) -> None:
        """Count a start."""
        self.starts += 1
        self.slowest_s = max(self.slowest_s, seconds)
        if seconds > self.slowest_allowed_s:
            self.say(f"READY only after {seconds:.1f} s ({how})")

    def _compare(self, victim: Victim) -> None:
        path, world = victim.path, victim.world
        up_to = cursor(path)
        calm = self._calm_run(world, up_to)
        name = f"round {self._rounds} ({world.name})"
        for said in [*unsound(path), *differences(books(path, world, up_to), books(calm, world, up_to))]:
            self.say(f"{name}: {said}")
        self.fills += len(rows(path, "SELECT id FROM fills"))
        for copy in (victim.botd.state_dir / "backups").glob("ledger-*.db"):
            with contextlib.closing(sqlite3.connect(copy)) as connection:
                if connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                    self.say(f"{name}: backup {copy.name} is not sound")
        parts = sorted(part.name for part in (victim.botd.state_dir / "backups").glob("*.part"))
        if len(parts) > 1:  # the last one may have been killed, what was before it is cleared
            self.say(f"{name}: unfinished backups are left: {parts}")

    def _calm_run(self, world: World, up_to: int) -> Path:
        """Return the ledger of a botd that nobody disturbed, played at least as far."""
        calm = self._calm.get(world.name)
        if calm is None:
            calm = self._calm[world.name] = Victim(self.home / f"calm-{world.name}", world, self, speed=0)
            calm.populate()
        if not calm.path.exists() or cursor(calm.path) < up_to:
            calm.play_on(up_to)
        return calm.path

    def close(self) -> None:
        """End what still runs."""
        for calm in self._calm.values():
            calm.close()


class Victim:
    """One botd over many lives."""

    def __init__(self, home: Path, world: World, campaign: Campaign, speed: float = SPEED) -> None:
        self.world = world
        self.botd = Botd(home, world.config(speed))
        self.path = self.botd.state_dir / "ledger.db"
        self._campaign = campaign
        self._dice = campaign.dice
        self._client = Client(str(self.botd.socket))
        self._kept: set[str] = set()
        """Bots whose creation was answered and whose removal was not asked for."""
        self._gone: set[str] = set()
        """Bots whose removal was answered."""
        self._probes = 0

    # -- its lives

    def births(self) -> None:
        """Kill it before it ever ran: the next start makes what is missing."""
        for point in BIRTHS:
            self._live(point, 1, patience_s=0)

    def populate(self) -> None:
        """Create the bots, in order, on a market that stands still; then let it play."""
        self._start()
        for spec in self.world.bots:
            self._call("create", {"spec": spec, "start": True})
        self._call("market.play", {})

    def cycle(self) -> None:
        """One life that ends in a kill."""
        self.end()
        dice, kind = self._dice, self._dice.random()
        if kind < 0.30:
            self._live_and_die_at_random()
        elif kind < 0.60:
            self._live(dice.choice(COMMITS), dice.randint(1, 25), patience_s=2)
        elif kind < 0.80 and self._campaign.disk is not None:
            self._torn(self._campaign.disk)
        elif kind < 0.84:
            self._live("ledger.before_prune", dice.randint(1, 3), patience_s=3)
        elif kind < 0.90:
            self._live(dice.choice(BACKUPS), 1, patience_s=5, then=lambda: self._call("backup", {"verify": True}))
        elif kind < 0.92:
            point = dice.choice(("ledger.before_checkpoint", "ledger.after_checkpoint"))
            self._live(point, 1, patience_s=10)
        else:
            downgrade(self.path)
            self._live(dice.choice(MIGRATIONS), 1, patience_s=0)

    def finish(self) -> None:
        """Let it be: play to the end, or stand still where it is; then end it in order, and kill it at the very end."""
        self.end()
        self.botd.environment["BOTD_FAILPOINT"] = "audit.before_anchor:1"
        if self.world.ends:
            self.botd.configure(self.world.config(0))
            self._start()
            self._look_after()
            self._until(lambda: self._call("market.status", {})["state"] == "ended", 120)
        else:
            self._start()
            self._look_after()
            self._call("market.pause", {})
        self.botd.process.terminate()
        self._dies(20)
        self._kill("audit.before_anchor")

    def play_on(self, up_to: int) -> None:
        """Play at full speed to the end, and end in order; a market that never ends: to a time, and stand still."""
        if self.world.ends:
            self._until(lambda: self._call("market.status", {})["state"] == "ended", 120)
            self.close()
            return
        self._call("market.play", {})
        self._until(lambda: self._call("market.status", {})["time"] > up_to, 120)
        self._call("market.pause", {})

    # -- ways to die

    def _live_and_die_at_random(self) -> None:
        if self._dice.random() < 0.2:  # before it is READY
            self._spawn()
            time.sleep(self._dice.uniform(0.05, 0.5))
            self._kill("at random, starting")
            return
        self._start()
        self._look_after()
        until = time.monotonic() + self._dice.uniform(0.02, 0.6)
        while time.monotonic() < until:
            self._probe()
        self._kill("at random")

    def _live(self, point: str, passage: int, *, patience_s: float, then: Callable[[], Any] | None = None) -> None:
        """Live with a failpoint armed; ``patience_s`` 0: it dies before it is READY."""
        self.botd.environment["BOTD_FAILPOINT"] = f"{point}:{passage}"
        try:
            self._spawn()
            if patience_s and self._ready(point):
                with contextlib.suppress(Fault):  # it died meanwhile
                    self._look_after()
                    self._probe()
                    if then is not None:
                        then()
            reached = self._dies(patience_s or 10)
        finally:
            del self.botd.environment["BOTD_FAILPOINT"]
        self._kill(point if reached else f"{point} (not reached)")

    def _torn(self, disk: FailingDisk) -> None:
        """Die inside a write or a sync, or meet errors for a while; then die."""
        self.botd.environment.update(disk.environment)
        disk.log.unlink(missing_ok=True)
        operation, suffix, most = self._dice.choice(_TORN)
        try:
            if suffix == ".db":
                disk.fail(operation, KILL, suffix, skip=self._dice.randrange(most), times=1)
            self._spawn()
            if self._ready(f"{operation} {suffix}"):
                with contextlib.suppress(Fault):
                    self._look_after()
                    self._probe()  # answered: its start is over, in which a disk that fails is a reason to end
                    if self._dice.random() < 0.4:
                        self._meet_errors(disk)
                    if suffix != ".db":
                        disk.fail(operation, KILL, suffix, skip=self._dice.randrange(most), times=1)
                    self._probe()
            reached = self._dies(1.5)
        finally:
            disk.heal()
            for name in disk.environment:
                del self.botd.environment[name]
        self._kill(f"inside {operation} {suffix}" if reached else f"inside {operation} {suffix} (not reached)")

    def _meet_errors(self, disk: FailingDisk) -> None:
        """Have the disk fail for a moment: it refuses, then goes on by itself."""
        error, operation = self._dice.choice(_FAULTS), self._dice.choice(("write", "sync"))
        disk.fail(operation, error, "-wal", skip=self._dice.randrange(4))
        with contextlib.suppress(Fault):
            self._probe()
        time.sleep(0.1)
        disk.heal()
        self._until(lambda: self._ledger_is_well(), 10)
        self._campaign.counts[f"disk gives {errno.errorcode[error]} on {operation}"] += 1

    def _ledger_is_well(self) -> bool:
        checks = self._call("health", {})["checks"]
        return next(check["status"] for check in checks if check["name"] == "ledger") != "failed"

    # -- what it must remember

    def _probe(self) -> None:
        """Create a bot that does nothing, and remove the one before; note what was answered."""
        self._probes += 1
        name = f"probe-{self._probes}"
        spec = {**self.world.bots[0], "name": name}
        self._call("create", {"spec": spec})
        self._kept.add(name)
        self._campaign.acknowledged += 1
        if len(self._kept) > 2:
            old = sorted(self._kept)[0]
            self._kept.discard(old)
            self._call("rm", {"names": [old]})
            self._gone.add(old)
            self._campaign.acknowledged += 1

    def _look_after(self) -> None:
        """Is everything there that was answered?"""
        names = {row["name"] for row in self._call("ls", {})["rows"]}
        for name in [*(spec["name"] for spec in self.world.bots), *self._kept]:
            if name not in names:
                self._campaign.say(f"{name} was created and answered, and is not there after the kill")
        for name in self._gone & names:
            self._campaign.say(f"{name} was removed and answered, and is there after the kill")

    # -- process

    def _start(self) -> None:
        self._spawn()
        if not self._ready("in order"):
            raise AssertionError(f"botd does not start:\n{self.botd.log()}")

    def _spawn(self) -> None:
        self._begun = time.monotonic()
        self.botd.start(wait=False)

    def _ready(self, how: str) -> bool:
        """Wait until it answers; False when it died before."""
        while self.botd.process.poll() is None:
            try:
                self._call("ping", {})
            except Fault:
                time.sleep(0.005)
                if time.monotonic() - self._begun > 30:
                    raise
                continue
            self._campaign.saw_ready(time.monotonic() - self._begun, how)
            return True
        if self.botd.process.returncode != -9:
            raise AssertionError(f"botd ended with {self.botd.process.returncode} ({how}):\n{self.botd.log()[-900:]}")
        return False

    def _dies(self, patience_s: float) -> bool:
        try:
            self.botd.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        if (code := self.botd.process.returncode) != -9:
            self._campaign.say(f"botd ended with {code}:\n{self.botd.log()[-600:]}")
        return True

    def _kill(self, how: str) -> None:
        self._client.close()
        self.botd.kill()
        self._campaign.counts[how] += 1

    def end(self) -> None:
        """Kill it if it lives."""
        if self.botd.process is not None and self.botd.process.poll() is None:
            self._kill("at random")

    def close(self) -> None:
        """End it in order."""
        self._client.close()
        if (code := self.botd.stop()) != 0:
            self._campaign.say(f"botd ended with {code}:\n{self.botd.log()[-600:]}")

    def _call(self, cmd: str, args: dict[str, Any]) -> Any:
        end = time.monotonic() + 15
        while True:
            try:
                return self._client.call(cmd, args, timeout_s=15)
            except Fault as fault:
                if "not ready yet" not in fault.message or time.monotonic() > end:
                    self._client.close()
                    raise
            time.sleep(0.02)  # READY comes before the market: nothing was begun

    def _until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.05)
        raise AssertionError(f"not within {timeout_s} s:\n{self.botd.log()}")


def downgrade(path: Path) -> None:
    """Make a ledger one of schema version 1: the next start must upgrade it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] == 1:
            return
        for table in ALL:
            if table.name in NEW_IN_2:
                connection.execute(f"DROP TABLE {table.name}")
            elif table.checked:
                connection.execute(f"ALTER TABLE {table.name} DROP COLUMN checksum")
        connection.execute("DROP INDEX IF EXISTS orders_exchange_order_id")
        connection.execute("DELETE FROM meta WHERE key LIKE 'unaudited%'")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    audit.anchors_path(path).unlink(missing_ok=True)
