"""The rate limit per client address, checked before authentication."""

from __future__ import annotations

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from data_api.security import constant_time_equal

from .context import AppContext
from .sign_in import ClientAddress

UNCOUNTED_PREFIX = "/health/"
"""Path prefix of the health probes, which are not counted."""


async def within_quota(request: Request, context: AppContext, address: ClientAddress) -> None:
    """Counts the request; TooManyRequests over the limit. The service key is exempt: ai-api calls for all of
    its users.
    """
    key = request.headers.get("x-api-key")
    if not request.url.path.startswith(UNCOUNTED_PREFIX) and not (
        key and constant_time_equal(key, context.service_key)
    ):
        if context.rate_limits.blocks:
            await run_in_threadpool(context.rate_limits.count_address, address)
        else:
            context.rate_limits.count_address(address)
