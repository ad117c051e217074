"""The OpenAPI document matches the service, and no call that it allows ends in a 5xx."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest
import schemathesis
from fastapi import FastAPI
from pydantic import TypeAdapter
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from data_api.schemas.base import ROW_SCHEMAS, Schema
from data_api.schemas.openapi_examples import EXAMPLES
from tests.data.api import ApiClient
from tests.fuzz import fuzz, linked

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("calls", [1, pytest.param(20, marks=pytest.mark.campaign(part="fuzz"))])
def test_no_call_ends_in_a_5xx_or_an_undocumented_response(app: FastAPI, api: ApiClient, calls: int) -> None:
    document = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [cast("Any", result).ok() for result in document.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        for headers in (api.service, api.person("admin").headers):  # a new admin, as some calls end a sign-in
            fuzz(operation, headers, CHECKS, calls=calls)


@pytest.mark.campaign(part="fuzz")
def test_ten_thousand_linked_calls_end_in_no_5xx(app: FastAPI, api: ApiClient) -> None:
    """A new admin for every other sequence, as some calls end a sign-in."""
    sequences = itertools.count()

    def sign_in() -> dict[str, str]:
        return api.service if next(sequences) % 2 else api.person("admin").headers

    statuses, broken = linked(schemathesis.openapi.from_asgi("/openapi.json", app), 10_000, sign_in)
    print(dict(statuses))
    assert broken == []
    assert statuses["2xx"] > 500


def test_every_call_has_a_description_and_the_error_body(app: FastAPI) -> None:
    for path, methods in app.openapi()["paths"].items():
        for method, call in methods.items():
            assert call["description"], (method, path)
            failure = call["responses"]["422"]["content"]["application/json"]["schema"]["$ref"]
            assert failure.endswith("/ErrorBody"), (method, path)


def test_every_call_has_examples_of_request_and_response(app: FastAPI) -> None:
    document = app.openapi()
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            responses = [response for status, response in call["responses"].items() if status.startswith("2")]
            for part in (call.get("requestBody", {}), *responses):
                for content in part.get("content", {}).values():
                    assert has_example(document, content), (method, path)


def has_example(document: dict[str, Any], content: dict[str, Any]) -> bool:
    schema = content["schema"]
    if "examples" in content or schema.get("type") == "string":  # a file or a page: its description documents it
        return True
    return "examples" in document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_example_is_valid_by_its_schema(name: str) -> None:
    schema: TypeAdapter[object] = TypeAdapter((ROW_SCHEMAS | known(Schema))[name])
    shown = schema.dump_python(schema.validate_python(EXAMPLES[name]), mode="json", exclude_unset=True)
    assert shown.keys() == EXAMPLES[name].keys()


def known(schema: type[Schema]) -> dict[str, type]:
    found: dict[str, type] = {schema.__name__: schema}
    for below in schema.__subclasses__():
        found |= known(below)
    return found
