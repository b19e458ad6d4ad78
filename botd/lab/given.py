"""What a command of the lab was asked for, made into strategies, candles and terms. No daemon needed.

``asked`` is what ``botctl`` sends: plain values by name, percentages as decimal fractions. Everything is checked here,
before anything is played; nothing is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from botd.backtest.history import History, from_file, from_store
from botd.backtest.terms import Terms
from botd.domain.bot_spec import parse_atr
from botd.domain.candle import interval_ms
from botd.domain.errors import InvalidError
from botd.domain.instrument import Instrument, split_symbol
from botd.lab.inputs import Rows, rows_from, with_inputs
from botd.market.store.candle_store import CandleStore
from botd.strategy.registry import Registry, StrategyInfo
from botd.strategy.warmup import warmup_of

Asked = Mapping[str, Any]

DECIMALS = ("capital", "fraction", "risk_per_trade", "stop_loss", "take_profit", "trailing_stop", "break_even")


@dataclass(frozen=True, slots=True)
class Place:
    """What the configuration says: where candles and strategies are. ``exchange`` names the store's folder."""

    data_dir: Path
    state_dir: Path
    exchange: str
    grids: Mapping[str, Instrument]
    registry: Registry
    risk: Mapping[str, Any] = field(default_factory=dict)
    """The section of the configuration."""


@dataclass(frozen=True, slots=True)
class Job:
    """One strategy with its parameters on the candles of one symbol."""

    info: StrategyInfo
    params: Mapping[str, Any]
    history: History
    terms: Terms


def jobs(place: Place, asked: Asked) -> Iterator[Job]:
    """Yield a job a strategy and symbol, the strategies of a symbol together; all arguments are checked first."""
    infos = [place.registry.load(name) for name in asked["strategies"]]
    params = params_of(infos, asked.get("params") or {})
    terms = terms_of(asked.get("terms") or {})
    strategies = [(info.name, info.build(own)) for info, own in zip(infos, params, strict=True)]
    warmup = max(terms.warmup, *(warmup_of(name, strategy) for name, strategy in strategies))
    for history in histories(place, asked, warmup):
        history = with_inputs(history, strategies, input_rows(place, asked))
        for info, own in zip(infos, params, strict=True):
            yield Job(info, own, history, terms)


def params_of(infos: Sequence[StrategyInfo], given: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the parameters of each strategy; ``rsi.period`` means one of several, ``period`` all that have it."""
    found: list[dict[str, Any]] = [{} for _ in infos]
    for key, value in given.items():
        owner, dot, name = key.rpartition(".")
        takers = [k for k, info in enumerate(infos) if (info.name == owner if dot else key in info.parameters)]
        if not takers and (len(infos) == 1 or dot):
            takers = [0]  # that one says what it does not know
        if not takers:
            names = ", ".join(info.name for info in infos)
            raise InvalidError(f"none of {names} has a parameter {key!r}", "botctl strategies NAME lists them")
        for k in takers:
            found[k][name if dot and infos[k].name == owner else key] = value
    for info, own in zip(infos, found, strict=True):
        info.build(own)
    return found


def histories(place: Place, asked: Asked, warmup: int) -> Iterator[History]:
    """Yield the candles of each symbol: from its file, else from the local store."""
    symbols, interval = list(asked["symbols"]), asked["interval"]
    check_lane(symbols, interval)
    files = [Path(path) for path in asked.get("files") or []]
    if files and len(files) != len(symbols):
        raise InvalidError(
            f"{len(files)} files for {len(symbols)} symbols", "give a --data for each --symbol, in order"
        )
    from_ms, to_ms = asked.get("from_ms"), asked.get("to_ms")
    if from_ms is not None and to_ms is not None and to_ms <= from_ms:
        raise InvalidError("the end is not after the begin", "--to must be later than --from")
    grids = place.grids
    for k, symbol in enumerate(symbols):
        span: dict[str, Any] = {"from_ms": from_ms, "to_ms": to_ms, "warmup": warmup, "instrument": grids.get(symbol)}
        if files:
            yield from_file(files[k], symbol, interval, **span)
        else:
            yield from_store(store_of(place), symbol, interval, **span)


def input_rows(place: Place, asked: Asked) -> Rows:
    """Return where the candles come from that strategies read besides: a symbol's file, else the store."""
    files = dict(zip(asked["symbols"], map(Path, asked.get("files") or []), strict=False))
    return rows_from(store_of(place), files)


def store_of(place: Place) -> CandleStore:
    """Return the store of the configured exchange."""
    return CandleStore(place.data_dir, place.exchange)


def check_lane(symbols: Sequence[str], interval: str) -> None:
    """Raise InvalidError for what is no symbol or interval, and for a symbol given twice."""
    try:
        interval_ms(interval)
        for symbol in symbols:
            split_symbol(symbol)
    except ValueError as error:
        raise InvalidError(str(error)) from None
    if len(set(symbols)) != len(symbols):
        raise InvalidError("a symbol is given twice", "each symbol once")


def terms_of(given: Mapping[str, Any]) -> Terms:
    """Return the terms of what was given as text; ``fee`` is both fees, ``atr_stop`` is ``3`` or ``3x14``."""
    values: dict[str, Any] = {key: decimal(key, given[key]) for key in DECIMALS if given.get(key) is not None}
    if given.get("fee") is not None:
        fee = values["maker_fee"] = values["taker_fee"] = decimal("fee", given["fee"])
        if not 0 <= fee < 1:
            raise InvalidError(f"fee must be at least 0 and below 1 (100%), not {fee}")
    if given.get("slippage") is not None:
        values["slippage"] = decimal("slippage", given["slippage"])
    if given.get("atr_stop") is not None:
        try:
            values["atr_stop"], values["atr_period"] = parse_atr(str(given["atr_stop"]))
        except ValueError as error:
            raise InvalidError(f"atr-stop {error}") from None
    if given.get("time_stop") is not None:
        values["time_stop"] = int(given["time_stop"])
    return Terms(**values)


def decimal(name: str, text: Any) -> Decimal:
    """Return a finite decimal; InvalidError names what it is for."""
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise InvalidError(f"{name.replace('_', '-')} must be a number, not {text}")
    if value and not -18 <= value.adjusted() <= 18:
        raise InvalidError(f"{name.replace('_', '-')} must lie between 1e-18 and 1e19, not {text}")
    return value


def told_terms(terms: Terms) -> dict[str, Any]:
    """Return the terms as JSON carries them: what differs from nothing, by name."""
    names = (*DECIMALS, "atr_stop", "maker_fee", "taker_fee", "slippage")
    told: dict[str, Any] = {name: f"{value:f}" for name in names if (value := getattr(terms, name)) is not None}
    if terms.atr_stop is not None:
        told["atr_period"] = terms.atr_period
    if terms.time_stop is not None:
        told["time_stop"] = terms.time_stop
    return told
