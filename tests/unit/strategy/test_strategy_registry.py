"""The registry: which files become strategies, and what is said of those that do not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import strategies
from botd.domain.errors import ConflictError, InvalidError, NotFoundError
from botd.strategy.registry import Registry
from botd.strategy.scaffold import scaffold
from tests.fakes.input_strategies import write_trend

BUILTIN = Path(strategies.__file__).parent
OWN = scaffold("mine")["mine.py"]


@pytest.fixture
def user_dir(tmp_path):
    directory = tmp_path / "strategies"
    directory.mkdir(mode=0o755)
    return directory


@pytest.fixture
def registry(user_dir):
    return Registry(BUILTIN, user_dir)


def write(directory, name, text, mode=0o644):
    path = directory / f"{name}.py"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_all_built_in_strategies_load_with_the_parameters_of_the_contract(registry):
    contract = {
        "breakout": {"entry": 20, "exit": 10},
        "dca": {"every": "1h", "amount": None, "take_profit": 0.03},
        "ema_cross": {"fast": 12, "slow": 26},
        "grid": {"lower": None, "upper": None, "levels": 10},
        "macd": {"fast": 12, "slow": 26, "signal": 9},
        "mean_reversion": {"period": 20, "deviations": 2},
        "rsi": {"period": 14, "oversold": 30, "overbought": 70},
    }
    rows = {row["name"]: row for row in registry.describe()}
    assert {name: {p["name"]: p["default"] for p in row["parameters"]} for name, row in rows.items()} == contract
    assert {name for name, row in rows.items() if row["kind"] == "event"} == {"dca", "grid"}
    assert all(row["summary"].endswith(".") and row["builtin"] for row in rows.values())


def test_what_is_listed_says_what_a_strategy_warms_up_on_and_reads_with_its_defaults(registry, user_dir):
    write_trend(user_dir)
    write(user_dir, "mine", OWN)
    rows = {row["name"]: row for row in registry.describe()}
    assert (rows["rsi"]["warmup"], rows["rsi"]["inputs"]) == (registry.load("rsi").build({}).warmup(), [])
    assert (rows["mine"]["warmup"], rows["grid"]["warmup"], rows["grid"]["inputs"]) == (20, None, [])
    trend = registry.load("trend").build({})
    assert rows["trend"]["inputs"] == [
        {"symbol": one.symbol, "interval": one.interval, "candles": one.candles} for one in trend.inputs()
    ]
    assert [one["symbol"] for one in rows["trend"]["inputs"]] == [None, "BTC/USDT"]


def test_a_build_has_checked_values_as_attributes(registry):
    strategy = registry.load("rsi").build({"period": "7"})
    assert (strategy.period, strategy.oversold, strategy.overbought) == (7, 30.0, 70.0)


def test_the_plain_form_has_every_parameter(registry):
    assert registry.load("dca").plain({"amount": "50.0", "every": "60m"}) == {
        "every": "1h",
        "amount": "50.0",
        "take_profit": 0.03,
    }


def test_parameters_that_do_not_fit_together_are_refused(registry):
    with pytest.raises(InvalidError, match="strategy grid: lower must be below upper, not 5 and 4"):
        registry.load("grid").build({"lower": 5, "upper": 4})
    with pytest.raises(InvalidError, match="strategy macd: fast must be below slow, not 26 and 12"):
        registry.load("macd").build({"fast": 26, "slow": 12})


def test_an_unknown_strategy_is_answered_with_the_nearest_name(registry, user_dir):
    with pytest.raises(NotFoundError) as caught:
        registry.load("mcad")
    where = f"(your own are looked for in {user_dir})"
    assert (caught.value.message, caught.value.hint) == ("mcad: no such strategy", f"did you mean macd? {where}")


@pytest.mark.parametrize("name", ["../rsi", "Rsi", "rsi.py", "", "1st", "a" * 65, "rsi/x", "__init__"])
def test_a_name_that_is_none_is_refused_before_any_file_is_looked_at(registry, name):
    with pytest.raises(InvalidError, match="not a name"):
        registry.load(name)


def test_a_users_strategy_loads_and_is_listed(registry, user_dir):
    write(user_dir, "mine", OWN)
    info = registry.load("mine")
    assert (info.kind, info.builtin, info.path) == ("signal", False, user_dir / "mine.py")
    assert "mine" in registry.names()
    assert not list(user_dir.rglob("*.pyc"))


def test_a_users_file_may_not_shadow_a_built_in(registry, user_dir):
    write(user_dir, "rsi", OWN)
    with pytest.raises(ConflictError, match="name of a built-in"):
        registry.load("rsi")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef broken(:\n", "line 2: invalid syntax"),
        ("import os\n\nraise RuntimeError('no')\n", "line 3: RuntimeError: no"),
        ("import nowhere_to_be_found\n", "line 1: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "line 1: SystemExit: 3"),
        ("x = 1\n", "needs exactly one strategy class, found none"),
        (OWN + OWN.split("from botd.strategy.parameters import integer")[1].replace("Mine", "Other"), "found Mine"),
        (OWN.replace("def signals", "def signal"), "Mine has no signals"),
        ("\0", "mine.py"),
        ("x = '\udcff'", "mine.py"),
    ],
)
def test_a_file_that_is_no_strategy_is_named_with_its_line(registry, user_dir, text, message):
    path = user_dir / "mine.py"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidError) as caught:
        registry.load("mine")
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    row = next(row for row in registry.describe() if row["name"] == "mine")
    assert row["error"] == caught.value.message


@pytest.mark.parametrize("mode", [0o666, 0o646])
def test_a_file_that_others_can_write_is_refused(registry, user_dir, mode):
    write(user_dir, "mine", OWN, mode)
    with pytest.raises(InvalidError, match="writable by everybody"):
        registry.load("mine")


def test_a_directory_that_others_can_write_is_refused(registry, user_dir):
    write(user_dir, "mine", OWN)
    user_dir.chmod(0o777)
    with pytest.raises(InvalidError, match=f"{user_dir} is writable by everybody"):
        registry.load("mine")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_or_a_shared_group_is_refused(registry, user_dir):
    path = write(user_dir, "mine", OWN)
    os.chown(path, 65534, -1)
    with pytest.raises(InvalidError, match="belongs to"):
        registry.load("mine")
    os.chown(path, 0, 65534)
    path.chmod(0o664)
    with pytest.raises(InvalidError, match="writable by its group"):
        registry.load("mine")


def test_a_link_out_of_the_directory_is_refused(registry, user_dir, tmp_path):
    outside = write(tmp_path, "outside", OWN)
    (user_dir / "mine.py").symlink_to(outside)
    with pytest.raises(InvalidError, match="is outside of"):
        registry.load("mine")


def test_a_changed_file_is_told_and_the_loaded_code_goes_on(registry, user_dir):
    path = write(user_dir, "mine", OWN)
    before = registry.load("mine")
    assert not registry.changed("mine")
    path.write_text(OWN.replace("integer(20", "integer(30"))
    assert registry.changed("mine")
    assert registry.load("mine") is before
    after = registry.load("mine", fresh=True)
    assert (after.parameters["period"].default, before.parameters["period"].default) == (30, 20)
    assert after.digest != before.digest
    path.unlink()
    assert registry.changed("mine")


def test_the_digest_follows_the_file_also_where_size_and_time_stay(registry, user_dir):
    path = write(user_dir, "mine", OWN)
    first = registry.load("mine").digest
    assert registry.digest("mine") == registry.digest("mine") == first
    before = path.stat()
    path.write_text(OWN.replace("integer(20", "integer(30"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = registry.digest("mine")
    assert path.stat().st_size == before.st_size
    assert second not in (None, first)
    path.chmod(0o666)  # others could write to it: it would not be loaded
    assert registry.digest("mine") is None
    path.unlink()
    assert registry.digest("mine") is None
    assert registry.digest("rsi") == registry.load("rsi").digest


def test_a_missing_user_directory_is_an_empty_one(tmp_path):
    assert Registry(BUILTIN, tmp_path / "none").names() == Registry(BUILTIN).names()


def test_the_scaffold_writes_a_strategy_that_passes_its_own_test(user_dir):
    for name, text in scaffold("mean_of_mine").items():
        (user_dir / name).write_text(text)
    assert Registry(BUILTIN, user_dir).names().count("mean_of_mine") == 1
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mean_of_mine.py"],
        cwd=user_dir,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in run.stdout, run.stdout + run.stderr


def test_what_the_scaffold_says_of_larger_candles_is_so(user_dir):
    """Its comment as code: declared, read, aligned; and its own test goes on to hold."""
    text, test = scaffold("larger").values()
    declared = next(line for line in text.splitlines() if "def inputs" in line).replace("    #     ", "    ")
    hour, trend = text.split("and in signals: ")[1].split(". Closed")[0].split("; ")
    text = text.replace("import SignalStrategy", "import Input, SignalStrategy")
    text = text.replace("    def warmup", declared + "\n\n    def warmup")
    text = text.replace("        average =", f"        {hour}\n        {trend}\n        average =")
    text = text.replace("above(candles.close, average", "above(trend, average")
    (user_dir / "larger.py").write_text(text)
    others = test.replace("with_inputs(mine, candles(walk))", "with_inputs(mine, candles(walk), BTC=candles(walk))")
    others = others.replace("full(1000, 100.0)))", "full(1000, 100.0)), BTC=candles(np.full(1000, 100.0)))")
    (user_dir / "test_larger.py").write_text(others)
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(user_dir)],
                         capture_output=True, text=True)  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_scaffold_refuses_a_bad_name():
    with pytest.raises(InvalidError):
        scaffold("../x")
