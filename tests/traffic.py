"""A client like an application: it predicts all the time and records every prediction in a ledger."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import psycopg


@dataclass
class Ledger:
    """What a client received: the version of each prediction by its id, and every request that failed."""

    predicted: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    by_thread: dict[int, list[int]] = field(default_factory=dict)
    """The versions that each thread received, one after the other. At a change, a prediction of the old version may
    reach one thread after the new version has reached another, so only the order within a thread is meaningful.
    """
    requests: int = 0

    @property
    def versions(self) -> list[int]:
        """The versions of the thread that received most changes of version."""
        return max(self.by_thread.values(), key=len, default=[])


class Traffic:
    """Threads that predict one to `rows_at_once` rows of one task until stopped.

    `retries`: a server that does not respond or is not ready (503) is no failure; the client tries again.
    """

    def __init__(
        self,
        url: str,
        key: str,
        task: str,
        rows: Sequence[dict[str, object]],
        *,
        threads: int = 2,
        rows_at_once: int = 4,
        pause_seconds: float = 0.005,
        retries: bool = False,
    ) -> None:
        self.ledger = Ledger()
        self._url, self._key, self._task, self._rows = url, key, task, rows
        self._rows_at_once, self._pause, self._retries = rows_at_once, pause_seconds, retries
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(threads)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(base_url=self._url, headers={"X-API-Key": self._key}, timeout=20, trust_env=False) as client:
            while not self._stop.is_set():
                self._predict(client, chance, seed)
                self._stop.wait(self._pause)

    def _predict(self, client: httpx.Client, chance: random.Random, thread: int) -> None:
        rows = chance.choices(self._rows, k=chance.randint(1, self._rows_at_once))
        try:
            response = client.post("/predict", json={"task": self._task, "inputs": rows})
        except httpx.TransportError as error:
            with self._lock:
                self.ledger.requests += 1
                if not self._retries:
                    self.ledger.failures.append(type(error).__name__)
            self._stop.wait(0.05)
            return
        with self._lock:
            self.ledger.requests += 1
            if response.status_code != 200:
                if not (self._retries and response.status_code == 503):
                    self.ledger.failures.append(f"{response.status_code} {response.text[:200]}")
                return
            body = response.json()
            if len(body["predictions"]) != len(rows):
                self.ledger.failures.append(f"{len(body['predictions'])} predictions for {len(rows)} rows")
            versions = self.ledger.by_thread.setdefault(thread, [])
            if versions[-1:] != [body["version"]]:
                versions.append(body["version"])
            for prediction in body["predictions"]:
                self.ledger.predicted[prediction["prediction_id"]] = body["version"]


@dataclass(frozen=True)
class Stored:
    """What Postgres holds of a ledger: rows found, rows found more than once, rows with another version."""

    found: int
    twice: int
    other_version: int


def stored(conninfo: str, ledger: Ledger) -> Stored:
    """Looks up the predictions of a ledger in Postgres."""
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute(
            "select id::text, count(*), min(version) from predictions where id = any(%s::uuid[]) group by id",
            (list(ledger.predicted),),
        ).fetchall()
    return Stored(
        found=len(rows),
        twice=sum(count > 1 for _, count, _ in rows),
        other_version=sum(version != ledger.predicted[id_] for id_, _, version in rows),
    )
