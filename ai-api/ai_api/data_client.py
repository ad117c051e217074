"""Send predictions, feedback and promotions; fetch corrections and callers. The only module that calls data-api."""

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
    """The status of one sent row: `stored`, `duplicate` (sent before) or `refused` for good, with the reason."""

    status: str
    reason: str | None


class Refused(Exception):
    """data-api refused a whole call because of its content (4xx), so it is not sent again."""


class DataClient:
    """A client of data-api with the service's own key. Async for serving, sync for the corrections of a training."""

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
        """The status of each body, in order. DataUnavailable: try again later. Refused: this call can never succeed."""
        response = await self._request("POST", PATHS[kind], json={"rows": list(bodies)})
        if response.status_code in (400, 413, 422):
            raise Refused(f"data-api responded {response.status_code}")
        self._expect_ok(response)
        statuses = [IngestStatus(result["status"], result.get("reason")) for result in response.json()["results"]]
        if len(statuses) != len(bodies):
            raise DataUnavailable(
                f"data-api returned the status of {len(statuses)} of {len(bodies)} rows; they are sent again."
            )
        return statuses

    async def snapshot(self, instance: str = "", known: str = "") -> tuple[dict[str, object], str] | None:
        """The valid callers: key hashes, disabled users, revocations, public keys; whom `instance` shall erase; and the
        revision of all this. None when the revision is still `known`.
        """
        params = {"replica": instance} if instance else None
        headers = {"If-None-Match": known} if known else None
        response = await self._request("GET", "/auth/snapshot", params=params, headers=headers)
        if response.status_code == 304:
            return None
        self._expect_ok(response)
        return response.json(), response.headers.get("etag", "")

    async def report_erasure(self, erasure: str, instance: str, removed: Mapping[str, int]) -> None:
        """Reports how many rows this instance removed. An erasure that data-api does not know any more is no error."""
        body = {"replica": instance, "removed": dict(removed)}
        response = await self._request("POST", f"/erasures/{erasure}/parts", json=body)
        if response.status_code not in (204, 404):
            self._expect_ok(response)

    async def release_instance(self, instance: str) -> None:
        """Reports that this instance has ended and left nothing: no erasure waits for its report."""
        self._expect_ok(await self._request("DELETE", f"/replicas/{instance}"))

    async def report_uses(self, uses: Mapping[str, float]) -> None:
        """When API keys were used last, in unix seconds, by their id."""
        times = {key: datetime.fromtimestamp(used, UTC).isoformat() for key, used in uses.items()}
        self._expect_ok(await self._request("POST", "/api-keys/uses", json={"uses": times}))

    async def prediction(self, id_: str) -> dict[str, object]:
        """The stored prediction `id_`; UnknownPrediction when data-api does not have it (yet)."""
        response = await self._request("GET", f"/predictions/{id_}", timeout=2)
        if response.status_code == 404:
            raise UnknownPrediction
        self._expect_ok(response)
        body: dict[str, object] = response.json()
        return body

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
            raise DataUnavailable(f"data-api did not send the corrections: {type(error).__name__}.") from error

    async def _request(self, method: str, path: str, **arguments: object) -> httpx.Response:
        try:
            return await self._client.request(method, path, **arguments)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            raise DataUnavailable(f"data-api does not respond: {type(error).__name__}.") from error

    @staticmethod
    def _expect_ok(response: httpx.Response) -> None:
        if response.status_code in (401, 403):
            raise DataUnavailable(
                "data-api does not accept this service's key: `secrets/service_key` differs between the services."
            )
        if response.status_code not in (200, 204):
            raise DataUnavailable(f"data-api responded {response.status_code}.")
