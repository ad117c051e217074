"""What every error response has in common."""

from __future__ import annotations

import httpx

MARK = "zebra-4711"
"""Part of every bad input; no error may repeat it."""


def assert_error(response: httpx.Response, status: int, name: str | None = None) -> None:
    """An ErrorBody with this status, and with this name if one is expected."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error", "detail", "request_id"}
    assert body["request_id"] == response.headers["x-request-id"]
    assert MARK not in response.text
    assert "Traceback" not in response.text
    if name:
        assert body["error"] == name
