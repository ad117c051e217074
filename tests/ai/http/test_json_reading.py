"""JSON: bounds of depth and values hold before it is parsed, however it is cut; repeated names are refused."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_api.errors import InvalidRequest
from ai_api.http.body.json_reading import MAX_DEPTH, MAX_VALUES, MAX_WIDE_BYTES, JsonBounds, parse_json


def read(text: bytes, *cuts: int) -> Any:
    """The value of a text that arrives in parts, cut at these places."""
    bounds = JsonBounds()
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in pairwise(places):
        bounds.feed(text[start:end])
    return parse_json(bytearray(text), bounds.names)


texts = st.text() | st.text('\\"[]{},:')
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(value=values, cuts=st.lists(st.integers(0, 1_000), max_size=4), ascii_only=st.booleans())
def test_every_value_is_read_whatever_its_texts_hold_and_wherever_it_is_cut(
    value: object, cuts: list[int], ascii_only: bool
) -> None:
    assert read(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace"), *cuts) == value


def test_a_byte_order_mark_is_skipped() -> None:
    assert read(b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"[" * (MAX_DEPTH + 1), "nested deeper than 32 levels"),
        (b'{"a":' * 100_000, "nested deeper"),
        (b"[" + b"[]," * MAX_VALUES, "more than 200,000 values"),
        (b"[" + b"0," * MAX_VALUES, "more than 200,000 values"),
        (b'""' * 100, "not valid JSON"),
        (b'{"a": 1, "a": 2}', "a name occurs twice in one object"),
        (b'[{"b": {"a": 1, "c": 3, "a": 2}}]', "a name occurs twice in one object"),
        (b'{"a": 1, "\\u0061": 2}', "a name occurs twice in one object"),
        (b'{"a": "\\ud800", "a": 2}', "a name occurs twice in one object"),
        (b"[NaN]", "not valid JSON at line 1 column 2"),
        (b"[-Infinity]", "not valid JSON at line 1 column 3"),
        (b'["\\ud800", NaN]', "not valid JSON"),
        (b'{"text": "caf\xe9"}', "not UTF-8. Send JSON as UTF-8."),
        ("{}".encode("utf-16"), "not UTF-8. Send JSON as UTF-8."),
        (b"{'text': 1}", "not valid JSON at line 1 column 2"),
        (b'"zebra', "not valid JSON at line 1 column 6"),
        (b"[" + b"9" * 5_000 + b"]", "not valid JSON"),
        (b" ", "not valid JSON"),
    ],
)
def test_what_is_no_json_or_too_much_of_it_is_refused_with_the_reason(text: bytes, detail: str) -> None:
    for cuts in ([], [1, len(text) // 2, len(text) - 1]):
        with pytest.raises(InvalidRequest) as error:
            read(text, *cuts)
        assert str(error.value).startswith(f"body: {detail}")


def test_the_bounds_are_those_that_they_say() -> None:
    assert len(read(b"[" + b"0," * (MAX_VALUES - 2) + b"0]")) == MAX_VALUES - 1
    assert read(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert read(b"[" + b"[[]]," * 1_000 + b"[]]")


def test_bounds_are_passed_before_the_end_of_a_text_arrives() -> None:
    bounds = JsonBounds()
    with pytest.raises(InvalidRequest):
        bounds.feed(b"[" * 1_000)


BASE64 = b"QUJD" * 25_000
EMOJI = "\N{GRINNING FACE}".encode()


@pytest.mark.parametrize(
    ("text", "wide"),
    [
        (b'{"image": "' + BASE64 + b'"}', 0),
        (b'{"title": "' + EMOJI + b'", "image": "' + BASE64 + b'"}', 1_000),
        (b'{"text": "' + EMOJI + BASE64 + b'"}', 100_000),
        (b'{"text": "' + BASE64 + EMOJI + b'"}', 99_000),
        (b'{"text": "' + EMOJI + b'\\"' + BASE64 + b'"}', 100_000),
        (b'{"text": "' + BASE64[:50_000] + EMOJI + BASE64[50_000:] + b'"}', 99_000),
    ],
)
def test_a_text_that_is_wide_at_one_place_counts_as_a_whole_and_an_image_beside_one_does_not(
    text: bytes, wide: int
) -> None:
    bounds = fed(text)
    assert wide <= bounds.wide <= wide + 1_100


def test_text_that_is_not_ascii_is_bounded_and_text_that_is_is_not() -> None:
    wide = b'["' + EMOJI + b"a" * (MAX_WIDE_BYTES + 1_000) + b'"]'
    with pytest.raises(InvalidRequest, match="more than 8 MiB of text that is not ASCII"):
        fed(wide)
    fed(wide[: MAX_WIDE_BYTES - 2_000] + b'"]')
    fed(b'["' + EMOJI + b'", "' + b"a" * 2 * MAX_WIDE_BYTES + b'"]')


def fed(text: bytes) -> JsonBounds:
    """The bounds after a text has arrived in parts."""
    bounds = JsonBounds()
    for start in range(0, len(text), 1_000):
        bounds.feed(text[start : start + 1_000])
    return bounds
