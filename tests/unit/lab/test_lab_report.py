"""`botctl report`: one file that needs nothing else, with all that it promises; looked at in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from botd.report.charts import Line, curves, histogram, scatter
from tests.unit.lab.conftest import Lab

LANE = ("--symbol", "BTC/USDT", "--interval", "1m")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Shape(HTMLParser):
    """Counts elements and checks that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_has_all_its_parts_and_needs_nothing_else(lab: Lab) -> None:
    row = lab.json("report", "rsi", *LANE, "--stop-loss", "2%", "--out", "out/rsi.html")
    assert row["path"] == "out/rsi.html" and row["rows"][0]["trades"] > 5
    text = Path("out/rsi.html").read_text()
    assert not re.search(r"https?:|//[a-z]|<script|<link|<img|@import|url\(", text)
    shape = Shape(text)
    assert shape.open == [] and shape.counts["svg"] == 4 and shape.counts["polyline"] == 3
    assert shape.counts["circle"] == row["rows"][0]["trades"]
    for word in ("Equity", "Drawdown", "Months", "Trades", "Distribution", "buy and hold", "period", "stop_loss"):
        assert word in shape.words
    for key in (
        "sharpe",
        "sortino",
        "calmar",
        "sqn",
        "alpha_pct, a year",
        "beta",
        "skipped_min_notional",
        "exposure_pct",
    ):
        assert f">{key}<" in text


def test_several_backtests_are_sections_of_one_page(lab: Lab) -> None:
    lab.json("report", "rsi", "macd", *LANE, "--symbol", "ETH/USDT")
    shape = Shape(Path("report.html").read_text())
    assert shape.counts["section"] == 4 and shape.counts["svg"] == 16 and "Backtests" in shape.words


def test_a_strategy_that_never_trades_has_a_page_too(lab: Lab) -> None:
    name = lab.strategy("idle", "no = np.zeros(len(close), bool)\nreturn Signals(no, no)")
    lab.json("report", name, *LANE)
    text = Path("report.html").read_text()
    assert "No trade was closed." in text and Shape(text).open == []


def test_a_directory_is_no_file(lab: Lab) -> None:
    assert lab.run("report", "rsi", *LANE, "--out", ".").code == 2


def test_a_long_curve_keeps_its_extremes() -> None:
    values = np.zeros(500_000)
    values[123_456], values[345_678] = 9.0, -4.0
    time = 1_704_067_200_000 + 60_000 * np.arange(500_000, dtype=np.int64)
    text = curves(time, [Line("x", values, "main")])
    assert len(text) < 60_000
    heights = {float(point.split(",")[1]) for point in re.findall(r'points="([^"]*)"', text)[0].split()}
    assert min(heights) < 30 and max(heights) > 210  # of 260: the peak near the top, the trough near the base


def test_charts_of_next_to_nothing_are_charts() -> None:
    time = np.array([1_704_067_200_000, 1_704_067_260_000])
    assert curves(time, [Line("x", np.array([5.0, 5.0]), "main")]).startswith("<svg")
    assert scatter(time[:0], np.empty(0), time) == histogram(np.empty(0)) == ""
    assert histogram(np.array([1.5])).count("<rect") == 1
    assert "nan" not in scatter(time[:1], np.array([0.0]), time)
    a_rounding_apart = np.array([1000.0, np.nextafter(1000.0, 2000.0)])
    assert 1 <= curves(time, [Line("x", a_rounding_apart, "main")]).count('class="end"') <= 6
    assert 1 <= histogram(a_rounding_apart).count('class="middle"') <= 12


def test_a_browser_shows_it(lab: Lab, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no headless browser on this machine (chromium)")
    lab.json("report", "rsi", *LANE, "--stop-loss", "2%", "--out", str(tmp_path / "r.html"))
    picture = tmp_path / "r.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,1600", f"--screenshot={picture}"]
    home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [browser, *flags, f"--user-data-dir={tmp_path}/profile", f"file://{tmp_path}/r.html"]
    subprocess.run(command, env=home, capture_output=True, timeout=60, check=True)
    image = picture.read_bytes()
    assert image.startswith(b"\x89PNG") and len(image) > 40_000  # an empty page of this size has some 8 kB
