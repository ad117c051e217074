"""Calls that an OpenAPI document allows, and some that it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Flaky, Unsatisfiable
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.core.transport import Response


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


def linked(
    document: Any,
    calls: int,
    sign_in: Callable[[], dict[str, str]],
    client: httpx.Client | None = None,
) -> tuple[Counter[str], list[str]]:
    """Makes sequences of calls in which an id, cursor or token of one response is used by the next, as schemathesis
    infers the links. Each sequence has headers of its own. Returns the calls by class of status, and those with 5xx.
    """
    statuses, broken = Counter[str](), list[str]()

    class Caller(document.as_state_machine()):  # type: ignore[misc]
        """One sequence of calls."""

        def setup(self) -> None:
            self.headers = sign_in()

        def call(self, case: Any, **arguments: Any) -> Any:
            headers = {**(case.headers or {}), **self.headers}
            if client is None:
                return super().call(case, **arguments, headers=headers)
            return Response.from_httpx(send(case, headers, client), verify=True)

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            statuses[f"{response.status_code // 100}xx"] += 1
            if response.status_code >= 500:
                broken.append(f"{case.method} {case.path} {response.text}")

    rows = settings(
        max_examples=100,
        verbosity=Verbosity.quiet,
        stateful_step_count=50,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    while statuses.total() < calls:
        with suppress(Flaky):  # the state changes from call to call, which hypothesis cannot know
            run_state_machine_as_test(Caller, settings=rows)
    return statuses, broken


def send(case: Any, headers: dict[str, str], client: httpx.Client) -> httpx.Response:
    """Makes the call through the client."""
    arguments = case.as_transport_kwargs(base_url=str(client.base_url), headers=headers)
    request = requests.Request(**arguments).prepare()
    headers, body = cast("dict[str, str]", dict(request.headers)), cast("bytes | str | None", request.body)
    return client.request(str(request.method), str(request.url), headers=headers, content=body)
