"""The locks: one botd a state directory, one a socket path."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from botd.domain.errors import ForbiddenError, RunningError
from botd.locks import acquire, holder, make_private


def test_the_state_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    state = tmp_path / "a" / "b"
    locks = acquire(state, state / "control.sock")
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert (state / "botd.lock").read_text() == f"{os.getpid()}\n"
    assert (state / "control.sock.lock").read_text() == f"{os.getpid()}\n"
    assert len(locks.descriptors) == 2
    locks.release()
    assert (state / "botd.lock").exists()  # never unlinked


def test_a_second_botd_in_the_same_directory_is_refused_by_pid(tmp_path: Path) -> None:
    locks = acquire(tmp_path, tmp_path / "one.sock")
    with pytest.raises(RunningError, match=rf"another botd \(pid {os.getpid()}\) holds .*botd\.lock") as refused:
        acquire(tmp_path, tmp_path / "two.sock")
    assert (
        "a state_dir of its own" in refused.value.hint and "--" not in refused.value.hint
    )  # botctl has no such option
    assert holder(tmp_path) == os.getpid()
    locks.release()
    assert holder(tmp_path) is None


def test_a_second_botd_on_the_same_socket_is_refused_and_leaves_its_own_directory_free(tmp_path: Path) -> None:
    locks = acquire(tmp_path / "one", tmp_path / "x.sock")
    with pytest.raises(RunningError, match=r"x\.sock\.lock"):
        acquire(tmp_path / "two", tmp_path / "x.sock")
    assert holder(tmp_path / "two") is None
    locks.release()
    acquire(tmp_path / "two", tmp_path / "x.sock").release()


def test_a_lock_is_gone_with_a_process_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from botd.locks import acquire;"
        "p = Path(sys.argv[1]); locks = acquire(p, p / 's'); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        assert holder(tmp_path) == process.pid
        process.kill()
    acquire(tmp_path, tmp_path / "s").release()


def test_a_lock_lives_on_in_a_forked_child(tmp_path: Path) -> None:
    locks = acquire(tmp_path, tmp_path / "s")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    locks.release()
    with pytest.raises(RunningError):
        acquire(tmp_path, tmp_path / "s")
    os.close(writer)
    os.waitpid(child, 0)
    acquire(tmp_path, tmp_path / "s").release()


def test_a_state_directory_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ForbiddenError):
        acquire(tmp_path / "file" / "state", tmp_path / "s")


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ForbiddenError):
        acquire(tmp_path / "file", tmp_path / "s")


def test_a_lock_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "botd.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(ForbiddenError):
        acquire(tmp_path, tmp_path / "s")
    assert not (tmp_path / "victim").exists()


def test_a_directory_that_cannot_be_written_is_refused() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o555)
        child = os.fork()
        if child == 0:  # root may write everywhere, so this is done as nobody
            _become_nobody()
            refused = _is_refused(directory) and _is_refused(directory / "state")
            os._exit(0 if refused else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def _is_refused(state: Path) -> bool:
    try:
        acquire(state, state / "s")
    except ForbiddenError:
        return True
    return False


def test_nothing_can_be_made_where_the_kernel_forbids_it() -> None:
    with pytest.raises(ForbiddenError):
        make_private(Path("/proc/botd"))
