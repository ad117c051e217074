"""data-api as the shipper sees it, in memory."""

from __future__ import annotations

import json

import httpx


class Receiver:
    """Stores rows by id. Refuses rows whose id begins with `bad`, and calls that hold one that begins with `poison`."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, object]] = {}
        self.calls: list[list[str]] = []
        """The ids of each call that was received."""
        self.failures = 0.0
        """How many more calls do not reach it."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.failures > 0:
            self.failures -= 1
            raise httpx.ConnectError("away")
        rows = json.loads(request.content)["rows"]
        self.calls.append([row["id"] for row in rows])
        if any(row["id"].startswith("poison") for row in rows):
            return httpx.Response(422, json={"error": "InvalidRequest"})
        return httpx.Response(200, json={"results": [self._store(row) for row in rows]})

    def _store(self, row: dict[str, object]) -> dict[str, str | None]:
        if str(row["id"]).startswith("bad"):
            return {"status": "refused", "reason": "unknown task"}
        status = "duplicate" if row["id"] in self.rows else "stored"
        self.rows[str(row["id"])] = row
        return {"status": status, "reason": None}
