"""Client order ids: an address computed from the order's place."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botd.execution.client_ids import client_order_id, parse_client_order_id

INSTANCES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=5, max_size=5)
NUMBERS = st.integers(0, 10**10 - 1)


@given(st.sampled_from(["paper", "live", "testnet"]), INSTANCES, NUMBERS, NUMBERS)
def test_an_id_is_its_place_and_gives_it_back(mode: str, instance: str, bot: int, sequence: int) -> None:
    text = client_order_id(mode, instance, bot, sequence)
    assert text == client_order_id(mode, instance, bot, sequence)
    assert len(text) <= 36 and re.fullmatch(r"[A-Za-z0-9_-]+", text)
    assert parse_client_order_id(text) == (instance, bot, sequence)


@given(INSTANCES, st.integers(0, 10**6), st.integers(0, 10**6), st.data())
def test_a_changed_digit_is_noticed(instance: str, bot: int, sequence: int, data: st.DataObject) -> None:
    text = client_order_id("paper", instance, bot, sequence)
    digits = [index for index, letter in enumerate(text) if letter.isdigit() and index > 6]
    index = data.draw(st.sampled_from(digits))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != text[index]]))
    changed = text[:index] + other + text[index + 1 :]
    # 97 check values: a change collides once in 97, and never where only the check digits changed
    if index >= len(text) - 2:
        assert parse_client_order_id(changed) is None
    else:
        assert parse_client_order_id(changed) != (instance, bot, sequence)


@pytest.mark.parametrize(
    "text", ["", "x-abc", "P7K3QX-1-2", "P7K3QX-1-2-3", "p7k3qx-1-2-00", "web_1a2b", "ios_0-1-2-33"]
)
def test_the_ids_of_others_are_nobodys(text: str) -> None:
    assert parse_client_order_id(text) is None


def test_one_spelling_a_number() -> None:
    good = client_order_id("paper", "ABCDE", 1, 2)
    assert parse_client_order_id(good.replace("-1-", "-01-")) is None
    assert parse_client_order_id(good.replace("-1-", "-١-")) is None
    assert parse_client_order_id(good + "\n") is None
