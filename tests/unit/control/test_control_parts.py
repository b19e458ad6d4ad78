"""The small parts: rates, memory of request ids, replies, socket files, CURVE files, who may come in."""

import grp
import os
import socket
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import zmq

from botd.control.access import AccessPolicy, Caller
from botd.control.curve import create_key_file, load_keys
from botd.control.endpoint import SocketFile
from botd.control.limits import Limits, PeerRates
from botd.control.memory import DAY_MS, Remembered, RequestMemory
from botd.control.protocol import MAX_REPLY_BYTES
from botd.control.replies import encode_refusal, encode_result
from botd.domain.clock import VirtualClock
from botd.domain.errors import ConfigError, ConflictError, InvalidError

# -- rates


def test_a_peer_has_its_burst_then_its_rate_and_others_are_not_touched():
    clock = VirtualClock()
    rates = PeerRates(Limits(per_second=50, burst=50), clock)
    assert [rates.take("a", 100) for _ in range(51)] == [True] * 50 + [False]
    assert rates.take("b", 100)
    clock.advance(clock.now_ms() + 40)  # 40 ms x 50/s = 2 requests
    assert [rates.take("a", 100) for _ in range(3)] == [True, True, False]


def test_a_large_request_counts_as_several():
    rates = PeerRates(Limits(per_second=50, burst=50), VirtualClock())
    assert rates.take("a", 256 * 1024)  # 33 of 50
    assert not rates.take("a", 256 * 1024)
    assert rates.take("a", 10)


def test_the_table_of_peers_is_bounded():
    rates = PeerRates(Limits(), VirtualClock())
    for peer in range(5000):
        rates.take(peer, 1)
    assert len(rates._buckets) <= 1024


# -- memory


def remembered(reply=b"{}", time_ms=None, clock=None):
    return Remembered(0, "stop", {"all": True}, reply, clock.wall_ms() if clock else time_ms)


def test_an_answer_is_remembered_for_24_hours_and_for_its_caller_only():
    clock = VirtualClock()
    memory = RequestMemory(clock)
    memory.keep(("0", "id"), remembered(b"first", clock=clock))
    clock.advance(clock.now_ms() + DAY_MS - 1)
    assert memory.find(("0", "id")).payload() == b"first"
    assert memory.find(("1000", "id")) is None
    clock.advance(clock.now_ms() + 1)
    assert memory.find(("0", "id")) is None


def test_the_memory_is_bounded_in_number_and_bytes_and_the_oldest_go_first():
    clock = VirtualClock()
    memory = RequestMemory(clock, capacity=3, max_bytes=10_000)
    for number in range(5):
        memory.keep(("0", str(number)), remembered(clock=clock))
    assert [memory.find(("0", str(n))) is not None for n in range(5)] == [False, False, True, True, True]
    memory.keep(("0", "large"), remembered(b"x" * 9000, clock=clock))
    assert len(memory) == 1
    memory.keep(("0", "huge"), remembered(b"x" * 90_000, clock=clock))
    assert len(memory) == 0
    assert memory._bytes == 0


def test_an_id_for_another_command_is_a_conflict():
    with pytest.raises(ConflictError, match="used for another command"):
        remembered(time_ms=0).check_same("id", "stop", {"all": True, "close": True})
    remembered(time_ms=0).check_same("id", "stop", {"all": True})


def test_a_row_of_the_ledger_gives_the_reply_as_it_was_sent():
    assert Remembered(5, "stop", {}, {"id": "1", "ok": True}, 1).payload() == b'{"id":"1","ok":true}'
    assert Remembered(5, "stop", {}, b'{"id":"1","ok":true}', 1).payload() == b'{"id":"1","ok":true}'


# -- replies


def test_amounts_are_texts_and_what_is_not_finite_is_null():
    numpy = pytest.importorskip("numpy")
    result = {
        "a": Decimal("0.00010000"),
        "b": float("nan"),
        "c": float("-inf"),
        "d": numpy.float64("nan"),
        "e": numpy.int64(3),
    }
    assert msgspec.json.decode(encode_result("1", result))["result"] == {
        "a": "0.00010000",
        "b": None,
        "c": None,
        "d": None,
        "e": 3,
    }


def test_a_reply_over_8_mib_is_an_error_that_names_paging():
    with pytest.raises(InvalidError) as caught:
        encode_result("1", ["x" * 1024] * (MAX_REPLY_BYTES // 1024))
    assert "cursor" in caught.value.hint


def test_refusals_are_one_printable_line():
    error = msgspec.json.decode(encode_refusal("1", InvalidError("a\nb\x1b[31m", "c\r\nd")))["error"]
    assert error["message"].isprintable() and error["hint"] == "c d"


# -- socket files


@pytest.fixture
def router():
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        yield router


def mode(path: Path) -> int:
    return os.stat(path).st_mode & 0o777


def test_socket_is_0600_in_a_directory_0700_whatever_the_umask(tmp_path, router):
    before = os.umask(0)
    try:
        SocketFile(tmp_path / "new" / "c.sock").bind(router)
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert (mode(tmp_path / "new"), mode(tmp_path / "new" / "c.sock")) == (0o700, 0o600)


def test_with_a_group_the_socket_is_0660_and_the_groups(tmp_path, router):
    group = grp.getgrgid(os.getegid()) if os.geteuid() else grp.getgrall()[-1]
    file = SocketFile(tmp_path / "new" / "c.sock", group.gr_name)
    file.bind(router)
    assert (mode(tmp_path / "new"), mode(file.path)) == (0o750, 0o660)
    assert os.stat(file.path).st_gid == group.gr_gid


def test_a_left_over_socket_is_replaced_but_no_other_file(tmp_path, router):
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    SocketFile(path).bind(router)
    other = tmp_path / "precious"
    other.write_text("keep me")
    with pytest.raises(ConfigError, match="no socket"):
        SocketFile(other).bind(router)
    (tmp_path / "link").symlink_to(other)
    with pytest.raises(ConfigError, match="no socket"):
        SocketFile(tmp_path / "link").bind(router)
    assert other.read_text() == "keep me"


def test_paths_that_cannot_be_a_socket_are_configuration_errors(tmp_path, router):
    longest = tmp_path / ("x" * (107 - len(os.fsencode(tmp_path)) - 1))
    SocketFile(longest).bind(router)
    with pytest.raises(ConfigError, match="107 bytes"):
        SocketFile(Path(str(longest) + "x"))
    with pytest.raises(ConfigError, match="107 bytes"):
        SocketFile(Path("/" + "ä" * 60))  # 121 bytes, 61 letters
    with pytest.raises(ConfigError, match="absolute"):
        SocketFile(Path("c.sock"))
    with pytest.raises(ConfigError, match="no group"):
        SocketFile(tmp_path / "c.sock", "no-such-group-here")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ConfigError, match="anybody could replace"):
        SocketFile(tmp_path / "open" / "c.sock").bind(router)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        SocketFile(tmp_path / "file" / "c.sock").bind(router)


def test_only_the_own_file_is_removed(tmp_path, router):
    file = SocketFile(tmp_path / "c.sock")
    file.bind(router)
    assert file.is_ours()
    file.path.unlink()
    file.path.write_text("somebody's")
    assert not file.is_ours()
    file.remove()
    assert file.path.exists()


# -- CURVE files


def allow(directory: Path, text: str) -> None:
    path = directory / "curve.allow"
    path.write_text(text)
    path.chmod(0o600)


def test_tcp_needs_private_keys_and_an_allow_list(tmp_path):
    with pytest.raises(ConfigError, match=r"control\.tcp needs .*curve\.key"):
        load_keys(tmp_path)
    public = create_key_file(tmp_path)
    assert mode(tmp_path / "curve.key") == 0o600
    with pytest.raises(ConfigError, match=r"control\.tcp needs .*curve\.allow"):
        load_keys(tmp_path)
    client = zmq.curve_keypair()[0].decode()
    allow(tmp_path, f"# the laptop\n\n{client} viewer laptop\n")
    keys = load_keys(tmp_path)
    assert (keys.public, keys.clients) == (public, {client.encode(): "viewer"})
    assert keys.secret.decode() not in repr(keys)
    with pytest.raises(ConfigError, match="cannot be made"):
        create_key_file(tmp_path)
    (tmp_path / "curve.key").chmod(0o640)
    with pytest.raises(ConfigError, match="others could read"):
        load_keys(tmp_path)


@pytest.mark.parametrize(
    "text, says",
    [("", "no key is allowed"), ("short operator\n", "line 1: not a public key"), ("KEY\n", "operator or viewer"),
     ("KEY admin\n", "operator or viewer"), ("~" * 40 + " operator\n", "not a public key")],
)  # fmt: skip
def test_an_allow_list_that_is_wrong_stops_the_start(tmp_path, text, says):
    create_key_file(tmp_path)
    allow(tmp_path, text.replace("KEY", zmq.curve_keypair()[0].decode()))
    with pytest.raises(ConfigError, match=says):
        load_keys(tmp_path)


def test_a_key_file_that_holds_no_pair_stops_the_start(tmp_path):
    create_key_file(tmp_path)
    for text in ("", "{}", "[]", '{"public": 1, "secret": 2}', '{"public": "a", "secret": "b"}', "null"):
        (tmp_path / "curve.key").write_text(text)
        with pytest.raises(ConfigError, match="no pair of CURVE keys"):
            load_keys(tmp_path)


# -- roles


def test_owner_and_root_operate_groups_by_configuration_strangers_not_at_all():
    group = grp.getgrall()[-1].gr_name
    gid = grp.getgrnam(group).gr_gid
    policy = AccessPolicy(1000, viewers=group)
    assert policy.role(1000, 1000) == policy.role(0, 0) == "operator"
    assert policy.role(54321, gid) == "viewer"
    assert policy.role(54321, 54321) is None
    assert AccessPolicy(1000, operators=group).role(54321, gid) == "operator"
    assert AccessPolicy(1000, operators=group, viewers=group).role(54321, gid) == "operator"
    assert AccessPolicy(1000, operators="no-such-group-here").role(54321, gid) is None


def test_a_caller_survives_the_way_through_zeromq():
    for caller in (Caller(1000, 100, 77, "viewer"), Caller(-1, -1, 0, "operator", "k" * 40)):
        assert Caller.from_user_id(caller.user_id().decode()) == caller
    assert Caller(1000, 100, 77, "viewer").identity == "1000"
    assert Caller(-1, -1, 0, "operator", "key").identity == "key"
