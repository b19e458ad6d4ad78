"""Binance's stream messages as typed values: every kind, both forms, recordings, and garbage."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botd.domain.candle import Candle
from botd.market.binance import wire

DATA = Path(os.environ.get("BOTD_TEST_DATA", Path(__file__).parents[3] / "../shared/data")).resolve()
BAR = {
    "t": 1633998480000, "T": 1633998539999, "s": "NKNUSDT", "i": "1m", "f": 23212, "L": 23218,
    "o": "0.35260000", "c": "0.35270000", "h": "0.35290000", "l": "0.35250000", "v": "4214.00000000",
    "n": 7, "x": True, "q": "1486.22910000", "V": "1035.00000000", "Q": "365.24150000", "B": "0",
}  # fmt: skip
KLINE = {"e": "kline", "E": 1633998540010, "s": "NKNUSDT", "k": BAR}
BOOK = {"u": 400900217, "s": "BNBUSDT", "b": "25.35190000", "B": "31.21000000", "a": "25.36520000", "A": "40.66000000"}
TRADE = {"e": "trade", "E": 3, "s": "BNBBTC", "t": 12345, "p": "0.001", "q": "100", "T": 2, "m": True, "M": True}
SAID: dict[str, tuple[dict[str, Any], wire.Message]] = {
    "nknusdt@kline_1m": (
        KLINE,
        wire.Kline(
            1633998540010, "NKNUSDT", wire.Bar(1633998480000, "1m", 0.3526, 0.3529, 0.3525, 0.3527, 4214.0, 7, True)
        ),
    ),
    "bnbusdt@bookTicker": (BOOK, wire.BookTicker(400900217, "BNBUSDT", 25.3519, 31.21, 25.3652, 40.66)),
    "bnbbtc@trade": (TRADE, wire.Trade(3, "BNBBTC", 12345, 0.001, 100.0, 2, True)),
}


def frame(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize("stream", SAID)
def test_each_kind_is_the_same_value_in_both_forms_and_in_any_order(stream: str) -> None:
    data, expected = SAID[stream]
    turned = dict(reversed(data.items()))
    wrapped = {"stream": stream, "data": data}, {"data": turned, "stream": stream}
    for text in map(frame, (data, turned, *wrapped)):
        assert wire.decode(text) == wire.decode(memoryview(text)) == expected
    assert wire.decode(json.dumps({"stream": stream, "data": data}, indent=1).encode()) == expected


def test_a_kline_with_a_time_zone_in_its_stream_is_a_kline() -> None:
    found = wire.decode(frame({"stream": "nknusdt@kline_1m@+08:00", "data": KLINE}))
    assert found == SAID["nknusdt@kline_1m"][1]


def test_a_bar_becomes_a_candle() -> None:
    found = wire.decode(frame(KLINE))
    assert isinstance(found, wire.Kline)
    assert found.bar.candle() == Candle(1633998480000, 0.3526, 0.3529, 0.3525, 0.3527, 4214.0)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"result": None, "id": 1}, wire.Reply(1)),
        ({"id": 1, "result": None}, wire.Reply(1)),
        ({"result": ["a@trade"], "id": "x"}, wire.Reply("x", ["a@trade"])),
        ({"result": None, "id": None}, wire.Reply(None)),
        ({"error": {"code": 2, "msg": "no"}, "id": 7}, wire.Reply(7, fault=wire.Fault(2, "no"))),
        ({"code": 2, "msg": "no", "id": 7}, wire.Reply(7, fault=wire.Fault(2, "no"))),
        ({"e": "serverShutdown", "E": 5}, wire.ServerShutdown(5)),
        ({"stream": "x", "data": {"e": "serverShutdown", "E": 5}}, wire.ServerShutdown(5)),
        ({"event": {"e": "serverShutdown", "E": 5}}, wire.ServerShutdown(5)),
    ],
)
def test_words_about_the_connection(said: dict[str, Any], expected: wire.Message) -> None:
    assert wire.decode(frame(said)) == expected
    assert wire.control(frame(said)) == expected


@pytest.mark.parametrize("stream", SAID)
def test_market_data_is_no_word_about_the_connection(stream: str) -> None:
    data = SAID[stream][0]
    assert wire.control(frame(data)) is None
    assert wire.control(frame({"stream": stream, "data": data})) is None


def test_a_kind_that_is_not_used_is_nothing() -> None:
    depth = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": 1, "u": 2, "b": [["1", "2"]], "a": []}
    for said in (depth, {"stream": "btcusdt@depth@100ms", "data": depth}, {"stream": "x", "data": {"lastUpdateId": 1}}):
        assert wire.decode(frame(said)) is None


BROKEN = [
    b"", b" ", b"{", b"null", b"7", b'"kline"', b"\xff\xfe", b'{"stream":7,"data":{}}', b'{"stream":"a@kline_1m"}',
    b'{"stream":"a@kline_1m","data":null}', b"[1]", b"[" * 100_000, b"<html>maintenance</html>",
    frame({"stream": "a@kline_1m", "data": BOOK}),
    frame(KLINE | {"k": BAR | {"o": "cheap"}}), frame(KLINE | {"k": BAR | {"o": None}}),
    frame(KLINE | {"k": BAR | {"x": "maybe"}}), frame(KLINE | {"k": BAR | {"t": 1.5}}), frame(KLINE | {"k": []}),
    frame({key: value for key, value in BOOK.items() if key != "b"}),
    frame({"stream": "nknusdt@kline_1m", "data": KLINE})[:-1],
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_garbage_is_a_wire_error_that_shows_it(text: bytes) -> None:
    with pytest.raises(wire.WireError) as caught:
        wire.decode(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert wire.control(text) is None


@given(st.sampled_from(sorted(SAID)), st.data())
def test_a_damaged_frame_is_a_value_or_a_wire_error_and_nothing_else(stream: str, data: st.DataObject) -> None:
    text = bytearray(frame({"stream": stream, "data": SAID[stream][0]}))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(text[: data.draw(st.integers(0, len(text)))])
    for damaged in (bytes(text), cut):
        wire.control(damaged)
        try:
            wire.decode(damaged)
        except wire.WireError:
            pass


def _capture(name: str) -> list[str]:
    path = DATA / "ws_raw" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with gzip.open(path, "rt") as lines:
        return [line[line.index("{") :] for line in lines if '{"stream"' in line]


@pytest.mark.parametrize("name", ["cryptofeed_BINANCE.ws.1.0.gz", "hft_spot_btcusdt_20240808.gz"])
def test_recorded_frames_say_what_plain_json_says(name: str) -> None:
    kinds = {wire.Kline: 0, wire.BookTicker: 0, wire.Trade: 0}
    for text in _capture(name)[:20_000]:
        plain = json.loads(text)["data"]
        found = wire.decode(text.encode())
        if found is None:
            assert plain["e"] in ("depthUpdate", "aggTrade")
            continue
        kinds[type(found)] += 1
        assert found.symbol == plain["s"]  # type: ignore[union-attr]
        match found:
            case wire.Kline(bar=bar):
                names = {"o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": bar.volume}
                assert {key: float(plain["k"][key]) for key in names} == names
                assert (bar.closed, bar.trades, bar.open_time) == tuple(plain["k"][key] for key in "xnt")
            case wire.BookTicker():
                assert (found.bid, found.ask) == (float(plain["b"]), float(plain["a"]))
            case wire.Trade():
                assert (found.price, found.quantity) == (float(plain["p"]), float(plain["q"]))
    assert kinds[wire.BookTicker] > 10


@pytest.mark.parametrize("name", ["btcusdt@bookTicker", "btcusdt@kline_1m"])
def test_a_stream_whose_data_are_of_another_kind_is_decoded_or_refused_as_any_other(name: str) -> None:
    """The short way goes by the stream's name; where that does not fit, the long way judges."""
    for data in (b'{"e":"trade"}', b"{}", b"null", b'{"u":1,"s":"BTCUSDT"}'):
        with pytest.raises(wire.WireError):
            wire.decode(b'{"stream":"%b","data":%b}' % (name.encode(), data))
    assert wire.decode(b'{"stream":"btcusdt@balance","data":{"e":"balance"}}') is None
    for cut in (b'{"stream":"btcusdt@', b'{"stream":"@', b'{"stream":"'):
        with pytest.raises(wire.WireError):
            wire.decode(cut)
