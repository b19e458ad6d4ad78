"""The arrows of the design, held by reading every file's syntax tree: who may import whom, who may call what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = {path.relative_to(ROOT).as_posix(): path for top in ("botd", "botctl", "strategies")
         for path in sorted((ROOT / top).rglob("*.py"))}  # fmt: skip
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

BELOW = {
    "domain": set(),
    "report": {"domain"},
    "exchange": {"domain"},
    "ledger": {"domain"},
    "market": {"exchange", "domain"},
    "strategy": {"domain"},
    "risk": {"domain"},
    "execution": {"exchange", "market", "ledger", "domain"},
    "bot": {"strategy", "risk", "execution", "exchange", "market", "ledger", "domain"},
    "orchestrator": {"bot", "strategy", "risk", "execution", "exchange", "market", "ledger", "report", "domain"},
    "control": {"orchestrator", "bot", "domain"},
    # The event engine is a second composition of the production parts, on arrays: bots, books, the account's portfolio.
    "backtest": {
        *("orchestrator", "bot", "strategy", "risk", "execution", "exchange", "market", "ledger", "report", "domain")
    },
    "lab": {"backtest", "strategy", "market", "report", "domain"},
}
"""What each room may look at: downwards, past rooms too, never up or aside. (Control speaks of bots, it owns none.)"""

ROOT_MODULES = {"app", "world", "feeds", "checks", "live_account", "paper_account", "cli", "offline"}
"""Modules beside the rooms that may know rooms: the composition root, the command, and the façade for botctl with
what it imports."""

COMPOSITION = {f"botd/{name}.py" for name in ("app", "world", "feeds", "checks", "live_account", "paper_account")}
CONCRETE = {
    "botd.exchange.simulated.SimulatedExchange",
    "botd.exchange.binance.binance.BinanceExchange",
    "botd.market.simulated.synthetic.SyntheticSource",
    "botd.market.simulated.replay.ReplaySource",
    "botd.market.by_ccxt.exchange_feed.ExchangeFeed",
    "botd.market.cache.redis_cache.RedisCache",
    "botd.market.simulated.player.Player",
    "botd.domain.clock.WallClock",
    "botd.domain.clock.MarketClock",
}
"""Classes behind a seam; who needs one takes the seam."""

GATEWAY_CALLERS = {"botd/bot/bot.py", "botd/bot/placing.py", "botd/bot/guard.py", "botd/orchestrator/kill_switch.py"}
TIME_AND_CHANCE = {"time", "random", "secrets", "uuid"}
SEEDED = {"botd/market/simulated/synthetic.py", "botd/market/simulated/synthetic_walk.py"}
MOST_LINES, MOST_IN_A_FUNCTION = 400, 60


def room(name: str) -> str:
    """``botd/bot/bot.py`` -> bot; ``botd/app.py`` -> "" (a root module)."""
    parts = name.split("/")
    return parts[1] if parts[0] == "botd" and len(parts) > 2 else ""


def imports(name: str) -> Iterator[tuple[str, ast.stmt]]:
    """Every module that a file imports, wherever in it, as ``package.module.name`` (as far as named)."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def ours(name: str, package: str = "botd.") -> Iterator[tuple[str, ast.stmt]]:
    return ((module, node) for module, node in imports(name) if module.startswith(package))


def at(name: str, node: ast.AST) -> str:
    return f"{name}:{getattr(node, 'lineno', '?')}"


def test_every_room_is_on_the_map() -> None:
    rooms = {room(name) for name in FILES if name.startswith("botd/")} - {""}
    assert rooms <= {*BELOW, "deploy"}


def test_rooms_look_down_only() -> None:
    wrong = []
    for name in FILES:
        own = room(name)
        if not own or own == "deploy":
            continue
        for module, node in ours(name):
            seen = module.split(".")[1]
            if seen != own and seen not in BELOW[own]:
                wrong.append(f"{at(name, node)}: {own} imports {module}")
    assert wrong == []


def test_strategy_risk_and_execution_never_look_at_each_other() -> None:
    aside = {"strategy", "risk", "execution"}
    assert all(not BELOW[one] & aside for one in aside)


def test_modules_beside_the_rooms_know_the_domain_only() -> None:
    facade = {module.split(".")[1] for module, _ in ours("botd/offline.py")} - set(BELOW)
    wrong = []
    for name in FILES:
        parts = name.split("/")
        if parts[0] == "botd" and len(parts) == 2 and parts[1].removesuffix(".py") not in ROOT_MODULES | facade:
            seen = [(module, node) for module, node in ours(name) if module.split(".")[1] in set(BELOW) - {"domain"}]
            wrong += [f"{at(name, node)} imports {module}" for module, node in seen]
    assert wrong == []


def test_only_the_composition_root_knows_concrete_classes() -> None:
    wrong = [
        f"{at(name, node)} imports {module}"
        for name in FILES
        if room(name) in {"bot", "orchestrator", "control", "execution", "risk", "strategy", "domain", "report"}
        for module, node in ours(name)
        if module in CONCRETE
    ]
    assert wrong == []


def test_nobody_imports_the_composition_root_but_the_command() -> None:
    importers = {name for name in FILES for module, _ in ours(name) if module.startswith(("botd.app", "botd.world"))}
    assert importers <= {"botd/cli.py", "botd/app.py", "botd/checks.py"}


def test_botctl_knows_the_protocol_and_inside_functions_the_offline_facade() -> None:
    for name, tree in TREES.items():
        if not name.startswith("botctl/"):
            continue
        top = {id(node) for node in tree.body}
        for module, node in imports(name):
            if module != "botd" and not module.startswith("botd."):
                continue
            if module.startswith("botd.control.protocol") or module == "botd.__version__":
                continue
            assert module.startswith("botd.offline"), f"{at(name, node)} imports {module}"
            assert id(node) not in top, f"{at(name, node)}: {module} at the top costs every command"


def test_strategies_know_what_a_strategy_is_and_the_domain() -> None:
    for name in FILES:
        if name.startswith("strategies/"):
            for module, node in imports(name):
                if module.startswith(("botd", "botctl")):
                    assert module.startswith(("botd.strategy.", "botd.domain.")), f"{at(name, node)} imports {module}"


def test_only_bot_guard_and_kill_switch_send_and_cancel_orders() -> None:
    callers = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("submit", "submit_pair", "cancel")
        and ast.unparse(node.func.value).split(".")[-1].lstrip("_") == "gateway"
    }
    assert callers <= GATEWAY_CALLERS
    assert {"botd/bot/bot.py", "botd/bot/placing.py"} <= callers


def test_nobody_but_the_gateway_sends_to_the_exchange() -> None:
    callers = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("submit", "cancel")
        and ast.unparse(node.func.value).split(".")[-1].lstrip("_") == "exchange"
    }
    assert callers == {"botd/execution/gateway.py"}


def test_time_and_chance_come_from_the_clock_alone() -> None:
    for name in FILES:
        if name.startswith("botctl/") or name == "botd/domain/clock.py":
            continue  # botctl is no part of what must run twice to the same state
        for module, node in imports(name):
            assert module.split(".")[0] not in TIME_AND_CHANCE, f"{at(name, node)} imports {module}"
        for node in ast.walk(TREES[name]):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                tail = ".".join(called.split(".")[-2:])
                now = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom", "loop.time"}
                assert tail not in now, f"{at(name, node)} calls {called}"
                if called.startswith(("np.random.", "numpy.random.")) and "(" not in called:
                    generator = called.endswith((".default_rng", ".Generator", ".PCG64", ".SeedSequence", ".Philox"))
                    assert name in SEEDED and generator and node.args, f"{at(name, node)} calls {called}"


@pytest.mark.parametrize("top", ["botd", "botctl", "strategies"])
def test_pages_are_short(top: str) -> None:
    long_files = {name: lines for name, path in FILES.items() if name.startswith(f"{top}/")
                  and (lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES}  # fmt: skip
    long_functions = [
        f"{at(name, node)} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for name, tree in TREES.items()
        if name.startswith(f"{top}/")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MOST_IN_A_FUNCTION
    ]
    assert (long_files, long_functions) == ({}, [])


def test_every_page_says_what_it_does() -> None:
    silent = [name for name, tree in TREES.items() if tree.body and ast.get_docstring(tree) is None]
    assert silent == []


def test_exceptions_of_any_kind_are_caught_at_boundaries_only() -> None:
    """``except Exception`` is raised again, logged, or says why: everywhere else the narrowest type."""
    silent = []
    for name, path in FILES.items():
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(TREES[name]):
            if isinstance(node, ast.ExceptHandler):
                caught = "" if node.type is None else ast.unparse(node.type)
                words = "".join(lines[node.lineno - 1 : node.end_lineno]).lower()
                told = any(word in words for word in ("#", "raise", "log", "_unexpected"))
                if (not caught or "Exception" in caught.strip("()").split(", ")) and not told:
                    silent.append(at(name, node))
    assert silent == []
