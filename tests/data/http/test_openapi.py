"""The OpenAPI document matches the service, and no call that it allows ends in a 5xx."""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import suppress
from typing import Any, cast

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test
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
from tests.fuzz import fuzz

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
def test_twenty_thousand_linked_calls_end_in_no_5xx(app: FastAPI, api: ApiClient) -> None:
    """Linked calls: an id, cursor or token of one response is used by the next, as schemathesis infers the links."""
    statuses, broken = Counter[str](), list[str]()

    class Caller(schemathesis.openapi.from_asgi("/openapi.json", app).as_state_machine()):  # type: ignore[misc]
        """Signs in again for each sequence of calls, as some end a sign-in; every other sequence is of the service."""

        rows = itertools.count()

        def setup(self) -> None:
            self.headers = api.service if next(self.rows) % 2 else api.person("admin").headers

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": {**(case.headers or {}), **self.headers}}

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
    while statuses.total() < 20_000:
        with suppress(Flaky):  # the state changes from call to call, which hypothesis cannot know
            run_state_machine_as_test(Caller, settings=rows)
    print(dict(statuses))
    assert broken == []
    assert statuses["2xx"] > 1_000


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
