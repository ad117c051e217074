"""Predictions, feedback and promotions out; corrections and callers in. The only module that calls data-api."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from .errors import DataUnavailable, UnknownPrediction

PATHS = {"prediction": "/predictions", "feedback": "/feedback", "promotion": "/promotions"}


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """What data-api says of one row: `stored`, `duplicate` (it had it) or `refused` for good, with the reason."""

    status: str
    reason: str | None


class Refused(Exception):
    """data-api refused a whole call because of what is in it (4xx), so sending it again is of no use."""


class DataClient:
    """A client of data-api with the service's own key. Async for serving, sync for a training's corrections."""

    def __init__(self, url: str, service_key: str, timeout_seconds: float = 10) -> None:
        self._url = url
        self._headers = {"X-API-Key": service_key}
        self._timeout = httpx.Timeout(timeout_seconds, connect=2)
        self._opened: httpx.AsyncClient | None = None

    @property
    def _client(self) -> httpx.AsyncClient:
        if self._opened is None:
            self._opened = httpx.AsyncClient(
                base_url=self._url, headers=self._headers, timeout=self._timeout, trust_env=False
            )
        return self._opened

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()
            self._opened = None

    async def ingest(self, kind: str, bodies: Sequence[Mapping[str, object]]) -> list[IngestStatus]:
        """One verdict per body, in order. DataUnavailable: try again later. Refused: this very call never succeeds."""
        answer = await self._ask("POST", PATHS[kind], json={"rows": list(bodies)})
        if answer.status_code in (400, 413, 422):
            raise Refused(f"data-api answered {answer.status_code}")
        self._expect_ok(answer)
        verdicts = [IngestStatus(result["status"], result.get("reason")) for result in answer.json()["results"]]
        if len(verdicts) != len(bodies):
            raise DataUnavailable(f"data-api judged {len(verdicts)} of {len(bodies)} rows; they are sent again.")
        return verdicts

    async def snapshot(self, replica: str = "") -> dict[str, object]:
        """Who may call: key hashes, disabled users, revocations, public keys; and whom `replica` shall erase."""
        answer = await self._ask("GET", "/auth/snapshot", params={"replica": replica} if replica else None)
        self._expect_ok(answer)
        found: dict[str, object] = answer.json()
        return found

    async def report_erasure(self, erasure: str, replica: str, removed: Mapping[str, int]) -> None:
        """Tells what this replica removed. An erasure that data-api does not know any more waits for nobody."""
        body = {"replica": replica, "removed": dict(removed)}
        answer = await self._ask("POST", f"/erasures/{erasure}/parts", json=body)
        if answer.status_code not in (204, 404):
            self._expect_ok(answer)

    async def forget_replica(self, replica: str) -> None:
        """Tells that this replica has ended and left nothing: no erasure waits for its word."""
        self._expect_ok(await self._ask("DELETE", f"/replicas/{replica}"))

    async def report_uses(self, uses: Mapping[str, float]) -> None:
        """When API keys were used last, in unix seconds, by their id."""
        moments = {key: datetime.fromtimestamp(used, UTC).isoformat() for key, used in uses.items()}
        self._expect_ok(await self._ask("POST", "/api-keys/uses", json={"uses": moments}))

    async def prediction(self, id_: str) -> dict[str, object]:
        """The stored prediction `id_`; UnknownPrediction when data-api does not have it (yet)."""
        answer = await self._ask("GET", f"/predictions/{id_}", timeout=2)
        if answer.status_code == 404:
            raise UnknownPrediction
        self._expect_ok(answer)
        found: dict[str, object] = answer.json()
        return found

    def corrections(self, task: str) -> Iterator[dict[str, object]]:
        """The latest accepted correction or confirmation of each prediction of `task`, streamed, oldest first."""
        try:
            address = f"{self._url}/tasks/{task}/corrections"
            with httpx.stream("GET", address, headers=self._headers, timeout=self._timeout, trust_env=False) as lines:
                self._expect_ok(lines)
                for line in lines.iter_lines():
                    if line:
                        yield json.loads(line)
        except httpx.HTTPError as error:
            raise DataUnavailable(f"data-api did not give the corrections: {type(error).__name__}.") from error

    async def _ask(self, method: str, path: str, **arguments: object) -> httpx.Response:
        try:
            return await self._client.request(method, path, **arguments)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            raise DataUnavailable(f"data-api does not answer: {type(error).__name__}.") from error

    @staticmethod
    def _expect_ok(answer: httpx.Response) -> None:
        if answer.status_code in (401, 403):
            raise DataUnavailable(
                "data-api does not accept this service's key: `secrets/service_key` differs between the services."
            )
        if answer.status_code not in (200, 204):
            raise DataUnavailable(f"data-api answered {answer.status_code}.")
