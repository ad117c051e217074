"""The OpenAPI document says what the service does, and no call that it allows ends in a 5xx."""

from __future__ import annotations

from typing import Any, cast

import schemathesis
from fastapi import FastAPI
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.data.world import World
from tests.fuzz import fuzz

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_no_call_ends_in_a_5xx_or_in_what_the_document_does_not_say(app: FastAPI, world: World) -> None:
    document = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [cast("Any", result).ok() for result in document.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        for headers in (world.service, world.admin.headers):
            fuzz(operation, headers, CHECKS, calls=4)


def test_every_call_has_a_summary_and_the_one_error(app: FastAPI) -> None:
    for path, methods in app.openapi()["paths"].items():
        for method, call in methods.items():
            assert call["description"], (method, path)
            failure = call["responses"]["422"]["content"]["application/json"]["schema"]["$ref"]
            assert failure.endswith("/Failure"), (method, path)
