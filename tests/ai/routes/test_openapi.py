"""Calls that the OpenAPI document allows, and some that it does not, make no server error."""

from __future__ import annotations

from typing import Any, cast

import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from tests.ai.support.app import RunningApp
from tests.fuzz import fuzz, linked

CHECKS = [not_a_server_error, status_code_conformance]


def test_no_call_of_the_document_makes_a_server_error(queued: RunningApp) -> None:
    client = queued.client(queued.trainer)
    document = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    operations = [cast("Any", found).ok() for found in document.get_all_operations()]
    assert len(operations) >= 14
    for operation in operations:
        if operation.path.endswith("/events"):
            continue  # the stream of a job that waits has no end
        fuzz(operation, {"X-API-Key": queued.trainer.key}, CHECKS, calls=8, client=client)


@pytest.mark.campaign(part="fuzz")
def test_ten_thousand_linked_calls_end_in_no_5xx(queued: RunningApp) -> None:
    client = queued.client(queued.trainer)
    document = schemathesis.openapi.from_dict(client.get("/openapi.json").json()).exclude(path_regex="/events$")
    statuses, broken = linked(document, 10_000, lambda: {"X-API-Key": queued.trainer.key}, client)
    print(dict(statuses))
    assert broken == []
    assert statuses["2xx"] > 500
