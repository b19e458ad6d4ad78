"""The wire's page: strict JSON, the envelope, one table of exit codes, and what importing it costs."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botd.control import protocol
from botd.control.protocol import ProtocolError, decode_request, encode_request, parse


def refusal(raw: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        parse(raw)
    assert caught.value.code == "INVALID"
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    "raw, says",
    [
        (b"[" * 100_000, "nested deeper than 16"),
        (b'{"a":' * 17 + b"1" + b"}" * 17, "nested deeper than 16"),
        (b'{"a":{"b":' * 20_000, "nested deeper than 16"),
        (b'{"a":NaN}', "NaN is not a number"),
        (b'{"a":Infinity}', "Infinity is not a number"),
        (b'{"a":-Infinity}', "-Infinity is not a number"),
        (b'{"a":1e999}', "'1e999' is too large"),
        (b'{"a":-1e999}', "'-1e999' is too large"),
        (b'{"a":' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"a":1,"a":2}', "key 'a' is given twice"),
        (b'{"x":{"a":1,"b":2,"a":3}}', "key 'a' is given twice"),
        (b'{"a":"\xff"}', "not UTF-8 at byte 6"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":"\\ud800"}', "half a surrogate"),
        (b'{"a":"\\udc00"}', "half a surrogate"),
        (b'{"\\ud800":1}', "half a surrogate"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a":1}x', "not JSON"),
        (b"[1,2]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"a":"' + b"x" * 300_000 + b'"}', "too many"),
    ],
)
def test_json_that_could_mislead_is_refused_in_one_line(raw, says):
    assert says in refusal(raw)


def test_sound_json_of_sixteen_levels_passes_and_brackets_in_texts_do_not_count():
    assert parse(b'{"a":' * 16 + b"1" + b"}" * 16)
    assert parse(b'{"a":"' + b"[{" * 1000 + b'"}')
    assert parse(b'{"a":"\\"' + b"[{" * 1000 + b'"}')
    assert parse(b'{"a":[' + b"[]," * 100 + b"[]]}")
    assert parse(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text('{}[]",:\\\\u d81aeNITf-0.9\n', max_size=200).map(str.encode)))
def test_no_bytes_raise_anything_but_a_protocol_error(raw):
    for read in (parse, decode_request):
        try:
            read(raw)
        except ProtocolError as error:
            assert error.message.isprintable()
    protocol.request_id_of(raw), protocol.version_of(raw)


def test_a_request_comes_out_as_it_went_in():
    request = decode_request(encode_request("id-1", "stop", {"names": ["ä"]}, 1500, "botctl/1"))
    assert (request.id, request.cmd, request.args) == ("id-1", "stop", {"names": ["ä"]})
    assert (request.deadline_ms, request.client) == (1500, "botctl/1")


def test_a_number_that_is_not_finite_is_not_sent():
    with pytest.raises(ValueError):
        encode_request("1", "set", {"x": float("nan")})


@pytest.mark.parametrize(
    "raw, says",
    [
        (b'{"cmd":"ls"}', "id must be"),
        (b'{"id":5,"cmd":"ls"}', "id must be"),
        (b'{"id":"a b","cmd":"ls"}', "id must be"),
        (b'{"id":"a\\n","cmd":"ls"}', "id must be"),
        (b'{"id":"a"}', "cmd must be"),
        (b'{"id":"a","cmd":""}', "cmd must be"),
        (b'{"id":"a","cmd":"ls","args":[]}', "args must be an object"),
        (b'{"id":"a","cmd":"ls","deadline_ms":0}', "deadline_ms"),
        (b'{"id":"a","cmd":"ls","deadline_ms":true}', "deadline_ms"),
        (b'{"id":"a","cmd":"ls","deadline_ms":1.5}', "deadline_ms"),
        (b'{"id":"a","cmd":"ls","client":1}', "client"),
        (b'{"id":"a","cmd":"ls","agrs":{}}', "unknown key 'agrs'"),
    ],
)
def test_an_envelope_that_is_not_sound_is_refused(raw, says):
    with pytest.raises(ProtocolError, match=says):
        decode_request(raw)


def test_a_request_without_a_deadline_gets_one_and_none_is_endless():
    assert decode_request(b'{"id":"a","cmd":"ls"}').deadline_ms == protocol.DEFAULT_DEADLINE_MS
    assert decode_request(b'{"id":"a","cmd":"ls","deadline_ms":999999999999}').deadline_ms == 3_600_000


def test_the_id_of_a_broken_request_is_still_found():
    assert protocol.request_id_of(b'{"id": "x-1", "cmd": [[[') == "x-1"
    assert protocol.request_id_of(b"\xff\x00") is None


def test_every_error_of_the_domain_has_an_exit_code():
    from botd.domain import errors

    codes = {value.code for value in vars(errors).values() if isinstance(value, type)}
    assert codes <= set(protocol.EXIT_CODES)
    assert protocol.EXIT_CODES["VERSION"] == 76


def test_a_refusal_is_the_json_that_the_page_describes():
    refused = json.loads(protocol.encode_error("1", "BUSY", "mä", "h"))
    assert refused == {"id": "1", "ok": False, "error": {"code": "BUSY", "message": "mä", "hint": "h"}}


def test_importing_the_protocol_brings_nothing_else_of_botd():
    code = (
        "import json, sys, botd.control; before = set(sys.modules); import botd.control.protocol\n"
        "print(sorted(name for name in set(sys.modules) - before if name.startswith('botd')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.rstrip().endswith("['botd.control.protocol']"), run
