"""The Content-Type of a request: its media type and parameters."""

from __future__ import annotations

import re
from functools import lru_cache

from ai_api.errors import InvalidRequest

PARAMETER = re.compile(r';\s*([\w.+-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)', re.ASCII)
JSON = re.compile(r"application/([\w.+-]+\+)?json", re.ASCII)
UTF8 = {"utf-8", "utf8", "us-ascii", "ascii"}


@lru_cache(maxsize=256)
def parse_media_type(header: str) -> tuple[str, dict[str, str]]:
    """The media type and the parameters of a Content-Type header, names in lower case; ("", {}) of an empty one."""
    kind, _, rest = header[:1_000].partition(";")
    found = {name.lower(): _unquoted(value.strip()) for name, value in PARAMETER.findall(f";{rest}")}
    return kind.strip().lower(), found


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def check_charset(parameters: dict[str, str]) -> None:
    """InvalidRequest when a charset other than UTF-8 is named: no other encoding is read, and none is guessed."""
    if parameters.get("charset", "utf-8").lower() not in UTF8:
        raise InvalidRequest("body: must be UTF-8. Send `charset=utf-8` in its Content-Type, or no charset.")


def check_json(header: str) -> None:
    """InvalidRequest unless the body is JSON by its Content-Type, or has none."""
    kind, parameters = parse_media_type(header)
    if kind and not JSON.fullmatch(kind):
        raise InvalidRequest("body: must be JSON, and its Content-Type application/json")
    check_charset(parameters)
