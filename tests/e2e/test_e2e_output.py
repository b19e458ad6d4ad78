"""How botctl prints: every format says the same, and JSON has the keys that scripts rely on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest

from tests.fakes.rising_market import FAST, IDLE, TREND, Rising


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rising]:
    """One bot that holds something, one that made a round trip, one that did nothing."""
    botd = Rising(tmp_path_factory.mktemp("output"))
    try:
        botd.start()
        for name in ("zeta", "done"):
            botd.run("create", name, *TREND, *FAST, "--stop-loss", "5%", "--label", "team=a", "--start")
        botd.run("create", "flat", *IDLE, "--start")
        botd.play()
        botd.run("close", "done")
        yield botd
    finally:
        botd.stop()


def test_every_format_says_the_same(fleet: Rising) -> None:
    def ls(form: str, *more: str) -> str:
        return fleet.run("ls", "-o", form, *more).stdout

    rows = json.loads(ls("json"))
    names = [row["name"] for row in rows]
    assert [json.loads(line) for line in ls("jsonl").splitlines()] == rows
    assert ls("name").split() == names
    table, wide = ls("table").splitlines(), ls("wide").splitlines()
    assert table[0] == wide[0] == "PAPER · REPLAYED MARKET"
    assert table[1].split()[:4] == ["NAME", "STRATEGY", "SYMBOL", "EVERY"] and len(wide[1]) > len(table[1])
    assert [line.split()[0] for line in table[2:]] == names
    assert [line.split()[0] for line in ls("table", "--no-headers").splitlines()] == names
    tabbed = list(csv.DictReader(io.StringIO(ls("tsv")), delimiter="\t"))
    comma = list(csv.DictReader(io.StringIO(ls("csv"))))
    assert tabbed == comma and [row["name"] for row in comma] == names
    assert [row["equity"] for row in comma] == [row["equity"] for row in rows]
    assert ls("csv", "--no-headers").splitlines()[0].startswith(names[0] + ",")
    for verb in ("stats", "orders", "fills", "trades", "positions", "equity", "prices", "symbols", "export"):
        count = len(json.loads(fleet.run(verb, "-o", "json").stdout))
        assert count and len(fleet.run(verb, "-o", "tsv", "--no-headers").stdout.splitlines()) == count
        assert fleet.run(verb, "-o", "wide").stdout
    assert json.loads(fleet.run("trades", "flat", "-o", "json").stdout) == []
    assert fleet.run("trades", "flat", "-o", "csv").stdout.count("\n") == 1  # the header stays
    nothing = fleet.run("trades", "flat")
    assert (nothing.stdout, nothing.stderr) == ("", "no trades\n")
    assert "\x1b" not in fleet.run("ls").stdout


BOT = (
    "name strategy params symbol interval mode source state desired since capital equity realized_pnl unrealized_pnl "
    "trades position last_candle note labels"
)
KEYS = {
    ("ls",): BOT,
    ("show", "zeta"): BOT,
    ("stats",): "name trades wins losses win_rate gross_profit gross_loss profit_factor expectancy avg_win avg_loss "
    "best_trade worst_trade max_consecutive_losses avg_holding_s fees realized_pnl unrealized_pnl equity return_pct "
    "max_drawdown_pct max_drawdown_duration_s sharpe sortino calmar sqn exposure_pct turnover skipped_min_notional",
    ("portfolio",): "bots running capital equity realized_pnl unrealized_pnl fees return_pct exposure_pct "
    "max_drawdown_pct positions_value account_cash account_equity unassigned by_symbol by_bot",
    ("orders",): "client_order_id exchange_order_id bot symbol side type quantity price stop_price filled average "
    "status reason created updated",
    ("fills",): "trade_id client_order_id bot symbol side quantity price fee fee_asset realized_pnl time",
    ("trades",): "bot symbol side quantity entry_time exit_time entry_price exit_price pnl return_pct fees "
    "exit_reason bars",
    ("health",): "status version pid uptime_s mode source exchange market redis ledger loop bots checks",
    ("why", "zeta"): "name at outcome gates notes",
}


@pytest.mark.parametrize("verb", KEYS, ids=" ".join)
def test_json_has_the_keys_that_scripts_rely_on(fleet: Rising, verb: tuple[str, ...]) -> None:
    found = json.loads(fleet.run(*verb, "-o", "json", check=False).stdout)
    is_list = verb[0] not in ("show", "portfolio", "health", "why")
    assert isinstance(found, list) is is_list
    for row in found if is_list else [found]:
        assert set(KEYS[verb].split()) <= set(row)
        for key in ("capital", "equity", "quantity", "price", "fee", "fees", "pnl", "realized_pnl"):
            assert isinstance(row.get(key), str | None), key  # amounts are text, to the digit
        for key in ("return_pct", "win_rate", "max_drawdown_pct"):
            assert isinstance(row.get(key), float | int | None), key
        for key in ("since", "created", "entry_time", "exit_time", "time", "at"):
            assert row.get(key) is None or (row[key].startswith("2024-") and row[key].endswith("Z")), key
    if verb[0] in ("ls", "show"):
        position = (found if verb[0] == "show" else next(row for row in found if row["name"] == "zeta"))["position"]
        assert {"quantity", "entry_price", "side", "stop", "target", "guard"} <= set(position)
    if verb[0] == "health":
        assert all({"name", "status", "detail"} <= set(check) for check in found["checks"])
    if verb[0] == "why":
        assert all({"gate", "passed", "value", "limit", "detail"} <= set(gate) for gate in found["gates"])
