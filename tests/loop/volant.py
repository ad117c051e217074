"""A stack of processes, with what tests need to inspect it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from scripts.dev.stack import Stack
from tests.waiting import until


class Volant(Stack):
    """The stack of `make dev`, with its folders, database and metrics."""

    @property
    def raw_dir(self) -> Path:
        return Path(self.settings["AI_RAW_DIR"])

    @property
    def state_dir(self) -> Path:
        return Path(self.settings["AI_STATE_DIR"])

    @property
    def mirror(self) -> Path | None:
        found = self.settings.get("AI_DATA_MIRROR")
        return Path(found) if found else None

    @property
    def conninfo(self) -> str:
        """The database `volant`, as superuser."""
        port, password = self.settings["POSTGRES_PORT"], self.secret("postgres_password")
        return f"host=127.0.0.1 port={port} dbname=volant user=postgres password={password} connect_timeout=5"

    @property
    def key(self) -> str:
        return self.secret("demo_api_key")

    def metric(self, name: str, **labels: str) -> float:
        """One of ai-api's metrics, 0 while it has no such sample."""
        page = httpx.get(f"http://127.0.0.1:{self.settings['AI_METRICS_PORT']}/metrics", trust_env=False).text
        for line in page.splitlines():
            sample = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if (
                sample
                and sample[1] == name
                and all(f'{label}="{value}"' in (sample[2] or "") for label, value in labels.items())
            ):
                return float(sample[3])
        return 0.0

    def drained(self, seconds: float = 60) -> None:
        """Returns when the outbox is empty."""

        def is_empty() -> bool:
            try:
                return self.metric("volant_outbox_rows") == 0
            except httpx.TransportError:
                return False

        until(is_empty, "the outbox to drain", seconds)

    def idle(self, seconds: float = 120) -> None:
        """Returns when no training waits or runs."""

        def is_idle() -> bool:
            jobs = httpx.get(f"{self.url}/jobs", headers={"X-API-Key": self.key}, trust_env=False).json()["items"]
            return not any(job["status"] in ("waiting", "running") for job in jobs)

        until(is_idle, "trainings to end", seconds)

    def predicts(self, task: str, row: dict[str, object]) -> bool:
        """Whether ai-api predicts now."""
        try:
            response = httpx.post(
                f"{self.url}/predict",
                json={"task": task, "inputs": row},
                headers={"X-API-Key": self.key},
                trust_env=False,
            )
        except httpx.TransportError:
            return False
        return response.status_code == 200
