"""How many requests an address may make before anybody looks at who it says it is."""

from __future__ import annotations

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from data_api.security import same

from .context import AppContext
from .sign_in import Address

FREE = "/health/"
"""Probes come often and cost nothing."""


async def within_quota(request: Request, context: AppContext, address: Address) -> None:
    """Counts the request; TooManyRequests over the limit. ai-api is not counted: it speaks for everybody."""
    key = request.headers.get("x-api-key")
    if not request.url.path.startswith(FREE) and not (key and same(key, context.service_key)):
        if context.rate_limits.blocks:
            await run_in_threadpool(context.rate_limits.count_address, address)
        else:
            context.rate_limits.count_address(address)
