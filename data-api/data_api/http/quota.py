"""The rate limit per client address, checked before authentication."""

from __future__ import annotations

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from data_api.security import constant_time_equal

from .context import context
from .sign_in import client_address

UNCOUNTED_PREFIX = "/health/"
"""Path prefix of the health probes, which are not counted."""


async def within_quota(request: Request) -> None:
    """Counts the request; TooManyRequests over the limit. The service key is exempt: ai-api calls for all of
    its users.
    """
    wired, key = await context(request), request.headers.get("x-api-key")
    if request.url.path.startswith(UNCOUNTED_PREFIX) or (key and constant_time_equal(key, wired.service_key)):
        return
    if wired.rate_limits.blocks:
        await run_in_threadpool(wired.rate_limits.count_address, client_address(request))
    else:
        wired.rate_limits.count_address(client_address(request))
