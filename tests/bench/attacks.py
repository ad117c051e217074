"""What hostile bodies cost the others: memory of each service, and latency of a caller who does nothing unusual.

    python -m tests.bench.attacks --seconds 10 --connections 4

Each attack sends bodies of 16 MiB on several connections for some seconds, with and without a key. Meanwhile another
caller asks for GET /health/live and for a call that needs a key (POST /predict, GET /users/me). It is no test: nothing
here fails because of a slow machine.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from scripts.dev.ports import free_port
from tests.bench.data_api.environment import REPOSITORY
from tests.bench.data_api.environment import running as running_data_api

SIZE = 16 * 2**20 - 1_024
ROW = {
    "MedInc": 8,
    "HouseAge": 41,
    "AveRooms": 7,
    "Population": 322,
    "AveOccup": 2.5,
    "Latitude": 37.9,
    "Longitude": -122.2,
}
BODIES: Mapping[str, Callable[[], bytes]] = {
    "nested lists": lambda: b"[" * (SIZE // 2) + b"]" * (SIZE // 2),
    "empty lists": lambda: b"[" + b"[]," * (SIZE // 3 - 1) + b"0]",
    "quotes": lambda: b'""' * (SIZE // 2),
    "one wide text": lambda: '{"a": "\N{GRINNING FACE}'.encode() + b"a" * (SIZE - 20) + b'"}',
    "gzip bomb": lambda: gzip.compress(bytes(200 * 2**20)),
}


@dataclass
class Target:
    """A running service: the call that is attacked, and the call of the other caller."""

    name: str
    port: int
    process: psutil.Process
    attacked: str
    key: Mapping[str, str]
    innocent: Callable[[httpx.Client], httpx.Response]


@dataclass
class Figures:
    """Seconds that each call took, the most memory, and the statuses of the attack."""

    live: list[float] = field(default_factory=list)
    call: list[float] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="how long each attack lasts")
    parser.add_argument("--connections", type=int, default=4, help="connections that attack at once")
    parser.add_argument("--attack", choices=BODIES, action="append", help="only these")
    chosen = parser.parse_args()
    print("| service | attack | memory before | most more | live p50 | live most | call p50 | call most | responses |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for start in (ai_api, data_api):
        for attack in chosen.attack or BODIES:
            content = BODIES[attack]()
            for caller in ("anonymous", "with a key"):
                with start() as target:
                    key = target.key if caller == "with a key" else {}
                    measure(target, f"{attack}, {caller}", content, key, chosen.seconds, chosen.connections)


@contextmanager
def ai_api() -> Iterator[Target]:
    """ai-api with models of test size."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="volant-bench-") as folder:
        command = [sys.executable, "-m", "tests.bench.small_ai_api", folder, str(port), str(free_port())]
        path = os.pathsep.join(str(REPOSITORY / part) for part in (".", "ai-api", "data-api"))
        environment = {**os.environ, "PYTHONPATH": path}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY) as process:
            assert process.stdout
            key = {"X-API-Key": process.stdout.readline().strip()}
            try:
                wait_for(f"http://127.0.0.1:{port}/health/ready")
                body = {"task": "housing", "inputs": ROW}

                def predict(client: httpx.Client) -> httpx.Response:
                    return client.post("/predict", json=body, headers=key)

                yield Target("ai-api", port, psutil.Process(process.pid), "/predict", key, predict)
            finally:
                process.terminate()


@contextmanager
def data_api() -> Iterator[Target]:
    """data-api on its own Postgres."""
    with tempfile.TemporaryDirectory(prefix="volant-bench-") as folder:
        Path(folder).chmod(0o755)
        with running_data_api(Path(folder), {}) as bench:
            with httpx.Client(base_url=bench.url, trust_env=False) as client:
                form = {"username": "admin@volant.local", "password": bench.admin_password}
                token = client.post("/auth/token", data=form).json()["access_token"]
            key = {"Authorization": f"Bearer {token}"}

            def me(client: httpx.Client) -> httpx.Response:
                return client.get("/users/me", headers=key)

            port = int(bench.url.rpartition(":")[2])
            yield Target("data-api", port, bench.process, "/users", key, me)


def measure(
    target: Target, attack: str, content: bytes, key: Mapping[str, str], seconds: float, connections: int
) -> None:
    """Attacks, and prints one line of the table."""
    figures, stop = Figures(), threading.Event()
    headers = {"Content-Type": "application/json", **key}
    if content.startswith(b"\x1f\x8b"):
        headers["Content-Encoding"] = "gzip"
    with httpx.Client(base_url=f"http://127.0.0.1:{target.port}", timeout=120, trust_env=False) as client:
        for _ in range(20):
            assert target.innocent(client).is_success
        before = target.process.memory_info().rss
        attackers = [
            threading.Thread(target=send, args=(target, content, headers, figures.statuses, stop), daemon=True)
            for _ in range(connections)
        ]
        watcher = threading.Thread(target=watch, args=(target.process, figures.rss, stop), daemon=True)
        for thread in (*attackers, watcher):
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for times, call in ((figures.live, lambda used: used.get("/health/live")), (figures.call, target.innocent)):
                started = time.perf_counter()
                assert call(client).is_success
                times.append(time.perf_counter() - started)
            time.sleep(0.01)
        stop.set()
        for thread in (*attackers, watcher):
            thread.join(60)
    shown = [f"{value * 1e3:.0f} ms" for times in (figures.live, figures.call) for value in (middle(times), max(times))]
    statuses = ", ".join(f"{count} x {status}" for status, count in figures.statuses.most_common())
    more = (max(figures.rss) - before) / 2**20
    cells = [target.name, attack, f"{before / 2**20:.0f} MiB", f"{more:.0f} MiB", *shown, statuses]
    print(f"| {' | '.join(cells)} |", flush=True)


def middle(times: list[float]) -> float:
    return sorted(times)[len(times) // 2]


def send(
    target: Target, content: bytes, headers: Mapping[str, str], statuses: Counter[str], stop: threading.Event
) -> None:
    """Sends the body again and again, each time on a new connection."""
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=120)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # the response may have come before the end
                connection.request("POST", target.attacked, content, dict(headers))
            statuses[str(connection.getresponse().status)] += 1
        except (OSError, http.client.HTTPException) as error:
            statuses[type(error).__name__] += 1
        finally:
            connection.close()


def watch(process: psutil.Process, rss: list[int], stop: threading.Event) -> None:
    """Notes the memory of the service every 20 ms."""
    while not stop.is_set():
        rss.append(process.memory_info().rss)
        time.sleep(0.02)


def wait_for(url: str) -> None:
    """Returns when the address responds with 200."""
    end = time.monotonic() + 120
    while True:
        with suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        if time.monotonic() > end:
            sys.exit(f"{url} does not get ready")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
