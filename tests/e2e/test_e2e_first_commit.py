"""A disk that fails at the very first writes: botd ends and says why, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Botd
from tests.fakes.refused import is_running, refused, run_botd


@pytest.mark.parametrize("place", ["ledger.before_birth", "audit.before_key", "ledger.before_commit"])
@pytest.mark.parametrize(
    ("error", "says"), [("EIO", "the disk reports an input/output error"), ("ENOSPC", "the disk is full")]
)
def test_a_disk_that_fails_at_the_first_writes_ends_botd_in_one_clear_line(
    tmp_path: Path, place: str, error: str, says: str
) -> None:
    botd = Botd(tmp_path, {"market": {"autoplay": False}})
    fails = {"BOTD_FAILPOINT": f"{place}:1:{error}"}
    for how in ([], ["--daemon"]):
        done = run_botd(Path("/"), *how, "--config", str(botd.config_file), env=fails)
        lines = [line for line in done.stderr.splitlines() if "botd.ledger.writer" not in line]  # the log's own
        done.stderr = "\n".join(lines)
        refused(done, 69, rf"ledger: {says} \({botd.state_dir}\)$", "then start botd again$", by="botd")
        assert not is_running(botd)
    botd.start()
    botd.until(botd.is_healthy, 20)
    assert botd.stop() == 0
