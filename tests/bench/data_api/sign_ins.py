"""Sign-ins against the hash alone."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from data_api.security import Passwords

from .environment import Bench, ms, worked

SIGN_INS_AT_ONCE = 2
"""The default of data-api."""
SIGNING_IN = 8
"""Clients that sign in concurrently: while some wait for Postgres, others need a hash."""
PASSWORD = "correct horse battery staple"


def sign_ins(bench: Bench, seconds: float) -> None:
    """Sign-ins per second, compared with argon2 alone at the same concurrency."""
    passwords = Passwords(at_once=SIGN_INS_AT_ONCE)
    stored_hash = passwords.hash(PASSWORD)

    def verify() -> int:
        count, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            passwords.verify(PASSWORD, stored_hash)
            count += 1
        return count

    with ThreadPoolExecutor(SIGN_INS_AT_ONCE) as pool:
        alone = sum(future.result() for future in [pool.submit(verify) for _ in range(SIGN_INS_AT_ONCE)]) / seconds
    form = {"username": "admin@volant.local", "password": bench.admin_password}
    times: list[float] = []

    def sign_in() -> None:
        with httpx.Client(base_url=bench.url, timeout=60, trust_env=False) as client:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                began = time.monotonic()
                client.post("/auth/token", data=form).raise_for_status()
                times.append(time.monotonic() - began)

    then, hashed = [*worked(bench), time.process_time()], hashing(bench)
    threads = [threading.Thread(target=sign_in) for _ in range(SIGNING_IN)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    now, busy = [*worked(bench), time.process_time()], (hashing(bench) - hashed) / seconds / SIGN_INS_AT_ONCE
    mine, theirs, clients = ((end - start) / len(times) * 1e3 for end, start in zip(now, then, strict=True))
    bench.note(
        "sign-ins", f"{len(times) / seconds:.0f}/s, p50 {ms(times, 50)}; argon2 alone, two at once: {alone:.0f}/s"
    )
    bench.note(
        "processor time a sign-in",
        f"data-api {mine:.1f} ms (argon2 alone: {SIGN_INS_AT_ONCE / alone * 1e3:.1f} ms),"
        f" Postgres {theirs:.1f} ms, clients {clients:.1f} ms",
    )
    bench.note("places to hash passwords", f"{SIGN_INS_AT_ONCE}, {busy:.0%} of the time in use")


def hashing(bench: Bench) -> float:
    """Seconds that data-api has spent on password hashes so far, over all slots."""
    metrics = httpx.get(bench.metrics, trust_env=False).text
    found = re.search(r"^volant_data_password_seconds_sum (\S+)$", metrics, re.MULTILINE)
    assert found
    return float(found[1])
