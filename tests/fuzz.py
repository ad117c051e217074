"""Calls that an OpenAPI document allows, and some that it does not."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable


def fuzz(
    operation: Any, headers: dict[str, str], checks: list[Any], calls: int, client: httpx.Client | None = None
) -> None:
    """Makes well-formed and malformed calls of one operation and runs the checks on each response.

    The calls go to the document's own address, or through the client. The strategies are called directly, because
    schemathesis's pytest plugin does not support pytest 9.
    """
    for mode in schemathesis.GenerationMode:

        @settings(
            max_examples=calls,
            deadline=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case: Any) -> None:
            if client is None:
                case.call_and_validate(headers=headers, checks=checks, timeout=30)
            else:
                case.validate_response(send(case, headers, client), checks=checks, headers=headers)

        with suppress(Unsatisfiable):  # a call without parameters cannot be malformed
            call()


def send(case: Any, headers: dict[str, str], client: httpx.Client) -> httpx.Response:
    """Makes the call through the client."""
    arguments = case.as_transport_kwargs(base_url=str(client.base_url), headers=headers)
    request = requests.Request(**arguments).prepare()
    headers, body = cast("dict[str, str]", dict(request.headers)), cast("bytes | str | None", request.body)
    return client.request(str(request.method), str(request.url), headers=headers, content=body)
