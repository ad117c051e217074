"""What one caller can take from the others: memory of ai-api and latency of an innocent caller, under each attack.

    python -m tests.bench.attack_capacity --before /path/to/an/older/checkout

Each attack is one caller's, with a user's key. The innocent caller asks for /health/live and predicts one tweet again
and again. It is no test: nothing here fails because of a slow machine. Latencies are the median and the longest, in
seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
from PIL import Image

from scripts.dev.ports import free_port
from scripts.dev.postgres import FAST, Postgres

REPOSITORY = Path(__file__).resolve().parents[2]
ROW = {"text": "late again, thanks for nothing, and the bags are still in another city"}


@dataclass
class Target:
    """A running ai-api, the keys of its callers, and the queue that it uses."""

    url: str
    attacker: str
    innocent: str
    trainer: str
    pid: int
    queue: str

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"X-API-Key": key}, timeout=300, trust_env=False, verify=False)


@dataclass
class Watch:
    """Measures until it is stopped: latencies of the innocent caller, memory, and connections to the queue."""

    target: Target
    latencies: dict[str, list[float]] = field(default_factory=lambda: {"/health/live": [], "/predict": []})
    statuses: Counter[int] = field(default_factory=Counter)
    megabytes: float = 0
    connections: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, path: str) -> None:
        """Asks again and again; a call that runs at the end is finished and counts."""
        with self.target.client(self.target.innocent) as client:
            while not self.stop.is_set():
                start = time.perf_counter()
                if path == "/predict":
                    self.statuses[client.post(path, json={"task": "tweets", "inputs": ROW}).status_code] += 1
                else:
                    client.get(path)
                self.latencies[path].append(time.perf_counter() - start)
                self.stop.wait(0.05)

    def sample(self) -> None:
        process = psutil.Process(self.target.pid)
        with psycopg.connect(self.target.queue, autocommit=True) as queue:
            while not self.stop.is_set():
                self.megabytes = max(self.megabytes, process.memory_info().rss / 2**20)
                row = queue.execute("select count(*) from pg_stat_activity where usename = 'volant_queue'").fetchone()
                self.connections = max(self.connections, (row or [1])[0] - 1)
                self.stop.wait(0.1)

    def line(self) -> str:
        pairs = (f"{statistics.median(seconds):.3f} / {max(seconds):.3f}" for seconds in self.latencies.values())
        return " | ".join([*pairs, f"{self.megabytes:.0f}", str(self.connections)])


@contextmanager
def watching(target: Target) -> Iterator[Watch]:
    watch = Watch(target)
    threads = [threading.Thread(target=watch.ask, args=(path,)) for path in watch.latencies]
    threads.append(threading.Thread(target=watch.sample))
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        watch.stop.set()
        for thread in threads:
            thread.join()


def at_once(target: Target, clients: int, path: str, bodies: Iterator[bytes], seconds: float) -> str:
    """Sends bodies from so many clients until the time is over; how many calls got which status."""
    statuses: Counter[int] = Counter()
    end, lock = time.monotonic() + seconds, threading.Lock()

    def send() -> None:
        with target.client(target.attacker) as client:
            while time.monotonic() < end:
                with lock:
                    body = next(bodies)
                with suppress(httpx.HTTPError):
                    response = client.post(path, content=body, headers={"content-type": "application/json"})
                    statuses[response.status_code] += 1
                    if response.status_code == 429:
                        time.sleep(0.1)

    threads = [threading.Thread(target=send) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))


def repeated(body: object) -> Iterator[bytes]:
    content = json.dumps(body).encode()
    while True:
        yield content


def nothing(_: Target, seconds: float) -> str:
    time.sleep(seconds)
    return ""


def large_calls(target: Target, seconds: float) -> str:
    body = {"task": "tweets", "inputs": [ROW] * 1_000}
    return at_once(target, 6, "/predict", repeated(body), seconds)


def many_calls(target: Target, seconds: float) -> str:
    return at_once(target, 64, "/predict", repeated({"task": "tweets", "inputs": ROW}), seconds)


def ligatures(target: Target, seconds: float) -> str:
    row = {"designation": "shoe", "description": "\ufdfa" * 50_000}
    content = json.dumps({"task": "products", "inputs": [row] * 12}, ensure_ascii=False).encode()
    return at_once(target, 3, "/predict", iter(lambda: content, b""), seconds)


def long_texts(target: Target, seconds: float) -> str:
    row = {"designation": "shoe", "description": "a shoe of some words " * 2_300}
    return at_once(target, 3, "/predict", repeated({"task": "products", "inputs": [row] * 100}), seconds)


def with_large_image(mode: str, kind: str, millions: int = 25) -> dict[str, str]:
    kept = io.BytesIO()
    Image.new(mode, (5_000, 200 * millions)).save(kept, kind, lossless=True)
    return {"designation": "shoe", "image": b64encode(kept.getvalue()).decode()}


def large_images(target: Target, seconds: float) -> str:
    body = {"task": "products", "inputs": [with_large_image("L", "PNG")] * 129}
    return at_once(target, 3, "/predict", repeated(body), seconds)


def lone_images(target: Target, seconds: float, mode: str = "L", kind: str = "PNG", millions: int = 25) -> str:
    body = {"task": "products", "inputs": with_large_image(mode, kind, millions)}
    return at_once(target, 16, "/predict", repeated(body), seconds)


def feedback(target: Target, seconds: float) -> str:
    def bodies() -> Iterator[bytes]:
        while True:
            id_ = uuid.UUID(int=(uuid.uuid4().int & ~(0xF << 76)) | (7 << 76))
            yield json.dumps({"prediction_id": str(id_), "label": "negative"}).encode()

    return at_once(target, 8, "/feedback", bodies(), seconds)


def streams(target: Target, seconds: float) -> str:
    """Follows a job that has ended and one that waits, with 150 streams each, from far past their last event."""
    with target.client(target.trainer) as client:
        ended = client.post("/retrain", json={"task": "tweets"}).json()["id"]
        client.delete(f"/jobs/{ended}")
        waits = client.post("/retrain", json={"task": "housing"}).json()["id"]
    address = urlsplit(target.url)
    opened = []
    for number in range(300):
        connection = socket.create_connection((address.hostname, address.port))
        path = f"/jobs/{(ended, waits)[number % 2]}/events?after={2**62}"
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {target.attacker}\r\n\r\n"
        connection.sendall(head.encode())
        opened.append(connection)
    time.sleep(seconds)
    left = sum(is_open(connection) for connection in opened)
    for connection in opened:
        connection.close()
    with target.client(target.trainer) as client:
        client.delete(f"/jobs/{waits}")
    return f"{left} of 300 streams are still open"


def is_open(connection: socket.socket) -> bool:
    """Whether the response of a stream has begun with 200 and has not ended."""
    connection.setblocking(False)
    with suppress(BlockingIOError):
        content = connection.recv(65_536)
        return content.startswith(b"HTTP/1.1 200") and not content.endswith(b"0\r\n\r\n")
    return True


ATTACKS: dict[str, Callable[[Target, float], str]] = {
    "none": nothing,
    "6 calls of 1,000 rows at once": large_calls,
    "64 calls of a row at once": many_calls,
    "12 rows of 50,000 U+FDFA": ligatures,
    "100 rows of 48,300 letters": long_texts,
    "129 images of 25 megapixels in a call": large_images,
    "16 calls with such an image at once": lone_images,
    "16 calls with 16 megapixels of colours and transparency": partial(lone_images, mode="RGBA", millions=16),
    "16 calls with 4 megapixels of WebP": partial(lone_images, mode="RGBA", kind="WEBP", millions=4),
    "feedback for ids that do not exist": feedback,
    "300 streams from past the end": streams,
}


@contextmanager
def attackers() -> Iterator[ProcessPoolExecutor]:
    """A process of its own for the attack, so that its work does not delay what is measured here."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(len, "").result()
        yield pool


@contextmanager
def serving(checkout: Path, folder: Path, secrets: Path, queue_port: int) -> Iterator[Target]:
    """ai-api of a checkout, in a process of its own."""
    path = os.pathsep.join(map(str, (checkout, checkout / "ai-api", checkout / "data-api")))
    command = [sys.executable, "-P", str(REPOSITORY / "tests/bench/attack_server.py")]
    password = (secrets / "postgres_queue_password").read_text().strip()
    queue = f"host=127.0.0.1 port={queue_port} dbname=queue user=volant_queue password={password}"
    with subprocess.Popen(
        [*command, str(folder), str(secrets), str(queue_port)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        cwd=folder,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            announced = json.loads(process.stdout.readline())
            yield Target(**announced, pid=process.pid, queue=queue)
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="an older checkout to compare with")
    parser.add_argument("--seconds", type=float, default=10, help="how long each attack lasts (default: %(default)s)")
    parser.add_argument("--only", default="", help="attacks whose name has this in it")
    chosen = parser.parse_args()
    checkouts = {"before": chosen.before, "after": REPOSITORY}
    print("| attack | code | /health/live | /predict | MiB | connections | the attacker got |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="volant-attack-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        secrets = folder / "secrets"
        subprocess.run(["sh", str(REPOSITORY / "scripts/secrets.sh"), str(secrets)], check=True)
        postgres = Postgres(folder / "data", free_port(), secrets / "postgres_password", FAST)
        postgres.start()
        try:
            prepare(secrets, postgres.port, folder)
            for attack, run in ATTACKS.items():
                for code, checkout in checkouts.items():
                    if checkout is not None and chosen.only in attack:
                        state = folder / f"{uuid.uuid4().hex}"
                        state.mkdir()
                        with serving(checkout, state, secrets, postgres.port) as target:
                            with target.client(target.innocent) as client:
                                for _ in range(3):  # loads what the first call of each task loads
                                    client.post("/predict", json={"task": "tweets", "inputs": ROW})
                                    shoe = with_large_image("RGB", "PNG", millions=1)
                                    client.post("/predict", json={"task": "products", "inputs": shoe})
                            with attackers() as pool, watching(target) as watch:
                                got = pool.submit(run, target, chosen.seconds).result()
                        print(f"| {attack} | {code} | {watch.line()} | {got} |", flush=True)
        finally:
            postgres.stop()


def prepare(secrets: Path, port: int, folder: Path) -> None:
    """Roles, databases and tables, as a real start makes them."""
    path = os.pathsep.join(str(REPOSITORY / part) for part in ("ai-api", "data-api"))
    env = {**os.environ, "PYTHONPATH": path, "DATA_SECRETS_DIR": str(secrets), "AI_SECRETS_DIR": str(secrets)}
    env |= {"DATA_POSTGRES_PORT": str(port), "AI_QUEUE_PORT": str(port)}
    env |= {"DATA_TOMBSTONES_FILE": str(folder / "erased.jsonl")}
    for package, command in (("data_api", "setup"), ("ai_api", "migrate")):
        subprocess.run(
            [sys.executable, "-m", package, command], env=env, check=True, cwd=folder, stdout=subprocess.DEVNULL
        )


if __name__ == "__main__":
    main()
