"""A disk whose writes and syncs fail on demand, under a process of ours: a small library preloaded before libc."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("disk_shim.c")
KILL = 0
"""Instead of an error: the process dies, a write half done."""


def why_not() -> str:
    """Return why no disk can be made to fail here, empty where one can."""
    return "" if shutil.which("cc") else "no C compiler (cc) to build the failing disk with"


class FailingDisk:
    """The library, built in ``directory``; ``environment`` brings a process under it."""

    def __init__(self, directory: Path, library: Path | None = None) -> None:
        self.library = library or directory / "disk_shim.so"
        self.fault = directory / "fault"
        self.log = directory / "disk.log"
        if library is not None:
            return
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", self.library, SOURCE, "-ldl"]
        subprocess.run(command, check=True, capture_output=True)

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the process."""
        return {"LD_PRELOAD": str(self.library), "BOTD_DISK_FAULT": str(self.fault), "BOTD_DISK_LOG": str(self.log)}

    def fail(self, operation: str, error: int, suffix: str, *, skip: int = 0, times: int = 0) -> None:
        """From now on fail a file's write, sync or truncate: ``skip`` calls pass, ``times`` fail (0: until healed)."""
        aside = self.fault.with_suffix(".new")
        aside.write_text(f"{operation} {error} {suffix} {skip} {times}\n")
        os.replace(aside, self.fault)

    def heal(self) -> None:
        """Fail no more."""
        self.fault.unlink(missing_ok=True)

    def calls(self) -> list[tuple[str, int, str, int]]:
        """Return what was asked of the disk so far: (operation, descriptor, file, result)."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        parts = [line.split() for line in lines]
        return [(part[0], int(part[1]), part[2], int(part[3])) for part in parts if len(part) == 4]
