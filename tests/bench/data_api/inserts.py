"""Inserts of 1,000 rows a call, as fast as data-api takes them."""

from __future__ import annotations

import queue
import sys
import threading
import time
from random import Random

import uuid_utils

from .environment import LABELS, TASKS, USERS, VERSIONS, Bench, background, ms, since, worked

CALL_ROWS = 1_000
AHEAD = 1_500
"""Bodies that are prepared before the first is sent."""
LOW = 50
"""Number of prepared bodies at which more are made."""
WORDS = ("late", "again", "thanks", "for", "nothing", "what", "a", "lovely", "crew", "never", "mind", "the", "weather")


def insert(bench: Bench, what: str, seconds: float, clients: int) -> None:
    """Sends requests of 1,000 rows over several connections, each waiting for its response before the next. Bodies are
    prepared ahead, as far as memory allows: a client on another machine would not use this processor.
    """
    bodies: queue.Queue[bytes] = queue.Queue(AHEAD)
    times: list[float] = []
    sending, stop = threading.Event(), threading.Event()

    def make() -> None:
        templates = [template(Random(seed)) for seed in range(20)]
        while not stop.is_set():
            for one in templates:
                ids = tuple(str(uuid_utils.uuid7()) for _ in range(CALL_ROWS))
                bodies.put((one % ids).encode())
                while bodies.full() or (sending.is_set() and bodies.qsize() > LOW):
                    if stop.wait(0.1):
                        return

    def send() -> None:
        headers = {"Content-Type": "application/json"}
        with bench.client() as client:
            while not stop.is_set():
                body = bodies.get()
                began = time.monotonic()
                response = client.post("/predictions", content=body, headers=headers)
                if response.status_code != 200 or response.content.count(b'"stored"') != CALL_ROWS:
                    sys.exit(f"not everything was stored: {response.status_code} {response.text[:200]}")
                times.append(time.monotonic() - began)

    threading.Thread(target=make, daemon=True).start()
    while not bodies.full():
        time.sleep(0.1)
    sending.set()
    before, then = background(bench.engine), worked(bench)
    senders = [threading.Thread(target=send) for _ in range(clients)]
    began = time.monotonic()
    for sender in senders:
        sender.start()
    peak = 0
    while time.monotonic() - began < seconds:
        time.sleep(0.2)
        peak = max(peak, bench.process.memory_info().rss)
    stop.set()
    for sender in senders:
        sender.join()
    rate = len(times) * CALL_ROWS / (time.monotonic() - began)
    bench.note(what, f"{rate:,.0f} rows/s over {seconds:.0f} s, a call p50 {ms(times, 50)}, p99 {ms(times, 99)}")
    mine, theirs = (
        (now - start) / len(times) / CALL_ROWS * 1e6 for now, start in zip(worked(bench), then, strict=True)
    )
    bench.note(f"{what}: processor time a row", f"data-api {mine:.0f} µs, Postgres {theirs:.0f} µs")
    bench.note(f"{what}: beside it", since(before, background(bench.engine)))
    bench.note(f"{what}: most memory of data-api", f"{peak / 1e6:.0f} MB")


def template(chance: Random) -> str:
    """A request body with a placeholder for every id."""
    rows = []
    for _ in range(CALL_ROWS):
        label, text = f"label-{chance.randrange(LABELS)}", " ".join(chance.choices(WORDS, k=18))
        score = round(chance.random(), 4)
        rows.append(
            f'{{"id":"%s","task":"task-{chance.randrange(TASKS)}","version":{1 + chance.randrange(VERSIONS)},'
            f'"row":{{"text":"{text}"}},"row_schema":1,"answer":{{"label":"{label}","score":{score},'
            f'"probabilities":{{"{label}":{score},"other":{round(1 - score, 4)}}}}},'
            f'"user_id":"00000000-0000-4000-8000-{chance.randrange(USERS):012}","role":"champion","rollout":null,'
            '"request_id":"0192f0c1-7a5e-4b7e-9d0a-2f6f3c1b8d11","timing":{"queue_ms":0.4,"compute_ms":2.5}}'
        )
    return '{"rows":[' + ",".join(rows) + "]}"
