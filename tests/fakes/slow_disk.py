"""A disk that takes its time: preloaded before libc, every sync of a file of the ledger waits so long."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void wait_for(int fd) {
    char link[64], name[4096];
    const char *wait_us = getenv("BOTD_SLOW_SYNC_US");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length <= 0 || !wait_us) return;
    name[length] = 0;
    if (strstr(name, "ledger")) usleep(atoi(wait_us));
}

int fsync(int fd) {
    wait_for(fd);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
    wait_for(fd);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"""


def why_not() -> str:
    """Return why no disk can be slowed down here, empty where one can."""
    return "" if shutil.which("cc") else "no C compiler (cc) to build the slow disk with"


def slow_disk(directory: Path, sync_ms: float) -> dict[str, str]:
    """Build the library; return the variables that bring a process under it."""
    directory.mkdir(parents=True, exist_ok=True)
    source, library = directory / "slow_disk.c", directory / "slow_disk.so"
    source.write_text(SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, capture_output=True)
    return {"LD_PRELOAD": str(library), "BOTD_SLOW_SYNC_US": str(round(sync_ms * 1000))}
