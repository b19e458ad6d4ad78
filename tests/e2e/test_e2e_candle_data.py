"""`botctl data` as a user runs it: processes, a terminal, files, an exchange on loopback, kill -9."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pty
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from botd.market.store.candle_store import CandleStore
from tests.e2e.conftest import BIN, clean_environment
from tests.fakes.kline_server import MINUTE, KlineServer, kline, kline_server

LANE = ("--symbol", "BTC/USDT", "--interval", "1m")
BEGIN = 1_722_470_400_000  # 2024-08-01


class Data:
    """`botctl data` with a configuration and a store of its own."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.store = CandleStore(home / "candles")
        self.environment = {**clean_environment(), "HOME": str(home), "BOTD_CONFIG": str(home / "botd.yaml")}
        config = {"data_dir": "candles", "state_dir": "state", "endpoints": {"rest": url, "stream": "ws://127.0.0.1:1"}}
        (home / "botd.yaml").write_text(yaml.safe_dump(config))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [BIN / "botctl", "data", *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)

    def json(self, *words: str, code: int = 0) -> Any:
        done = self.run(*words, "-o", "json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def begin(self, *words: str, **streams: Any) -> subprocess.Popen[str]:
        return subprocess.Popen([BIN / "botctl", "data", *words], env=self.environment, text=True, **streams)


@pytest.fixture
def server() -> Iterator[KlineServer]:
    with kline_server() as running:
        yield running


@pytest.fixture
def data(tmp_path: Path, server: KlineServer) -> Data:
    return Data(tmp_path, server.url)


def lines(minutes: range, unit: int = 1) -> str:
    rows = [kline(BEGIN + minute * MINUTE) for minute in minutes]
    return "".join(",".join(map(str, [row[0] * unit, *row[1:6], row[6] * unit, *row[7:]])) + "\n" for row in rows)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def rows(data: Data) -> int:
    return sum(lane.rows for lane in data.store.lanes())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_download_goes_on_where_it_was_ended(data: Data, server: KlineServer, how: signal.Signals) -> None:
    server.delay_s = 0.3
    words = ("download", *LANE, "--from", "2024-07-20")
    process = data.begin(*words, stderr=subprocess.PIPE)
    until(lambda: rows(data) > 0)
    process.send_signal(how)
    told = process.communicate(timeout=20)[1]
    assert process.returncode == (-9 if how == signal.SIGKILL else 130)
    if how == signal.SIGINT:
        assert "what was loaded is kept, the same command goes on there" in told and "Traceback" not in told
    kept = rows(data)
    server.delay_s, server.asked = 0.0, []
    total = 12 * 1440 + 5000  # NOW is 5000 minutes after BEGIN
    done = data.json(*words)
    assert done["added"] == total - kept and len(server.asked) == -(-(total - kept) // 1000)
    assert data.store.load("BTC/USDT", "1m").time[0] == BEGIN - 12 * 1440 * MINUTE
    assert data.json("verify")[0]["status"] == "ok"


def test_on_a_terminal_a_bar_shows_rate_and_time_left(data: Data, server: KlineServer) -> None:
    server.delay_s = 0.15
    leader, follower = pty.openpty()
    process = data.begin("download", *LANE, "--from", "2024-08-01", stderr=follower, stdout=subprocess.DEVNULL)
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(leader)
    assert process.wait(20) == 0
    text = shown.decode()
    assert "\r[####" in text and "/s" in text and "left" in text
    assert "100%  5,000 of 5,000 candles" in text


def test_off_a_terminal_progress_is_plain_lines_and_quiet_says_nothing(data: Data) -> None:
    done = data.run("download", *LANE, "--from", "2024-08-01")
    assert (done.returncode, done.stdout) == (0, "BTC/USDT 1m  5,000 candles added\n")
    assert "\r" not in done.stderr
    again = data.run("download", *LANE, "--from", "2024-07-30", "-q")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "code", "fact"),
    [
        (("download", *LANE, "--from", "yesterday"), 2, "not a time"),
        (("download", "--symbol", "BTC/USDT", "--interval", "7m", "--from", "1d"), 2, "unknown interval '7m'"),
        (("download", "--symbol", "BTCUSDT", "--interval", "1m", "--from", "1d"), 2, "not a symbol"),
        (("download", *LANE, "--from", "2024-08-02", "--to", "2024-08-01"), 2, "not after the begin"),
        (("download", "--symbol", "BTC/EUR", "--interval", "1m", "--from", "2024-08-01"), 4, "no such symbol"),
        (("import", "nothing.csv", *LANE), 4, "no such file"),
        (("verify", "--symbol", "BTC/USDT"), 4, "no candles of BTC/USDT"),
    ],
)
def test_what_cannot_be_is_one_line_and_its_exit_code(data: Data, words: tuple[str, ...], code: int, fact: str) -> None:
    done = data.run(*words)
    assert done.returncode == code and fact in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.startswith("botctl: error: ")


def test_an_exchange_that_is_not_there_is_unavailable(data: Data, server: KlineServer) -> None:
    server.answers = [(400, {})]
    done = data.run("download", *LANE, "--from", "2024-08-01")
    assert done.returncode == 69 and "goes on where it stopped" in done.stderr


# -- import, ls, verify --------------------------------------------------------------------------------------


def archive(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{name}.csv", text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".CHECKSUM").write_text(f"{digest}  {path.name}\n")
    return path


def test_a_folder_of_archives_is_imported_milli_and_microseconds(data: Data, tmp_path: Path) -> None:
    folder = tmp_path / "archives"
    folder.mkdir()
    archive(folder, "BTCUSDT-1m-2024-07", lines(range(-100, 0)))
    archive(folder, "BTCUSDT-1m-2024-08", lines(range(90), unit=1000))
    archive(folder, "ETHUSDT-1m-2024-08", lines(range(500, 600)))
    (folder / "more.csv.gz").write_bytes(gzip.compress(lines(range(80, 120)).encode()))
    told = {Path(row["name"]).name: row for row in data.json("import", str(folder), *LANE)}
    assert told["BTCUSDT-1m-2024-07.zip"]["added"] == 100 and told["BTCUSDT-1m-2024-08.zip"]["added"] == 90
    assert (told["more.csv.gz"]["added"], told["more.csv.gz"]["equal"]) == (30, 10)
    assert told["ETHUSDT-1m-2024-08.zip"]["result"] == "skipped"
    (lane,) = data.json("ls")
    assert (lane["first"], lane["last"]) == ("2024-07-31T22:20:00Z", "2024-08-01T01:59:00Z")
    assert (lane["rows"], lane["gaps"], lane["missing"], lane["files"]) == (220, 0, 0, 2)
    assert all(row["result"] != "changed" for row in data.json("import", str(folder), *LANE))


def test_an_archive_that_does_not_fit_its_checksum_is_refused(data: Data, tmp_path: Path) -> None:
    path = archive(tmp_path, "BTCUSDT-1m-2024-08", lines(range(10)))
    (tmp_path / "BTCUSDT-1m-2024-08.zip.CHECKSUM").write_text("0" * 64 + "  x\n")
    done = data.run("import", str(path), *LANE)
    assert done.returncode == 2 and "does not fit BTCUSDT-1m-2024-08.zip.CHECKSUM" in done.stderr
    assert data.json("ls") == []


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04 rubbish", "the ZIP is damaged"),
        (gzip.compress(lines(range(99)).encode())[:-20], "gzip data is"),
        (lines(range(10)).replace(",", ";").encode(), "columns"),
        (lines(range(0, 50, 5)).encode(), "--interval to 5m"),
        ((lines(range(5)) + "1722470700000,1,2,3,4\n").encode(), "line 6"),
        ((lines(range(5)) + lines(range(4, 5))).encode(), "there twice"),
        (lines(range(1)).replace("139.00000000", "nan").encode(), "finite number"),
    ],
)
def test_a_file_that_is_not_right_is_refused_with_what_and_where(
    data: Data, tmp_path: Path, content: bytes, fact: str
) -> None:
    path = tmp_path / "given.csv"
    path.write_bytes(content)
    good = tmp_path / "good.csv"
    good.write_text(lines(range(1000, 1010)))
    done = data.run("import", str(path), str(good), *LANE)
    assert done.returncode == 2 and fact in done.stderr and "given.csv" in done.stderr
    assert "market." not in done.stderr and "Traceback" not in done.stderr
    assert rows(data) == 10  # the good one is in


def test_a_file_that_says_otherwise_is_a_conflict_unless_replace(data: Data, tmp_path: Path) -> None:
    path = tmp_path / "given.csv"
    path.write_text(lines(range(10)))
    data.json("import", str(path), *LANE)
    text = lines(range(20))
    path.write_text(text.replace(text.split("\n")[4], text.split("\n")[4].replace(",7.", ",8.")))
    done = data.run("import", str(path), *LANE)
    assert done.returncode == 5 and "2024-08-01T00:04:00Z: volume is 7." in done.stderr and "--replace" in done.stderr
    assert rows(data) == 10
    (row,) = data.json("import", str(path), *LANE, "--replace")
    assert (row["added"], row["equal"], row["replaced"]) == (10, 9, 1)


def test_verify_lists_gaps_and_finds_damage_and_repairs_it(data: Data, tmp_path: Path) -> None:
    path = tmp_path / "given.csv"
    path.write_text(lines(range(100)) + lines(range(130, 200)))
    data.json("import", str(path), *LANE)
    (lane,) = data.json("verify")
    gap = {"from": "2024-08-01T01:40:00Z", "to": "2024-08-01T02:10:00Z", "missing": 30, "known": False}
    assert lane["gaps"] == [gap] and lane["status"] == "ok"
    (chunk,) = (tmp_path / "candles").rglob("*.candles")
    harmed = bytearray(chunk.read_bytes())
    harmed[300] ^= 4
    chunk.write_bytes(harmed)
    done = data.run("verify")
    assert done.returncode == 1 and chunk.name in done.stderr and "damaged" in done.stdout
    (lane,) = data.json("verify", "--repair", code=1)
    assert lane["damage"][0]["file"] == chunk.name and Path(lane["set_aside"][0]).exists()
    assert data.run("verify").returncode == 0
    data.json("download", *LANE, "--from", "2024-08-01", "--to", "2024-08-01T03:20:00Z")
    (lane,) = data.json("ls")
    assert (lane["rows"], lane["gaps"]) == (200, 0)
