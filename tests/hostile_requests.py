"""Hand-made requests to every call of an OpenAPI document: odd bodies, headers, forms, pictures and parameters.

They are made from a seed, so that each can be repeated. Every text that a sender may choose holds MARK, which no error
and no log line may repeat.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import pytest

MARK = "zebra-4711"
LONGEST_SECONDS = 30.0
"""A call that takes longer counts as hanging."""
TEXTS = (
    MARK, "", " ", f"{MARK}\0", f"{MARK}\n{MARK}", f"'{MARK}' OR 1=1 --", f"%{MARK}_\\", f"../../{MARK}",
    f"{{{{{MARK}}}}}",
    f"<script>{MARK}</script>", "\ufdfa" * 500, "\u202e" + MARK,
    "e\u0301" * 200, "\U0001f600" * 100, MARK * 500,
    "\ud800", "\ufeff" + MARK, "nan", "-Infinity", "1_000", "true", "٣", "0x10", "1e999",
)  # fmt: skip
NUMBERS = (0, -1, 1, -0.0, 1e308, -1e308, 5e-324, 2**31, 2**63, 10**400, 0.1, True, False)
IDS = (
    "018f2b3a-7c4d-7e21-9f00-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "00000000-0000-0000-0000-000000000000",
    MARK, "1", "0", "-1", "9" * 30, "tweets", "housing", "a" * 300, "%00", "..", "tweets%2Fx",
)  # fmt: skip
TYPES = (
    "application/json", "application/json; charset=utf-8", "application/json; charset=utf-16", "text/plain", "",
    "nonsense",
    f"application/{MARK}", "application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=cp1252",
    f"application/x-www-form-urlencoded; charset={MARK}", "multipart/form-data", "multipart/form-data; boundary=",
    "multipart/form-data; boundary=B", "multipart/form-data; boundary=B; charset=shift_jis", "image/png", "*/*",
)  # fmt: skip
ENCODINGS = ("gzip", "gzip", "br", "deflate", "identity", "gzip, gzip", MARK, "")


@dataclass(frozen=True)
class Request:
    """One request as it is sent."""

    method: str
    path: str
    headers: dict[str, bytes]
    content: bytes


@dataclass
class Outcome:
    """What a number of requests came to."""

    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        classes = Counter(f"{status // 100}xx" for status in self.statuses.elements())
        return f"{self.statuses.total():,} calls {dict(sorted(classes.items()))}, the slowest took {self.slowest:.2f} s"


class Send(Protocol):
    """Sends a request and returns a response of httpx."""

    def __call__(self, method: str, url: str, *, headers: Sequence[tuple[bytes, bytes]], content: bytes) -> Any: ...


class HostileRequests:
    """Requests to the calls of a document, without end. `leave_out` holds paths that no request is made to."""

    def __init__(self, document: Mapping[str, Any], seed: int, leave_out: frozenset[str] = frozenset()) -> None:
        self._random = random.Random(seed)
        self._document = document
        self._calls = [
            (method.upper(), path, call)
            for path, calls in document["paths"].items()
            for method, call in calls.items()
            if path not in leave_out
        ]

    def __iter__(self) -> Iterator[Request]:
        while True:
            method, path, call = self._random.choice(self._calls)
            if self._random.random() < 0.03:
                method = self._random.choice(["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", MARK.upper()])
            headers = self._headers()
            content = self._body(call, headers) if method not in ("GET", "HEAD") or self._random.random() < 0.1 else b""
            raw = {name: value.encode() for name, value in headers.items()}
            yield Request(method, self._path(path, call), raw, content)

    def _path(self, path: str, call: Mapping[str, Any]) -> str:
        while "{" in path:
            before, _, rest = path.partition("{")
            path = before + self._random.choice(IDS) + rest.partition("}")[2]
        path += self._random.choice(["", "", "", "", "/", "//", f"/{MARK}"])
        known = [one["name"] for one in call.get("parameters", []) if one.get("in") == "query"]
        names = self._random.sample(known, self._random.randint(0, len(known))) if known else []
        if self._random.random() < 0.2:
            names.append(MARK)
        pairs = [f"{name}={quote(str(self._scalar()), errors='replace')}" for name in names]
        return path + ("?" + "&".join(pairs) if pairs else "")

    def _headers(self) -> dict[str, str]:
        pick, chance = self._random.choice, self._random.random
        headers = {"Content-Type": pick(TYPES) if chance() < 0.5 else "application/json"}
        odd = {
            "X-Request-ID": f"{MARK}!", "Idempotency-Key": pick([MARK, "", "k", "k" * 300, "ü"]),
            "Accept": pick(["text/csv", MARK]),
            "If-Match": pick([MARK, '"1"', "*", ""]), "Last-Event-ID": pick([MARK, "9" * 18, "-1"]),
            "Range": f"bytes={MARK}",
            "Cookie": f"session={MARK}", "Origin": f"https://{MARK}.example", "X-Forwarded-For": MARK, "Expect": MARK,
        }  # fmt: skip
        headers |= {name: value for name, value in odd.items() if chance() < 0.08}
        return headers

    def _body(self, call: Mapping[str, Any], headers: dict[str, str]) -> bytes:
        kind = headers["Content-Type"].partition(";")[0]
        make: Callable[[Mapping[str, Any]], bytes] = {
            "application/x-www-form-urlencoded": self._form,
            "multipart/form-data": self._multipart,
        }.get(kind, self._json)
        content = make(call)
        if self._random.random() < 0.1:
            content = content[: self._random.randint(0, len(content))]
        if self._random.random() < 0.08:
            headers["Content-Encoding"] = encoding = self._random.choice(ENCODINGS)
            if encoding.startswith("gzip") and self._random.random() < 0.8:
                content = gzip.compress(content)[: self._random.choice([None, None, -3])]
        return content

    def _json(self, call: Mapping[str, Any]) -> bytes:
        roll = self._random.random()
        if roll < 0.1:
            return self._random.choice(
                [b"", b"{", b"[" * 5_000, b'{"a":' * 3_000, b"\xff\xfe{\0}\0", b"nul", b"NaN", b"[1e400]",
                 b"\xef\xbb\xbf{}",
                 b'{"task": "tweets", "task": "housing"}', MARK.encode(), b"[" + b"[]," * 50_000 + b"[]]", b"\0" * 100]
            )  # fmt: skip
        value = self._mutated(self._example(call))
        return json.dumps(value, ensure_ascii=self._random.random() < 0.5).encode("utf-8", "surrogatepass")

    def _form(self, call: Mapping[str, Any]) -> bytes:
        fields = self._fields(call)
        coded = "&".join(f"{quote(name)}={quote(str(value), errors='replace')}" for name, value in fields)
        return self._random.choice(
            [coded, coded + "&", coded.replace("%", "%%"), "&" * 300, f"{MARK}={MARK}&" * 200]
        ).encode(self._random.choice(["utf-8", "cp1252", "shift_jis"]), "replace")

    def _multipart(self, call: Mapping[str, Any]) -> bytes:
        parts = []
        for name, value in self._fields(call):
            file = f'; filename="{MARK}.png"' if self._random.random() < 0.4 else ""
            content = self._picture() if file else str(value).encode("utf-8", "replace")
            disposition = f'Content-Disposition: form-data; name="{name}"{file}\r\n'
            odd = self._random.choice(
                ["", "", f"Content-Type: {MARK}\r\n", "Content-Type: text/plain; charset=cp1252\r\n"]
            )
            parts.append(b"--B\r\n" + (disposition + odd).encode("utf-8", "replace") + b"\r\n" + content + b"\r\n")
        end = self._random.choice([b"--B--\r\n", b"--B--\r\n", b"--B", b"", b"--B\r\n" * 3, b"--B--" + MARK.encode()])
        return b"".join(parts) + end

    def _fields(self, call: Mapping[str, Any]) -> list[tuple[str, object]]:
        example = self._example(call)
        fields = list(example.items()) if isinstance(example, dict) else []
        fields += [(name, self._scalar()) for name in ("text", "image", "username", "password", MARK)]
        return self._random.sample(fields, self._random.randint(0, min(6, len(fields))))

    def _picture(self) -> bytes:
        from PIL import Image

        target = io.BytesIO()
        kind = self._random.choice(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
        size = self._random.choice([(1, 1), (8, 8), (3000, 2), (1, 5000)])
        Image.new(self._random.choice(["RGB", "L"]), size).save(target, kind)
        content = bytearray(target.getvalue())
        for _ in range(self._random.choice([0, 0, 1, 20])):
            content[self._random.randrange(len(content))] = self._random.randrange(256)
        odd = [f"<svg>{MARK}</svg>".encode(), b"", b"\x89PNG\r\n\x1a\n" + b"\xff" * 40, b"GIF89a\xff\xff\xff\xff"]
        return self._random.choice([bytes(content), bytes(content), bytes(content[:-5]), *odd])

    def _example(self, call: Mapping[str, Any]) -> Any:
        """A body that the document allows, as far as its examples and schemas tell."""
        media = call.get("requestBody", {}).get("content", {})
        schema: Mapping[str, Any] = next((kind.get("schema", {}) for kind in media.values()), {})
        return self._of_schema(schema, 0)

    def _of_schema(self, schema: Mapping[str, Any], depth: int) -> Any:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = self._document["components"]["schemas"].get(name, {})
        for key in ("const", "default", "example"):
            if key in schema:
                return schema[key]
        if schema.get("examples"):
            return self._random.choice(schema["examples"])
        if choices := schema.get("enum") or schema.get("anyOf") or schema.get("oneOf"):
            chosen = self._random.choice(choices)
            return self._of_schema(chosen, depth + 1) if isinstance(chosen, dict) else chosen
        if schema.get("type") == "object" and depth < 6:
            found = {name: self._of_schema(one, depth + 1) for name, one in schema.get("properties", {}).items()}
            return found | {"task": "tweets"} if "task" in found else found
        if schema.get("type") == "array":
            return [self._of_schema(schema.get("items", {}), depth + 1)] if depth < 6 else []
        return {"integer": 1, "number": 0.5, "boolean": True, "null": None}.get(str(schema.get("type")), MARK)

    def _mutated(self, value: Any, depth: int = 0) -> Any:
        if self._random.random() < 0.12:
            return self._odd(depth)
        if isinstance(value, dict):
            changed = {
                name: self._mutated(one, depth + 1) for name, one in value.items() if self._random.random() < 0.97
            }
            return changed | ({MARK: self._odd(depth)} if self._random.random() < 0.05 else {})
        if isinstance(value, list):
            return [self._mutated(one, depth + 1) for one in value] * self._random.choice([0, 1, 1, 1, 2, 50])
        return value

    def _odd(self, depth: int) -> Any:
        if depth < 4 and self._random.random() < 0.3:
            inside = self._odd(depth + 1)
            return self._random.choice([[inside], [inside] * 30, {MARK: inside}, {}, [], [[[[inside]]]]])
        return self._scalar()

    def _scalar(self) -> Any:
        return self._random.choice(
            [self._random.choice(TEXTS), self._random.choice(NUMBERS), self._random.choice(IDS), None]
        )


def make_requests(
    requests: HostileRequests,
    count: int,
    send: Send,
    credentials: Callable[[], Mapping[str, str]],
    log: pytest.LogCaptureFixture,
) -> Outcome:
    """Sends `count` requests, each with credentials of the caller's choice, and says what was wrong with the responses.

    A fault is a 5xx, an error or a log line that repeats MARK, or a call of more than LONGEST_SECONDS.
    """
    outcome = Outcome()
    for number, request in enumerate(requests):
        if number == count:
            return outcome
        log.clear()
        started = time.perf_counter()
        sent = request.headers | {name: value.encode() for name, value in credentials().items()}
        pairs = [(name.encode(), value) for name, value in sent.items()]
        response = send(request.method, request.path, headers=pairs, content=request.content)
        seconds = time.perf_counter() - started
        outcome.statuses[response.status_code] += 1
        outcome.slowest = max(outcome.slowest, seconds)
        named = f"{number}: {request.method} {request.path} ({request.headers['Content-Type']!r})"
        if response.status_code >= 500:
            outcome.faults.append(f"{named}: {response.status_code} {response.text[:200]}")
        if response.status_code >= 400 and MARK in f"{response.text} {response.headers}":
            outcome.faults.append(f"{named}: its input is repeated in {response.status_code} {response.text[:200]}")
        if any(
            MARK in record.getMessage() for record in log.records if not record.name.startswith(("httpx", "asyncio"))
        ):
            outcome.faults.append(f"{named}: its input stands in the log")
        if seconds > LONGEST_SECONDS:
            outcome.faults.append(f"{named}: it took {seconds:.0f} s")
    return outcome
