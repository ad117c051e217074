"""Cross-origin requests (CORS): pages of the origins in the settings may call this service; by default none may."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SENT = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID", "X-API-Key", "X-Request-ID")
RETURNED = ("Content-Disposition", "ETag", "Idempotency-Replayed", "Retry-After", "X-Request-ID")
"""Headers that such a page may send and read."""


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Adds the layer if there are origins. Cookies are not allowed: callers send their credentials in a header."""
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=METHODS, allow_headers=SENT, expose_headers=RETURNED
        )
