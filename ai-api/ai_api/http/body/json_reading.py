"""JSON within bounds. Depth and number of values are checked while the body arrives, before any object is built."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterable
from itertools import accumulate

from pydantic_core import from_json
from starlette.requests import Request

from ai_api.errors import InvalidRequest

from .media_type import check_json
from .request_body import SMALL_BYTES, body_of

MAX_DEPTH = 32
"""Deepest nesting of lists and objects."""
MAX_VALUES = 200_000
"""Most values in one body: items of lists and fields of objects. A thousand rows of 200 columns have as many."""
MAX_WIDE_BYTES = 8 * 2**20
"""Most bytes of texts that are not ASCII in one body: as Python's strings they may take four times as much."""
LENIENT_BYTES = 2**20
"""Largest body in which a lone surrogate is an error of its field and not of the whole body."""
STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
STRUCTURE = b"[]{},:"
NO_STRUCTURE = bytes(set(range(256)) - set(STRUCTURE))
STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
CONTAINERS = (dict, list)
PARSING = threading.Lock()
"""One large body is parsed at a time: parsing holds the interpreter, and its memory should not add up."""
BOM = b"\xef\xbb\xbf"


class JsonBounds:
    """Counts depth, values and names of a JSON text that arrives in parts.

    `names`: the fields of all its objects. `wide`: bytes of texts that are not ASCII, which Python may hold in four
    bytes for each character.
    """

    def __init__(self, max_values: int = MAX_VALUES) -> None:
        self.names = self.wide = 0
        self._max_values = max_values
        self._values = self._strings = self._depth = 0
        self._begun = b""  # what the next part continues: an open string, an unpaired backslash
        self._narrow_bytes, self._is_wide = 0, False  # of the open string, in the parts before

    def feed(self, part: bytes) -> None:
        """Counts the next part; InvalidRequest over MAX_DEPTH, MAX_WIDE_BYTES or `max_values`. Most text that is no
        JSON passes.
        """
        text = self._begun + part
        backslash = b"\\" if (len(text) - len(text.rstrip(b"\\"))) % 2 else b""
        # A quote after the end closes a string that is open there, and stays as the last byte when none is.
        outside, strings = STRING.subn(b"", text.removesuffix(backslash) + b'"')
        self._strings += strings - self._begun.startswith(b'"')
        self._begun = (b"" if outside.endswith(b'"') else b'"') + backslash
        self._count_wide(part, continues=not outside)
        if self.wide > MAX_WIDE_BYTES:
            most = MAX_WIDE_BYTES // 2**20
            raise InvalidRequest(f"body: more than {most} MiB of text that is not ASCII. Send less in one call.")
        structure = outside.translate(None, NO_STRUCTURE)
        brackets = structure.translate(None, b",:")
        opened = brackets.count(b"[") + brackets.count(b"{")
        self.names += structure.count(b":")
        self._values += structure.count(b",") + opened
        if self._values > self._max_values:
            raise InvalidRequest(f"body: more than {self._max_values:,} values. Send fewer in one call.")
        if self._strings > self._values + self.names + 1:
            raise InvalidRequest("body: not valid JSON")
        if self._depth + opened > MAX_DEPTH:
            deepest = max(accumulate(map(STEPS.__getitem__, brackets), initial=self._depth))
            if deepest > MAX_DEPTH:
                raise InvalidRequest(f"body: nested deeper than {MAX_DEPTH} levels")
        self._depth += 2 * opened - len(brackets)

    def _count_wide(self, part: bytes, *, continues: bool) -> None:
        """Adds a part to `wide`. `continues`: it lies within one string, which is wide as a whole or not at all."""
        is_ascii = part.isascii()
        if not continues:
            closed, _, _ = part.partition(b'"')
            _, _, opened = part.rpartition(b'"')
            # An escaped quote does not end a text: what is on its other side may belong to it.
            if not closed.isascii() or (closed.endswith(b"\\") and not is_ascii):
                self.wide += self._narrow_bytes
            self.wide += 0 if is_ascii else len(part)
            self._narrow_bytes, self._is_wide = 0, not opened.isascii() or part.endswith(b'\\"' + opened)
            return
        self._is_wide |= not is_ascii
        self._narrow_bytes += len(part)
        if self._is_wide:
            self.wide += self._narrow_bytes
            self._narrow_bytes = 0


async def read_json(request: Request, max_values: int = MAX_VALUES) -> tuple[int, object]:
    """The bytes of the body and the value of its JSON, None of an empty body. A large one is parsed in a thread.

    InvalidRequest when it is not JSON by its Content-Type or its content, not UTF-8, too deep, or repeats a name.
    """
    check_json(request.headers.get("content-type", ""))
    bounds = JsonBounds(max_values)
    content = await body_of(request).read(bounds.feed)
    size = len(content)
    if size <= SMALL_BYTES:
        return size, parse_json(content, bounds.names) if content else None
    body_of(request).add_memory(3 * bounds.wide)
    value = await asyncio.to_thread(parse_large, content, bounds.names)
    content.clear()  # the value takes as much again
    return size, value


def parse_large(content: bytearray, names: int) -> object:
    """As `parse_json`, one at a time."""
    with PARSING:
        return parse_json(content, names)


def parse_json(content: bytearray, names: int) -> object:
    """The value of a JSON text in which `names` fields stand; InvalidRequest when it is none or repeats a name."""
    if content.startswith(BOM):
        content = content.removeprefix(BOM)
    try:
        value = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        if "hex escape" in str(error) and len(content) <= LENIENT_BYTES:
            value = parse_with_lone_surrogates(content)
        else:
            raise InvalidRequest(f"body: {problem(content, str(error))}") from None
    if count_names(value) != names:
        raise InvalidRequest("body: a name occurs twice in one object")
    return value


def parse_with_lone_surrogates(content: bytearray) -> object:
    """The value of a text with escapes that are no character: its field is refused by name, not the whole body."""
    try:
        return json.loads(content.decode(), parse_constant=int)  # which refuses NaN and Infinity
    except (ValueError, RecursionError):
        raise InvalidRequest("body: not valid JSON") from None


def problem(content: bytearray, message: str) -> str:
    """What is wrong with a text that is no JSON. Of the parser's message only the place is kept."""
    if not is_utf8(content):
        return "not UTF-8. Send JSON as UTF-8."
    place = re.search(r" at line \d+ column \d+$", message)
    return f"not valid JSON{place.group() if place else ''}"


def is_utf8(content: bytes | bytearray) -> bool:
    """Whether a text is UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def count_names(value: object) -> int:
    """The fields of all objects in a value."""
    total, pending = 0, [value]
    while pending:
        part = pending.pop()
        inner: Iterable[object]
        if isinstance(part, dict):
            total += len(part)
            inner = part.values()
        elif isinstance(part, list):
            inner = part
        else:
            continue
        pending += [item for item in inner if type(item) in CONTAINERS]
    return total
