"""Forms, urlencoded and multipart: complete and in UTF-8, or InvalidRequest with the reason. Nothing is guessed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import Request

from ai_api.errors import InvalidRequest

from .media_type import check_charset, parse_media_type
from .request_body import SMALL_BYTES, body_of

URLENCODED, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
MAX_FIELDS = 100
"""Most fields and files of one form."""
MAX_URLENCODED_BYTES = 2**20
"""Largest urlencoded form: decoding it costs many times its size."""
MAX_WIDE_BYTES = 2**20
"""Largest text that is not ASCII: Python may hold it in four bytes for each character."""
MAX_HEADER_BYTES = 8 * 2**10
"""Most bytes of the headers of one part."""
BOUNDARY = re.compile(r"[ -~]{1,70}")
PADDING = re.compile(rb"[ \t]*\r\n")


@dataclass(frozen=True)
class FormPart:
    """A field or a file of a form."""

    name: str
    content: bytes
    is_file: bool

    @property
    def text(self) -> str:
        """The content as text; InvalidRequest when it is not UTF-8."""
        if len(self.content) > MAX_WIDE_BYTES and not self.content.isascii():
            raise InvalidRequest("body: a text of the form has more than 1 MiB")
        return decoded(self.content)


async def read_form(request: Request) -> list[FormPart]:
    """The parts of the form in the body, in its order; InvalidRequest when it is no complete form in UTF-8."""
    header = request.headers.get("content-type", "")
    content = bytes(await body_of(request).read())
    if len(content) <= SMALL_BYTES:
        return parse_form(header, content)
    return await asyncio.to_thread(parse_form, header, content)


def parse_form(content_type: str, content: bytes) -> list[FormPart]:
    """The parts of a form, each name once; InvalidRequest when it is no complete form in UTF-8."""
    kind, parameters = parse_media_type(content_type)
    if not content and kind != MULTIPART:  # a form without fields
        return []
    if kind not in (URLENCODED, MULTIPART):
        raise InvalidRequest(f"body: must be a form, and its Content-Type {URLENCODED} or {MULTIPART}")
    check_charset(parameters)
    parts = parse_urlencoded(content) if kind == URLENCODED else parse_multipart(parameters.get("boundary"), content)
    if len({part.name for part in parts}) < len(parts):
        raise InvalidRequest("body: a field or a file was sent twice")
    return parts


def parse_urlencoded(content: bytes) -> list[FormPart]:
    """The fields of an urlencoded form. Bytes that are not percent-encoded are read too, as UTF-8."""
    if len(content) > MAX_URLENCODED_BYTES:
        raise InvalidRequest(f"body: an urlencoded form may have 1 MiB. Send {MULTIPART}, or JSON.")
    try:
        pairs = parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeError:
        raise InvalidRequest("body: the form is not UTF-8") from None
    except ValueError:  # the only other one that parse_qsl raises
        raise InvalidRequest(f"body: more than {MAX_FIELDS} fields") from None
    return [FormPart(name, value.encode(), is_file=False) for name, value in pairs]


def parse_multipart(boundary: str | None, content: bytes) -> list[FormPart]:
    """The parts of a multipart form, in order."""
    if boundary is None or not BOUNDARY.fullmatch(boundary):
        raise InvalidRequest(f"body: the Content-Type of a form needs its boundary: {MULTIPART}; boundary=…")
    parts: list[FormPart] = []
    for part in split_parts(b"--" + boundary.encode(), content):
        if len(parts) == MAX_FIELDS:
            raise InvalidRequest(f"body: more than {MAX_FIELDS} fields")
        parts.append(parse_part(part))
    return parts


def split_parts(delimiter: bytes, content: bytes) -> Iterator[bytes]:
    """What stands between the delimiters; InvalidRequest when the first or the closing one is missing."""
    incomplete = InvalidRequest("body: the form is incomplete: its closing boundary is missing")
    content = content.lstrip(b"\r\n")
    if not content.startswith(delimiter):
        raise incomplete if not content else InvalidRequest("body: the form does not start with its boundary")
    start, at = None, 0
    while True:
        after = at + len(delimiter)
        padding = PADDING.match(content, after)
        closes = content.startswith(b"--", after)
        if (closes or padding) and start is not None:
            yield content[start : at - 2]
        if closes:
            if content[after + 2 :].strip(b" \t\r\n"):
                raise InvalidRequest("body: there is something after the closing boundary of the form")
            return
        if padding:
            start = padding.end()
            after = start - 2  # an empty part: its delimiter follows at once
        elif start is None:
            raise InvalidRequest("body: the form does not start with its boundary")
        found = content.find(b"\r\n" + delimiter, after)
        if found < 0:
            raise incomplete
        at = found + 2


def parse_part(part: bytes) -> FormPart:
    """A part with its headers."""
    if part.startswith(b"\r\n"):
        raise InvalidRequest("body: a part of the form has no name")
    head, blank, content = part.partition(b"\r\n\r\n")
    if not blank or len(head) > MAX_HEADER_BYTES:
        raise InvalidRequest("body: a part of the form has no headers, or too many")
    headers: dict[str, str] = {}
    for line in decoded(head).split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon:
            raise InvalidRequest("body: a part of the form has a malformed header")
        headers[name.strip().lower()] = value.strip()
    kind, parameters = parse_media_type(headers.get("content-disposition", ""))
    if kind != "form-data" or "name" not in parameters:
        raise InvalidRequest("body: a part of the form has no name")
    if headers.get("content-transfer-encoding", "binary").lower() not in ("7bit", "8bit", "binary"):
        raise InvalidRequest("body: a part of the form has a Content-Transfer-Encoding. Send its bytes as they are.")
    is_file = "filename" in parameters or "filename*" in headers.get("content-disposition", "").lower()
    if not is_file:
        check_charset(parse_media_type(headers.get("content-type", ""))[1])
    return FormPart(unescaped(parameters["name"]), content, is_file)


def unescaped(name: str) -> str:
    """A name as browsers escape it."""
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def decoded(content: bytes) -> str:
    """The text of these bytes; InvalidRequest when they are not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("body: the form is not UTF-8") from None
