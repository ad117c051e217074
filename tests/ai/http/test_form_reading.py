"""Forms are complete and in UTF-8, or refused with the reason: nothing is guessed, and every parser error is one."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ai_api.errors import InvalidRequest
from ai_api.http.body.form_reading import MAX_FIELDS, MULTIPART, URLENCODED, FormPart, parse_form

WITH_BOUNDARY = f"{MULTIPART}; boundary=x"


def part(name: str, content: str | bytes, *headers: str, filename: str | None = None) -> bytes:
    """A part of a form with the boundary x, with its delimiter."""
    named = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    head = "\r\n".join(["--x", named, *headers, "", ""])
    return head.encode() + (content if isinstance(content, bytes) else content.encode()) + b"\r\n"


@pytest.mark.parametrize(
    "content",
    [b"name=J%C3%BCrgen+A%26B&empty=", "name=Jürgen A%26B&empty".encode()],
    ids=["escaped", "raw UTF-8"],
)
@pytest.mark.parametrize("charset", ["", "; charset=utf-8", "; charset=UTF8", '; charset="utf-8"'])
def test_an_urlencoded_form_is_read_as_utf8_however_it_is_escaped(content: bytes, charset: str) -> None:
    fields = {found.name: found.text for found in parse_form(URLENCODED + charset, content)}
    assert fields == {"name": "Jürgen A&B", "empty": ""}


def test_a_multipart_form_is_read_as_it_was_sent() -> None:
    picture = bytes(range(256)) + b"\r\n--xy\r\n--\r\n-x"
    content = part("täxt", "Jürgen\r\n--") + part("a%22b", "") + part("image", picture, "X: y", filename="a.png")
    assert parse_form(f'{MULTIPART}; boundary="x"', content + b"--x--\r\n") == [
        FormPart("täxt", "Jürgen\r\n--".encode(), is_file=False),
        FormPart('a"b', b"", is_file=False),
        FormPart("image", picture, is_file=True),
    ]
    assert parse_form(WITH_BOUNDARY, b"--x--") == []
    assert parse_form("", b"") == parse_form(URLENCODED, b"") == []


def texts(kind: str, content: bytes) -> list[str]:
    """The contents of the parts of a form as text."""
    return [found.text for found in parse_form(kind, content)]


CUT = part("a", "1") + part("image", b"2", filename="b") + b"--x--"


@pytest.mark.parametrize("length", range(len(CUT)))
def test_a_multipart_form_that_ends_early_is_refused_wherever_it_ends(length: int) -> None:
    with pytest.raises(InvalidRequest, match="body: "):
        parse_form(WITH_BOUNDARY, CUT[:length])


@pytest.mark.parametrize(
    ("kind", "content", "detail"),
    [
        (URLENCODED, b"name=J\xfcrgen", "the form is not UTF-8"),
        (URLENCODED, b"name=J%FCrgen", "the form is not UTF-8"),
        (URLENCODED, "name=さ".encode("shift-jis"), "the form is not UTF-8"),
        (URLENCODED, b"n%FCme=1", "the form is not UTF-8"),
        (URLENCODED, b"a=1&a=2", "a field or a file was sent twice"),
        (URLENCODED, b"&".join(b"%d=" % number for number in range(MAX_FIELDS + 1)), "more than 100 fields"),
        (URLENCODED, b"a=" + b"%41" * 400_000, "an urlencoded form may have 1 MiB"),
        (f"{URLENCODED}; charset=latin-1", b"a=1", "must be UTF-8"),
        (f"{URLENCODED}; charset=", b"a=1", "must be UTF-8"),
        (f"{URLENCODED}; charset=no-such", b"a=1", "must be UTF-8"),
        (f"{WITH_BOUNDARY}; charset=utf-16", CUT, "must be UTF-8"),
        (f"{WITH_BOUNDARY}; charset=\0", CUT, "must be UTF-8"),
        (MULTIPART, CUT, "the Content-Type of a form needs its boundary"),
        (f"{MULTIPART}; boundary=", CUT, "the Content-Type of a form needs its boundary"),
        (f"{MULTIPART}; boundary={'x' * 71}", CUT, "the Content-Type of a form needs its boundary"),
        (f"{MULTIPART}; boundary=y", CUT, "the form does not start with its boundary"),
        (WITH_BOUNDARY, CUT + b"more", "there is something after the closing boundary"),
        (WITH_BOUNDARY, part("a", b"J\xfcrgen") + b"--x--", "the form is not UTF-8"),
        (WITH_BOUNDARY, part("a", "1") + part("a", "2") + b"--x--", "a field or a file was sent twice"),
        (WITH_BOUNDARY, part("a", "1", filename="b") * 2 + b"--x--", "a field or a file was sent twice"),
        (WITH_BOUNDARY, part("a", "1", "Content-Type: text/plain; charset=cp1252") + b"--x--", "must be UTF-8"),
        (
            WITH_BOUNDARY,
            part("a", "MQ==", "Content-Transfer-Encoding: base64") + b"--x--",
            "a part of the form has",
        ),
        (WITH_BOUNDARY, part("a", "1", "no colon") + b"--x--", "a part of the form has a malformed header"),
        (WITH_BOUNDARY, part("a", "1", "X: " + "y" * 9_000) + b"--x--", "a part of the form has no headers"),
        (WITH_BOUNDARY, b"--x\r\n\r\n1\r\n--x--", "a part of the form has no name"),
        (WITH_BOUNDARY, b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--", "a part of the form has no name"),
        (WITH_BOUNDARY, part("a", "1") * (MAX_FIELDS + 1) + b"--x--", "more than 100 fields"),
        ("application/json", b"{}", "must be a form"),
        ("", b"a=1", "must be a form"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused_with_the_reason(kind: str, content: bytes, detail: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        texts(kind, content)
    assert str(error.value).startswith(f"body: {detail}")


KINDS = st.sampled_from([URLENCODED, MULTIPART, WITH_BOUNDARY, f"{WITH_BOUNDARY}; charset=utf-8"]) | st.text()
PIECES = st.sampled_from([b"--x", b"\r\n", b"--", b'Content-Disposition: form-data; name="a"', b":", b"=", b"%", b"&"])


@settings(max_examples=300, deadline=None)
@given(kind=KINDS, pieces=st.lists(PIECES | st.binary(max_size=8)))
@example(kind=WITH_BOUNDARY, pieces=[b"--x\r\n", b"--x--"])
def test_whatever_is_sent_is_read_or_refused(kind: str, pieces: list[bytes]) -> None:
    with suppress(InvalidRequest):
        assert isinstance(texts(kind, b"".join(pieces)), list)
