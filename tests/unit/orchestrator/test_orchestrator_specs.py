"""What a user typed becomes a checked spec, or an error that names the key and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botd.domain.errors import BotdError, InvalidError, NotFoundError
from botd.domain.instrument import Instrument
from botd.orchestrator.specs import SpecParser, as_mapping, decimal, difference
from botd.strategy.registry import Registry

D = Decimal
SYMBOLS = {
    name: Instrument(symbol=name, base=name[:3], quote="USDT", tick=D("0.01"), step=D("0.001"))
    for name in ("BTC/USDT", "ETH/USDT")
}
GOOD: Mapping[str, Any] = {
    "name": "alpha", "strategy": "rsi", "symbol": "BTC/USDT", "interval": "5m", "capital": "1000",
}  # fmt: skip


@pytest.fixture(scope="module")
def parser() -> SpecParser:
    return SpecParser(Registry.standard(), SYMBOLS, "1m")


def test_a_spec_has_all_parameters_with_their_defaults(parser: SpecParser) -> None:
    spec = parser.parse({**GOOD, "params": {"period": "7"}, "labels": {"b": "2", "a": "1"}, "stop_loss": "0.02"})
    assert spec.params == {"period": 7, "oversold": 30, "overbought": 70}
    assert (spec.capital, spec.stop_loss, spec.labels, spec.mode) == (1000, D("0.02"), {"a": "1", "b": "2"}, "paper")


BAD = [
    ({"name": "a/b"}, InvalidError, "'a/b' is not a bot's name", "a letter or digit first"),
    ({"name": ""}, InvalidError, "'' is not a bot's name", ""),
    ({"name": "x" * 65}, InvalidError, "is not a bot's name", "at most 64"),
    ({"name": "alpha\n"}, InvalidError, "is not a bot's name", ""),
    ({"name": None}, InvalidError, "None is not a bot's name", ""),
    ({"capitol": "1"}, InvalidError, "unknown key 'capitol' in a bot", "did you mean capital?"),
    ({"strategy": ""}, InvalidError, "alpha: strategy is missing", ""),
    ({"capital": None}, InvalidError, "alpha: capital is missing", ""),
    ({"strategy": "rsj"}, NotFoundError, "rsj: no such strategy", "did you mean rsi?"),
    ({"symbol": "BTC/USDC"}, NotFoundError, "alpha: no symbol 'BTC/USDC' in this market", "did you mean BTC/USDT?"),
    ({"symbol": "btc/usdt"}, NotFoundError, "alpha: no symbol 'btc/usdt'", "did you mean BTC/USDT?"),
    ({"symbol": "?"}, NotFoundError, "alpha: no symbol '?'", "it has BTC/USDT, ETH/USDT"),
    ({"interval": "7m"}, InvalidError, "alpha: unknown interval '7m'", "one of "),
    ({"interval": "1s"}, InvalidError, "alpha: ", ""),
    ({"capital": "0"}, InvalidError, "alpha: capital must be above zero, not 0", ""),
    ({"capital": "-5"}, InvalidError, "alpha: capital must be above zero, not -5", ""),
    ({"capital": "nan"}, InvalidError, "alpha: capital must be finite, not nan", ""),
    ({"capital": "inf"}, InvalidError, "alpha: capital must be finite, not inf", ""),
    ({"capital": "1e99"}, InvalidError, "alpha: capital is out of range: 1e99", ""),
    ({"capital": "abc"}, InvalidError, "alpha: capital must be a number, not 'abc'", "digits only"),
    ({"capital": "10k"}, InvalidError, "alpha: capital must be a number, not '10k'", "write 10000"),
    ({"capital": "1.5M"}, InvalidError, "alpha: capital must be a number, not '1.5M'", "write 1500000"),
    ({"capital": "1_000"}, InvalidError, "alpha: capital must be a number, not '1_000'", ""),
    ({"stop_loss": "1"}, InvalidError, "alpha: --stop-loss must be above 0 % and below 100 %, not 100 %", ""),
    ({"trailing_stop": "0"}, InvalidError, "alpha: --trailing-stop must be above 0 % and below 100 %, not 0 %", ""),
    ({"take_profit": "1.01"}, InvalidError, "alpha: --take-profit must be above 0 % and at most 100 %, not 101 %", ""),
    ({"fraction": "-0.1"}, InvalidError, "alpha: --fraction must be above 0 % and at most 100 %, not -10 %", ""),
    ({"fraction": "0.5", "risk_per_trade": "0.01", "stop_loss": "0.1"}, InvalidError, "exclude each other", ""),
    (
        {"risk_per_trade": "0.01"},
        InvalidError,
        "alpha: --risk-per-trade needs a stop",
        "add --stop-loss 2%, --trailing-stop 1.5% or --atr-stop 3x14",
    ),
    ({"atr_stop": "3y14"}, InvalidError, "alpha: --atr-stop must be a multiple of ATR such as 3x14", ""),
    ({"atr_stop": "0x14"}, InvalidError, "alpha: --atr-stop must be a multiple of ATR such as 3x14", ""),
    ({"atr_stop": "3x0"}, InvalidError, "ATR over 1 to 10000 candles), not 3x0", ""),
    ({"time_stop": "0"}, InvalidError, "alpha: --time-stop must be whole candles from 1", ""),
    ({"time_stop": "1.5"}, InvalidError, "alpha: --time-stop must be whole candles from 1", ""),
    ({"break_even": "0"}, InvalidError, "alpha: --break-even must be above 0 % and at most 100 %, not 0 %", ""),
    ({"mode": "demo"}, InvalidError, "alpha: mode must be paper or live, not 'demo'", ""),
    ({"labels": {"a b": "c"}}, InvalidError, "alpha: label a b=c", ""),
    ({"params": {"perod": 3}}, InvalidError, "strategy rsi:", ""),
    ({"params": {"period": 0}}, InvalidError, "period must be", ""),
]


@pytest.mark.parametrize(("change", "kind", "message", "hint"), BAD, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_named(parser: SpecParser, change: Any, kind: Any, message: str, hint: str) -> None:
    with pytest.raises(kind) as caught:
        parser.parse({**GOOD, **change})
    assert message in caught.value.message and hint in caught.value.hint


def test_any_interval_is_served_where_the_market_has_no_base(parser: SpecParser) -> None:
    assert SpecParser(parser._registry, SYMBOLS, None).parse({**GOOD, "interval": "1m"}).interval == "1m"
    with pytest.raises(InvalidError, match="cannot be built from this market's 5m candles"):
        SpecParser(parser._registry, SYMBOLS, "5m").parse({**GOOD, "interval": "1m"})


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,9}", fullmatch=True)
fractions = st.decimals("0.0001", "0.9999", places=4).map(str)
specs = st.fixed_dictionaries(
    {**{key: st.just(value) for key, value in GOOD.items()}, "name": names,
     "capital": st.decimals("0.01", "1000000", places=2).map(str)},
    optional={"fraction": fractions, "stop_loss": fractions, "take_profit": fractions, "trailing_stop": fractions,
              "break_even": fractions, "atr_stop": st.sampled_from(["3x14", "2.50", "300x1"]),
              "time_stop": st.integers(1, 1000),
              "labels": st.dictionaries(names, st.just("x"), max_size=3), "mode": st.just("live"),
              "params": st.fixed_dictionaries({}, optional={"period": st.integers(2, 50)})},
)  # fmt: skip


@settings(max_examples=30)
@given(specs)
def test_a_spec_written_down_is_read_back_as_it_was(raw: dict[str, Any]) -> None:
    parser = SpecParser(Registry.standard(), SYMBOLS, "1m")
    spec = parser.parse(raw)
    assert parser.parse(as_mapping(spec)) == spec and difference(spec, spec) == {}


def test_a_difference_names_parameters_and_labels_by_their_own_names(parser: SpecParser) -> None:
    old = parser.parse({**GOOD, "labels": {"team": "a"}})
    new = parser.parse({**GOOD, "capital": "1000.00", "params": {"period": 7}, "labels": {"team": "b"}})
    assert difference(old, new) == {"period": [14, 7], "label.team": ["a", "b"]}


@given(st.text(max_size=20))
def test_a_number_is_finite_and_in_range_or_refused(text: str) -> None:
    try:
        number = decimal("x", text)
    except BotdError as error:
        assert error.message.startswith("x ")
    else:
        assert number.is_finite() and abs(number) < D(10) ** 16
