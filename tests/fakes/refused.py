"""What a refusal looks like: one clear line, at most one hint below it, the right exit code, never a traceback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent


def refused(
    done: subprocess.CompletedProcess[str], code: int, says: str, hint: str = "", *, by: str = "botctl"
) -> None:
    """Check the exit code, the line of the error and, where ``hint`` is given, the line of the hint."""
    said = f"{done.args}\nexit {done.returncode}\nstdout: {done.stdout}\nstderr: {done.stderr}"
    assert done.returncode == code, said
    lines = done.stderr.splitlines()
    assert lines and lines[0].startswith(f"{by}: error: "), said
    assert re.search(says, lines[0]), said
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("  hint: ")), said
    if hint:
        assert len(lines) == 2 and re.search(hint, lines[1]), said
    assert done.stdout == "" and "Traceback" not in done.stderr, said


def run_botd(
    home: Path, *arguments: str, env: dict[str, str] | None = None, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run botd to its end, with nothing of this environment but the path."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {**kept, "HOME": str(home), **(env or {})}
    more = {"timeout": 30, "cwd": home, **more}
    return subprocess.run(
        [BIN / "botd", *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, **more
    )


def refuse_start(botd: Any, code: int, says: str, hint: str = "") -> None:
    """It says why and ends, and nothing is left running."""
    refused(run_botd(Path("/"), "--config", str(botd.config_file)), code, says, hint, by="botd")
    assert not is_running(botd)


def refuse_both_starts(botd: Any, code: int, says: str, hint: str = "") -> None:
    """``--daemon`` gives its caller the child's own reason and code."""
    refuse_start(botd, code, says, hint)
    refused(run_botd(Path("/"), "--daemon", "--config", str(botd.config_file)), code, says, hint, by="botd")
    assert not is_running(botd)


def is_running(botd: Any) -> bool:
    with socket.socket(socket.AF_UNIX) as stream:
        return stream.connect_ex(str(botd.socket)) == 0
