"""The host, path, method and query of a request, the headers of every response, and requests from other origins."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError

from data_api.main import create_app
from data_api.settings import Settings
from tests.data.admin.conftest import open_browser
from tests.data.api import ApiClient, feedback, prediction
from tests.data.http.test_errors import SECRET, check

ORIGIN = "https://shop.example.org"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8001", "127.0.0.1:8001", "[::1]:8001", "[::1]", "testserver."]
)
def test_the_hosts_of_the_loopback_and_of_the_settings_are_known(api: ApiClient, host: str) -> None:
    assert api.client.get("/users", headers={"Host": host, **api.admin.headers}).status_code == 200


@pytest.mark.parametrize(
    "host", [SECRET, f"{SECRET}:8001", "", "0.0.0.0", "127.0.0.1.nip.io", "localhost@evil", "localhost:80:80", "::1:1"]
)
@pytest.mark.parametrize("path", ["/users", "/health/live", "/docs", "/admin", "/admin/user/list/"])
def test_a_request_for_another_host_is_a_421(api: ApiClient, host: str, path: str) -> None:
    response = api.client.get(path, headers={"Host": host}, follow_redirects=False)
    assert "VOLANT_NAMES" in check(response, 421, "UnknownHost")
    assert SECRET not in response.text
    assert "location" not in response.headers


def test_the_host_of_the_public_url_is_known(prepared: Settings) -> None:
    public = {"public_url": "https://people.example.org:8443/volant", "host": "0.0.0.0", "allowed_hosts": "a,0.0.0.0"}
    assert prepared.model_copy(update=public).hosts == ["people.example.org:8443", "a"]
    assert prepared.model_copy(update={"host": "10.1.2.3"}).hosts[0] == "10.1.2.3"


@pytest.mark.parametrize("path", ["/users", "/users/me", "/health/live", "/docs", "/openapi.json"])
def test_a_trailing_slash_is_ignored(api: ApiClient, path: str) -> None:
    with_slash = api.client.get(f"{path}/", headers=api.admin.headers, follow_redirects=False)
    assert with_slash.status_code == 200
    assert with_slash.content == api.client.get(path, headers=api.admin.headers).content


def test_an_encoded_slash_belongs_to_the_parameter(api: ApiClient, task: str) -> None:
    period = {"predictions_days": 30, "examples_days": 30}
    assert api.client.put(f"/retention/{task}/", json=period, headers=api.admin.headers).status_code == 200
    check(api.client.delete(f"/retention/{task}%2F", headers=api.admin.headers), 404, "NotFound")
    assert api.client.delete(f"/retention/{task}", headers=api.admin.headers).status_code == 204


def test_redirects_of_the_admin_page_name_no_host(app: FastAPI, client: TestClient) -> None:
    browser = open_browser(app)
    for path in ("/admin", "/admin/", "/admin/user/list", "/admin/user/list/"):
        response = browser.get(path, headers={"Host": "localhost:1"})
        assert (response.status_code, response.headers["location"]) == (302, "/admin/login")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/users", "/docs", "/admin/login", f"/{SECRET}"])
def test_head_has_the_status_and_headers_of_get_and_no_body(api: ApiClient, path: str) -> None:
    head, get = (api.client.request(method, path, headers=api.admin.headers) for method in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == str(len(get.content))


def test_head_of_a_streamed_list_ends(api: ApiClient) -> None:
    response = api.client.head("/users?format=csv", headers=api.admin.headers)
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health/live"),
        ("GET", "/users"),
        ("GET", "/users?format=csv"),
        ("GET", f"/{SECRET}"),
        ("PUT", "/users"),
        ("GET", f"/users?{SECRET}=1"),
        ("POST", "/auth/token"),
        ("GET", "/.well-known/jwks.json"),
        ("GET", "/openapi.json"),
        ("GET", "/admin/login"),
    ],
)
def test_no_response_is_stored_or_guessed_at(api: ApiClient, method: str, path: str) -> None:
    for credentials in ({}, api.admin.headers):
        headers = api.client.request(method, path, headers=credentials).headers
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_every_call_refuses_unknown_parameters_with_the_known_ones(app: FastAPI, api: ApiClient) -> None:
    calls = 0
    for path, methods in app.openapi()["paths"].items():
        for method, call in methods.items():
            known = sorted(one["name"] for one in call.get("parameters", []) if one["in"] == "query")
            response = api.client.request(method, path, params={SECRET: "1"}, headers=api.admin.headers)
            if response.status_code == 403:  # who may not make a call at all is told nothing about it
                response = api.client.request(method, path, params={SECRET: "1"}, headers=api.service)
            named = f"There are: {', '.join(known)}." if known else "this call has no parameters."
            assert check(response, 422, "InvalidRequest").endswith(named), (method, path)
            assert SECRET not in response.text
            calls += 1
    assert calls > 40


def test_a_parameter_that_is_given_twice_is_refused(api: ApiClient) -> None:
    check(api.client.get("/users?limit=1&limit=2", headers=api.admin.headers), 422, "InvalidRequest")


def items(api: ApiClient, path: str, **query: Any) -> list[dict[str, Any]]:
    response = api.client.get(path, params=query, headers=api.admin.headers)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found


def test_predictions_and_feedback_are_filtered_by_the_request_that_made_them(api: ApiClient, task: str) -> None:
    person = api.person()
    first, second = (prediction(task, person.id, request_id=f"{task}-{n}") for n in (1, 2))
    api.send("/predictions", first, second)
    found = items(api, "/predictions", request_id=f"{task}-2", after="2026-01-01", before="2026-01-31")
    assert found == []
    yesterday = items(api, "/predictions", task=task)[0]["created_at"][:10]
    found = items(api, "/predictions", request_id=f"{task}-2", after=yesterday)
    assert [one["id"] for one in found] == [second["id"]]
    check(api.client.get("/predictions?request_id=x", headers=api.admin.headers), 422, "InvalidRequest")
    about = feedback(first, person.id, request_id=f"{task}-3")
    api.send("/feedback", about, feedback(second, person.id))
    assert [one["id"] for one in items(api, "/feedback", request_id=f"{task}-3")] == [about["id"]]


def test_erasures_are_filtered_by_status(api: ApiClient) -> None:
    person = api.person()
    erasure = api.client.delete(f"/users/{person.id}/data", headers=api.admin.headers).json()["id"]
    assert erasure in [one["id"] for one in items(api, "/erasures", status="requested", limit=500)]
    assert erasure not in [one["id"] for one in items(api, "/erasures", status="finished", limit=500)]


def test_filters_by_time_take_what_the_service_prints(api: ApiClient, task: str) -> None:
    row = prediction(task)
    api.send("/predictions", row)
    (stored,) = items(api, "/predictions", task=task)
    printed = stored["created_at"]
    assert printed.endswith("+00:00")
    for moment in (printed, printed.replace("+", " "), printed.replace("T", " "), printed[:10]):
        unencoded = f"/predictions?task={task}&after={moment}"
        response = api.client.get(unencoded, headers=api.admin.headers)
        assert [one["id"] for one in response.json()["items"]] == [row["id"]], unencoded
    for path in ("/feedback", "/promotions", "/audit", f"/accuracy?task={task}", f"/tasks/{task}/corrections"):
        name = "since" if path.startswith("/tasks") else "after"
        unencoded = f"{path}{'&' if '?' in path else '?'}{name}={printed}"
        assert api.client.get(unencoded, headers=api.admin.headers).status_code == 200, path
    shown = api.client.get(f"/accuracy?task={task}", headers=api.admin.headers).json()
    again = api.client.get(
        f"/accuracy?task={task}&after={shown['after']}&before={shown['before']}", headers=api.service
    )
    assert again.json()["after"] == shown["after"]


@pytest.mark.parametrize("moment", ["2026-01-01T00:00:00", "2026-13-01", "2026-01-01T00:00:00 99:99", "x 01:00"])
def test_a_time_without_a_zone_or_out_of_the_calendar_is_refused(api: ApiClient, moment: str) -> None:
    response = api.client.get("/predictions", params={"after": moment}, headers=api.admin.headers)
    check(response, 422, "InvalidRequest")


def test_pages_of_the_allowed_origin_may_call_and_others_may_not(prepared: Settings) -> None:
    client = TestClient(create_app(prepared.model_copy(update={"cors_origins": ORIGIN})))
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    allowed = client.options("/users", headers={"Origin": ORIGIN, **asked})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    called = client.get("/health/live", headers={"Origin": ORIGIN})
    assert called.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in called.headers
    for origin in ("https://evil.example.org", f"{ORIGIN}.evil.org", ORIGIN.replace("https", "http"), "null"):
        assert client.options("/users", headers={"Origin": origin, **asked}).status_code == 400
        assert "access-control-allow-origin" not in client.get("/health/live", headers={"Origin": origin}).headers


def test_no_origin_may_call_by_default(api: ApiClient) -> None:
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    check(api.client.options("/users", headers=headers), 405, "MethodNotAllowed")
    assert "access-control-allow-origin" not in api.client.get("/health/live", headers=headers).headers


@pytest.mark.parametrize(
    "origins", ["*", "shop.example.org", f"{ORIGIN}/", f"{ORIGIN}/path", "null", f"{ORIGIN} {ORIGIN}"]
)
def test_an_origin_that_is_not_exact_is_refused_at_the_start(origins: str) -> None:
    with pytest.raises(ValidationError):
        Settings(cors_origins=origins)
    assert Settings(cors_origins=f"{ORIGIN}, http://localhost:3000").origins == [ORIGIN, "http://localhost:3000"]
