"""Bodies over HTTP: nothing is read before the caller is known and allowed; every call reads bodies alike."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.testclient import TestClient

from data_api.http.body.guarded_route import GuardedRoute
from data_api.ids import new_id
from data_api.main import create_app
from data_api.settings import Settings
from tests.asgi import exchange
from tests.data.api import ApiClient, prediction
from tests.data.http.test_errors import check
from tests.data.http.test_permissions import BODIES, OPEN, TABLE, ByOwner, Row

LARGE = {"content-type": "application/json", "content-length": str(16 * 2**20)}
FORM = "application/x-www-form-urlencoded"
READ_IN_ANY_CASE = {("POST", "/auth/token"), ("POST", "/auth/refresh"), ("POST", "/auth/logout")} | {
    ("POST", "/invitations/{invitation}")
}
NAMES = {413: "TooLarge", 422: "InvalidRequest"}
UNKNOWN = [("POST", "/nowhere"), ("PUT", "/users"), ("POST", "/health/live"), ("POST", "/openapi.json")]


def statuses(route: tuple[str, str]) -> Row:
    """The statuses of a route for each kind of caller, on what is another user's."""
    row = TABLE[route]
    return row.other if isinstance(row, ByOwner) else row


OWN_DATA = "/users/{user_id}/data"
"""Every user may make this call about themselves, so its body is read before the id is compared."""


def filled(path: str) -> str:
    """The path with an id of nothing in the place of each parameter."""
    return re.sub(r"{\w+}", str(new_id()), path)


def test_no_byte_of_a_body_is_read_before_an_anonymous_caller_is_refused(api: ApiClient, app: FastAPI) -> None:
    for route in [*TABLE, *OPEN, *UNKNOWN, ("POST", "/admin/user/create"), ("POST", "/admin/api-key/edit/1")]:
        for headers in (LARGE, {**LARGE, "content-type": "multipart/form-data; boundary=x", "x-api-key": "wrong"}):
            sent = {**headers, "sec-fetch-site": "same-origin"}
            result = asyncio.run(exchange(app, route[0], filled(route[1]), sent))
            assert result.sent_before_reading is None or result.sent_before_reading > 1, route
            if route in READ_IN_ANY_CASE:
                assert (result.status, result.json["error"]) in {(413, "TooLarge"), (422, "InvalidRequest")}, route
            elif route in TABLE:
                assert result.status == 401, route


def test_a_call_without_a_caller_takes_16_kib(api: ApiClient) -> None:
    for method, path in READ_IN_ANY_CASE - {("POST", "/auth/token")}:
        for size, status in ((16 * 2**10, 422), (16 * 2**10 + 1, 413)):
            check(api.client.request(method, filled(path), content=b"{".ljust(size)), status, NAMES[status])
    for size, status in ((16 * 2**10, 422), (16 * 2**10 + 1, 413)):
        form = {"Content-Type": FORM}
        check(api.client.post("/auth/token", content=b"a=".ljust(size, b"a"), headers=form), status, NAMES[status])


def test_no_byte_of_a_body_is_read_before_a_caller_without_the_role_is_refused(api: ApiClient, app: FastAPI) -> None:
    user = api.person()
    for method, path in BODIES:
        if statuses((method, path))[1] == 403 and path != OWN_DATA:
            result = asyncio.run(exchange(app, method, filled(path), {**LARGE, **lowered(user.headers)}))
            assert (result.status, result.json["error"]) == (403, "NotAllowed"), path
            assert result.sent_before_reading is not None
            assert result.sent_before_reading > 1, path


def lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_every_route_is_a_guarded_one(app: FastAPI) -> None:
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    ours = [route for route in routes if isinstance(route, APIRoute)]
    assert len(ours) >= len(TABLE | dict.fromkeys(OPEN))
    assert [route.path for route in ours if not isinstance(route, GuardedRoute)] == []


def test_no_connection_to_postgres_is_held_while_a_body_arrives(prepared: Settings, api: ApiClient) -> None:
    app = create_app(prepared.model_copy(update={"pool_size": 1, "pool_wait_seconds": 0.1}))
    pool = app.state.context.database.engine.pool
    held: list[int] = []

    async def parts() -> AsyncIterator[bytes]:
        for part in (b'{"name": ', b'"Ada"}'):
            held.append(pool.checkedout())
            yield part

    with TestClient(app):
        headers = {"content-type": "application/json", "transfer-encoding": "chunked", **lowered(api.person().headers)}
        result = asyncio.run(exchange(app, "PATCH", "/users/me", headers, parts()))
    assert (result.status, result.json["name"], held) == (200, "Ada", [0, 0])


def test_a_caller_who_loses_their_rights_while_the_body_arrives_is_refused(api: ApiClient, app: FastAPI) -> None:
    caller = api.person("admin")

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"email": '
        change = partial(api.client.patch, json={"role": "user"}, headers=api.admin.headers)
        assert (await asyncio.to_thread(change, f"/users/{caller.id}")).status_code == 200
        yield b'"late@example.org", "role": "admin"}'

    headers = {"content-type": "application/json", "transfer-encoding": "chunked", **lowered(caller.headers)}
    result = asyncio.run(exchange(app, "POST", "/users", headers, parts()))
    assert result.status in (401, 403)


def test_a_request_with_a_body_is_counted_once(prepared: Settings, api: ApiClient) -> None:
    app = create_app(prepared.model_copy(update={"rate_limit_per_caller": "2/hour"}))
    with TestClient(app) as client:
        person = api.person()
        statuses = [client.patch("/users/me", json={"name": "A"}, headers=person.headers).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize(
    ("content", "headers", "status", "detail"),
    [
        (b"caf\xe9", {}, 422, "body: not UTF-8"),
        (b"[" * 100, {}, 422, "body: nested deeper than 64 levels"),
        (b'{"a": 1, "a": 2}', {}, 422, "body: a name occurs twice in one object"),
        (b"{}", {"Content-Type": "application/json; charset=utf-16"}, 422, "body: must be UTF-8"),
        (b"{}", {"Content-Type": "text/html"}, 422, "body: must be JSON"),
        (b"{}", {"Content-Encoding": "br"}, 415, "The only Content-Encoding that is read is gzip."),
        (b"{}", {"Content-Encoding": "gzip"}, 422, "body: not valid gzip"),
        (b"[" + b"0," * 2_000_000, {}, 422, "body: more than "),
    ],
)
def test_every_call_refuses_a_body_that_cannot_be_read_in_the_same_words(
    api: ApiClient, content: bytes, headers: dict[str, str], status: int, detail: str
) -> None:
    for method, path in BODIES:
        caller = api.service if statuses((method, path))[4] in (200, 204) else api.admin.headers
        sent = {"Content-Type": "application/json", **headers, **caller}
        response = api.client.request(method, filled(path), content=content, headers=sent)
        assert check(response, status, response.json()["error"]).startswith(detail), path


def test_rows_in_gzip_are_stored(api: ApiClient, task: str) -> None:
    content = gzip.compress(json.dumps({"rows": [prediction(task)]}).encode())
    response = api.client.post("/predictions", content=content, headers={**api.service, "Content-Encoding": "gzip"})
    assert response.json() == {"results": [{"status": "stored", "reason": None}]}


PASSWORD = "Grüße aus Zürich"


@pytest.mark.parametrize("send", ["raw", "escaped", "multipart", "charset"])
@pytest.mark.parametrize("path", ["/auth/token", "/admin/login"])
def test_a_password_with_an_umlaut_signs_in_however_the_form_is_sent(
    api: ApiClient, client: TestClient, path: str, send: str
) -> None:
    email = f"{new_id()}@example.org"
    account = {"email": email, "password": PASSWORD, "role": "admin"}
    assert client.post("/users", json=account, headers=api.admin.headers).status_code == 201
    here = {"Sec-Fetch-Site": "same-origin"}
    if send == "multipart":
        fields = {"username": (None, email), "password": (None, PASSWORD)}
        response = client.post(path, files=fields, headers=here, follow_redirects=False)
    else:
        password = PASSWORD if send == "raw" else quote(PASSWORD)
        kind = f"{FORM}; charset=utf-8" if send == "charset" else FORM
        content = f"username={email}&password={password}".encode()
        response = client.post(path, content=content, headers={"Content-Type": kind, **here}, follow_redirects=False)
    assert response.status_code == (200 if path == "/auth/token" else 303), response.text


CUT = b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\na\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="username"; filename="a"\r\n\r\na\r\n--x--'


@pytest.mark.parametrize(
    ("kind", "content", "detail"),
    [
        (FORM, "username=a&password=ä".encode("cp1252"), "the form is not UTF-8"),
        (FORM, b"username=a&password=%E4", "the form is not UTF-8"),
        (f"{FORM}; charset=", b"username=a&password=b", "must be UTF-8"),
        (f"{FORM}; charset=odd", b"username=a&password=b", "must be UTF-8"),
        (FORM, b"username=a&password=b&password=c", "a field or a file was sent twice"),
        ("multipart/form-data; boundary=x", CUT, "the form is incomplete"),
        ("multipart/form-data", CUT, "the Content-Type of a form needs its boundary"),
        ("application/json", b"{}", "must be a form"),
    ],
)
def test_a_sign_in_form_that_cannot_be_read_is_refused_with_the_reason(
    api: ApiClient, kind: str, content: bytes, detail: str
) -> None:
    headers = {"Content-Type": kind}
    response = api.client.post("/auth/token", content=content, headers=headers)
    assert check(response, 422, "InvalidRequest").startswith(f"body: {detail}")
    page = api.client.post("/admin/login", content=content, headers={**headers, "Sec-Fetch-Site": "same-origin"})
    assert page.status_code == 422
    assert detail in page.text


def test_a_sign_in_form_takes_no_files_and_empty_optional_fields(api: ApiClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    check(api.client.post("/auth/token", content=FILE, headers=headers), 422, "InvalidRequest")
    form = {"username": api.admin.email, "password": api.secret("admin_password"), "client_id": "", "scope": ""}
    assert api.client.post("/auth/token", data=form).status_code == 200
