"""Every error has the same JSON fields and its documented status, and repeats nothing of the input."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from data_api import errors
from data_api.http.session import DbSession
from data_api.main import STATUS, create_app
from data_api.settings import Settings
from tests.data.api import ApiClient, prediction

SECRET = "xyzzy-secret-input"


def tree(cls: type[errors.DataAPIError]) -> list[type[errors.DataAPIError]]:
    return [sub for child in cls.__subclasses__() for sub in (child, *tree(child))]


CLASSES = tree(errors.DataAPIError)


def test_every_error_has_a_status_and_a_message() -> None:
    assert set(STATUS) == set(CLASSES)
    for cls in CLASSES:
        assert cls.__doc__
        assert cls.__name__ in (errors.__doc__ or "")


@pytest.fixture(scope="module")
def broken(prepared: Settings) -> Iterator[TestClient]:
    """The service with a route that raises the error named in its path."""
    app: FastAPI = create_app(prepared.model_copy(update={"max_body_bytes": 10_000}))

    @app.get("/raise/{name}")
    def fail(name: str, _: DbSession) -> None:
        raise {cls.__name__: cls for cls in CLASSES}.get(name, RuntimeError)(SECRET)

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def check(response: Any, status: int, error: str) -> str:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error", "detail", "request_id"}
    assert body["error"] == error
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    assert response.headers["content-type"] == "application/json"
    return str(body["detail"])


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_has_the_same_json_fields(broken: TestClient, cls: type[errors.DataAPIError]) -> None:
    response = broken.get(f"/raise/{cls.__name__}")
    check(response, STATUS[cls], cls.__name__)
    assert ("www-authenticate" in response.headers) == (response.status_code == 401)
    assert ("retry-after" in response.headers) == (response.status_code in (429, 503))


def test_an_unexpected_error_is_a_500_without_details(broken: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        response = broken.get("/raise/Unheard")
    check(response, 500, "InternalError")
    assert SECRET not in response.text
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "error=RuntimeError" in line
    assert response.json()["request_id"] in line
    assert SECRET not in caplog.text


@pytest.mark.parametrize("path", [f"/{SECRET}", "/users//", "/predictions/x/y", "/%00", "/../etc/passwd"])
def test_an_unknown_path_is_a_404(api: ApiClient, path: str) -> None:
    assert SECRET not in check(api.client.get(path, headers=api.service), 404, "NotFound")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/users"), ("DELETE", "/predictions"), ("TRACE", "/health/live")])
def test_an_unknown_method_is_a_405(api: ApiClient, method: str, path: str) -> None:
    response = api.client.request(method, path, headers=api.service)
    check(response, 405, "MethodNotAllowed")
    assert response.headers["allow"]


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "body: Field required"),
        (b"{", "body"),
        (b"[]", "body: Input should be a valid dictionary or object to extract fields from"),
        (b"{}", "body.rows: Field required"),
        (b'{"rows": 7}', "body.rows: Input should be a valid list"),
        (b'{"rows": [], "xyzzy-secret-input": 1}', "body: has an unknown field"),
        (b'{"rows": "\xff\xfe"}', "body: not UTF-8"),
        (b'{"rows": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body: nested deeper than 64 levels"),
        (b'{"rows": [' + b"9" * 5_000 + b"]}", "body: not valid JSON at line 1 column"),
    ],
    ids=["empty", "cut", "list", "bare", "number", "extra", "not utf-8", "deep", "long number"],
)
def test_a_malformed_body_is_a_422(api: ApiClient, content: bytes, detail: str) -> None:
    headers = {**api.service, "Content-Type": "application/json"}
    response = api.client.post("/predictions", content=content, headers=headers)
    assert check(response, 422, "InvalidRequest").startswith(detail)
    assert SECRET not in response.text


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"username": SECRET},
        {"username": f"{SECRET}\0", "password": "x"},
        {"username": "a" * 255, "password": "x"},
        {"username": "a", "password": SECRET * 50},
        {"username": "a", "password": "x", "grant_type": SECRET},
        {"username": "a", "password": "x", SECRET: "1"},
    ],
)
def test_a_malformed_form_is_a_422(api: ApiClient, form: dict[str, str]) -> None:
    response = api.client.post("/auth/token", data=form)
    assert SECRET not in check(response, 422, "InvalidRequest")


def test_a_body_that_is_not_a_form_is_a_422(api: ApiClient) -> None:
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data"):
        response = api.client.post("/auth/token", content=b"\xff\xfe=%ff&", headers={"Content-Type": kind})
        check(response, 422, "InvalidRequest")
    check(api.client.post("/auth/token", files={"username": b"a", "password": b"b"}), 422, "InvalidRequest")


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"limit": SECRET}, "query.limit: Input should be a valid integer"),
        ({"limit": "0"}, "query.limit: Input should be greater than or equal to 1"),
        ({"limit": "501"}, "query.limit: Input should be less than or equal to 500"),
        ({"task": f"{SECRET}\0"}, "query.task: must not hold NUL characters"),
        ({"label": "\0"}, "query.label: must not hold NUL characters"),
        ({"user_id": SECRET}, "query.user_id: Input should be a valid UUID"),
        ({"version": "99999999999"}, "query.version: Input should be less than or equal to 2147483647"),
        ({"after": SECRET}, "query.after: Input should be a valid datetime"),
        ({"after": "2026-01-01T00:00:00"}, "query.after: Input should have timezone info"),
    ],
)
def test_a_malformed_query_is_a_422(api: ApiClient, query: dict[str, str], detail: str) -> None:
    response = api.client.get("/predictions", params=query, headers=api.service)
    assert check(response, 422, "InvalidRequest").startswith(detail)
    assert SECRET not in response.text


def test_the_earliest_and_latest_datetimes_are_accepted(api: ApiClient) -> None:
    query = {"after": "0001-01-01T00:00:00+14:00", "before": "9999-12-31T23:59:59-12:00"}
    assert api.client.get("/predictions", params=query, headers=api.service).status_code == 200
    since = {"since": "9999-12-31T23:59:59-12:00"}
    assert api.client.get("/tasks/x/corrections", params=since, headers=api.service).status_code == 200


def test_a_malformed_path_is_a_422(api: ApiClient) -> None:
    response = api.client.get(f"/predictions/{SECRET}", headers=api.service)
    assert SECRET not in check(response, 422, "InvalidRequest")
    check(api.client.get("/tasks/%00/corrections", headers=api.service), 422, "InvalidRequest")


def test_a_body_over_the_limit_is_a_413_whatever_its_content_length(broken: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b"a" * 1_000

    check(broken.post("/echo", content=b"a" * 10_001), 413, "TooLarge")
    check(broken.post("/echo", content=chunks()), 413, "TooLarge")
    check(broken.post("/echo", content=b"a" * 10_001, headers={"Content-Length": "5"}), 413, "TooLarge")
    assert broken.request("GET", "/health/live", content=b"a" * 10_001).status_code == 200  # it is not read
    assert broken.post("/echo", content=b"a" * 10_000).json() == 10_000


@pytest.mark.parametrize(
    ("sent", "is_adopted"),
    [("abc-DEF_1.2", True), ("a" * 64, True), ("a" * 65, False), ("", False), ("a b", False), ("<script>", False)],
)
def test_a_well_formed_request_id_is_adopted(api: ApiClient, sent: str, is_adopted: bool) -> None:
    response = api.client.get("/health/live", headers={"X-Request-ID": sent})
    returned = response.headers["x-request-id"]
    assert (returned == sent) == is_adopted
    if not is_adopted:
        assert UUID(returned)


def test_the_log_holds_routes_and_no_inputs(api: ApiClient, caplog: pytest.LogCaptureFixture, task: str) -> None:
    with caplog.at_level(logging.DEBUG):
        api.send("/predictions", prediction(task, row={"text": SECRET}), {"id": SECRET})
        api.client.get("/predictions", params={"label": SECRET}, headers=api.service)
        api.client.get(f"/tasks/{SECRET}/corrections", headers=api.service)
        api.client.post("/auth/token", data={"username": SECRET, "password": SECRET})
        api.client.get(f"/{SECRET}", headers={"User-Agent": SECRET})
        api.client.request(SECRET, "/users")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("data_api", "sqlalchemy"))]
    assert any("route=/tasks/{task}/corrections status=200" in line for line in ours)
    assert any("method=OTHER" in line for line in ours)
    assert not [line for line in ours if SECRET in line]
