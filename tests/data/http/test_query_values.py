"""Numbers, booleans and times in a query are those of JSON and ISO 8601; nothing else is read as one."""

from __future__ import annotations

import json

import pytest

from tests.data.api import ApiClient

WHOLE = ("1_0", " 1", "1 ", "+1", "1.0", "1e1", "01", "True", "\u0661", "0x1", "nan", "-1", "1" * 30)
DECIMAL = ("1_0.5", " 1", "+1", "nan", "inf", "-Infinity", ".5", "1.", "0x1", "\u0661", "1e400", "true")
TRUTH = ("True", "TRUE", "yes", "on", "1", "0", "t", " true")
TIME = ("1764000000", "1.5e9", "-1", "now", "2026-01-01T00:00:00", "26-01-01T00:00:00Z")
CASES = [
    *(("/predictions", "limit", value) for value in WHOLE),
    *(("/predictions", "version", value) for value in WHOLE),
    *(("/promotions", "version", value) for value in WHOLE),
    *(("/accuracy", "version", value) for value in WHOLE),
    *(("/predictions/uncertain", "limit", value) for value in WHOLE),
    *(("/predictions", "min_score", value) for value in DECIMAL),
    *(("/predictions", "max_score", value) for value in DECIMAL),
    *(("/predictions", "corrected", value) for value in TRUTH),
    *(("/users", "disabled", value) for value in TRUTH),
    *(("/predictions", "after", value) for value in TIME),
    *(("/feedback", "before", value) for value in TIME),
]
GOOD = [
    ("/predictions", {"limit": "10", "version": "1", "task": "x"}),
    ("/predictions", {"min_score": "0.5", "max_score": "1e0", "corrected": "true", "after": "9999-01-01T00:00:00Z"}),
    ("/users", {"disabled": "false"}),
    ("/feedback", {"after": "2026-01-01T00:00:00+01:00", "before": "2026-01-01 00:00:00Z"}),
]


@pytest.mark.parametrize(("path", "name", "value"), CASES)
def test_what_json_refuses_is_refused_in_a_query(api: ApiClient, path: str, name: str, value: str) -> None:
    response = api.client.get(path, params={"task": "x", name: value}, headers=api.admin.headers)
    assert (response.status_code, response.json()["error"]) == (422, "InvalidRequest")
    assert name in response.json()["detail"]


@pytest.mark.parametrize(("path", "query"), GOOD)
def test_what_json_takes_is_taken(api: ApiClient, path: str, query: dict[str, str]) -> None:
    assert api.client.get(path, params=query, headers=api.admin.headers).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [("disabled", "yes"), ("disabled", 1), ("name", " "), ("name", "a\nb"), ("name", "\x7f"), ("name", "\ud800")],
)
def test_the_fields_of_a_body_are_not_converted(api: ApiClient, field: str, value: object) -> None:
    path = f"/users/{api.person().id}"
    headers = {**api.admin.headers, "Content-Type": "application/json"}
    assert api.client.patch(path, content=json.dumps({field: value}), headers=headers).status_code == 422


@pytest.mark.parametrize("value", [4_000_000_000, 4e9, True, "4000000000", "4e9", "2999-01-01"])
def test_the_time_of_a_body_is_a_text_with_a_date_and_a_zone(api: ApiClient, value: object) -> None:
    body = {"name": "x", "scopes": ["read"], "expires_at": value}
    assert api.client.post("/api-keys", json=body, headers=api.admin.headers).status_code == 422
