"""SQL in any input is treated as text, and unknown fields are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text

from data_api.ids import new_id
from data_api.models.people.user import User
from tests.data.api import PASSWORD, ApiClient, feedback, prediction

PAYLOADS = (
    "'",
    "' OR '1'='1",
    "'; DROP TABLE users; --",
    '" OR ""="',
    "1; SELECT pg_sleep(5)",
    "') UNION SELECT password_hash FROM users --",
    "$$; DELETE FROM users; $$",
    "\\'; DELETE FROM users; --",
    "%' OR 1=1 --",
    "%(id)s",
    ":id",
    "{0}",
    "*/ OR /*",
    "ʼ OR 1=1",
)
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def state(as_app: Engine) -> Any:
    """What must not change: the users and the number of rows."""

    def look() -> dict[str, Any]:
        with as_app.connect() as connection:
            return {
                query: connection.execute(text(query)).all()
                for query in (
                    "SELECT id, email, role, disabled, password_hash FROM users ORDER BY id",
                    "SELECT id, user_id, scopes FROM api_keys ORDER BY id",
                    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
                )
            }

    return look


def string_parameters(app: FastAPI) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Every parameter that accepts any text: method, path, operation, parameter."""
    return [
        (method, path, call, parameter)
        for path, calls in app.openapi()["paths"].items()
        for method, call in calls.items()
        if method in METHODS
        for parameter in call.get("parameters", [])
        if parameter["in"] in ("query", "path")
    ]


def is_text(schema: dict[str, Any]) -> bool:
    """Whether any text is valid for the schema; numbers, ids and datetimes are parsed first."""
    kinds = schema.get("anyOf", [schema])
    return any(kind.get("type") == "string" and "format" not in kind and "enum" not in kind for kind in kinds)


def test_sql_in_any_parameter_is_treated_as_text(api: ApiClient, app: FastAPI, state: Any) -> None:
    found = string_parameters(app)
    assert len(found) > 20
    before = state()
    callers: dict[tuple[str, str], dict[str, str]] = {}
    for method, path, call, parameter in found:
        others = {one["name"]: str(new_id()) for one in call["parameters"] if one["in"] == "path"}
        for payload in PAYLOADS if is_text(parameter["schema"]) else PAYLOADS[:2]:
            query = {}
            if parameter["in"] == "path":
                others[parameter["name"]] = payload.replace("/", "%2F")
            else:
                query[parameter["name"]] = payload
            address = path.format(**others)
            caller = callers.setdefault((method, path), api.admin.headers)
            response = api.client.request(method, address, params=query, headers=caller)
            if response.status_code == 403:
                callers[method, path] = api.service
                response = api.client.request(method, address, params=query, headers=api.service)
            assert response.status_code < 500, (method, path, parameter["name"], payload, response.text)
            assert "$argon2id$" not in response.text
    assert state() == before


def test_sql_in_a_row_is_stored_unchanged(api: ApiClient, task: str, state: Any) -> None:
    before = state()
    person = api.person()
    rows = [
        prediction(task, person.id, row={payload: payload}, request_id=payload, answer=classification(payload))
        for payload in PAYLOADS
    ]
    assert api.statuses("/predictions", *rows) == ["stored"] * len(rows)
    for row, payload in zip(rows, PAYLOADS, strict=True):
        correction = feedback(row, person.id, label=payload, comment=payload)
        assert api.statuses("/feedback", correction) == ["stored"]
        stored = api.client.get(f"/predictions/{row['id']}", headers=api.service).json()
        assert (stored["row"], stored["request_id"]) == (row["row"], payload)
        assert (stored["feedback"][0]["comment"], stored["feedback"][0]["status"]) == (payload, "accepted")
        query = {"task": task, "label": payload}
        (listed,) = api.client.get("/predictions", params=query, headers=api.service).json()["items"]
        assert listed["id"] == row["id"]
    after = state()
    assert [one for one in after if after[one] != before[one]] == [
        "SELECT id, email, role, disabled, password_hash FROM users ORDER BY id"  # the one person of this test
    ]
    assert len(next(iter(after.values()))) == len(next(iter(before.values()))) + 1


def classification(label: str) -> dict[str, Any]:
    return {"label": label, "score": 1.0, "probabilities": {label: 1.0}}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_sql_injection_does_not_sign_in(api: ApiClient, payload: str) -> None:
    for email, password in ((payload, payload), (api.admin.email + payload, "x"), (api.admin.email, payload)):
        response = api.client.post("/auth/token", data={"username": email, "password": password})
        assert response.status_code == 401
    for headers in ({"X-API-Key": payload.encode()}, {"Authorization": f"Bearer {payload}".encode()}):
        assert api.client.get("/users/me", headers=headers).status_code == 401  # type: ignore[arg-type]
    body = {"refresh_token": payload}
    assert api.client.post("/auth/refresh", json=body).status_code == 401


def test_wildcards_in_a_search_are_escaped(api: ApiClient) -> None:
    mark = str(new_id())
    names = [f"100%_sure {mark}", f"100 xsure {mark}", f"back\\slash {mark}"]
    for name in names:
        body = {"email": f"{new_id()}@example.org", "name": name}
        assert api.client.post("/users", json=body, headers=api.admin.headers).status_code == 201

    def found(part: str) -> list[str]:
        response = api.client.get("/users", params={"search": part}, headers=api.admin.headers)
        return [user["name"] for user in response.json()["items"]]

    assert found(f"100%_sure {mark}") == names[:1]
    assert found(f"100%sure {mark}") == []
    assert found(f"100__sure {mark}") == []
    assert found(f"BACK\\slash {mark}") == names[2:]
    assert sorted(found(mark)) == sorted(names)


def test_every_body_refuses_unknown_fields(app: FastAPI) -> None:
    document = app.openapi()
    bodies = [
        content["schema"]
        for calls in document["paths"].values()
        for call in calls.values()
        for content in call.get("requestBody", {}).get("content", {}).values()
    ]
    assert len(bodies) > 10
    for body in bodies:
        schema = document["components"]["schemas"][body["$ref"].rpartition("/")[2]] if "$ref" in body else body
        assert schema["additionalProperties"] is False, body


COLUMNS = sorted({column.name for column in User.__table__.columns} | {"is_admin", "scopes", "tokens", "__class__"})


@pytest.mark.parametrize("field", COLUMNS)
def test_protected_columns_cannot_be_written(api: ApiClient, field: str, as_app: Engine) -> None:
    """Each column of a user, sent by the user about themselves, and with a new user by an admin."""
    person = api.person()
    sent = {"role": "admin", "disabled": True, "id": str(new_id())}.get(field, "injected-value")
    query = text("SELECT * FROM users WHERE id = :id")
    with as_app.connect() as connection:
        before = connection.execute(query, {"id": person.id}).one()
        response = api.client.patch("/users/me", json={field: sent}, headers=person.headers)
        assert response.status_code == (200 if field == "name" else 422), response.text
        after = connection.execute(query, {"id": person.id}).one()
    assert [one for one in before._fields if getattr(before, one) != getattr(after, one)] == (
        ["name"] if field == "name" else []
    )
    if field not in ("email", "name", "role"):
        body = {"email": f"{new_id()}@example.org", "password": PASSWORD, field: sent}
        assert api.client.post("/users", json=body, headers=api.admin.headers).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api-keys", {"name": "x", "scopes": ["read"], "user_id": "{admin}"}),
        ("POST", "/api-keys", {"name": "x", "scopes": ["read"], "role": "admin"}),
        ("POST", "/api-keys", {"name": "x", "scopes": ["read"], "last_used_at": "2020-01-01T00:00:00Z"}),
        ("PATCH", "/users/me", {"current_password": PASSWORD, "password": PASSWORD, "user_id": "{admin}"}),
        ("POST", "/auth/refresh", {"refresh_token": "{refresh}", "user_id": "{admin}"}),
        ("POST", "/auth/refresh", {"refresh_token": "{refresh}", "role": "admin"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_a_field_in_a_body_cannot_change_the_caller(
    api: ApiClient, method: str, path: str, body: dict[str, object]
) -> None:
    person = api.person()
    filled = json.loads(json.dumps(body).replace("{admin}", api.admin.id).replace("{refresh}", person.refresh))
    assert api.client.request(method, path, json=filled, headers=person.headers).status_code == 422
    assert api.client.get("/users/me", headers=person.headers).json()["role"] == "user"


def test_a_field_in_the_query_or_twice_in_a_body_changes_nothing(api: ApiClient) -> None:
    person = api.person()
    twice = b'{"name": "x", "scopes": ["read"], "scopes": ["predict"], "role": "user", "role": "admin"}'
    headers = {**person.headers, "Content-Type": "application/json"}
    assert api.client.post("/api-keys", content=twice, headers=headers).status_code == 422
    query = {"role": "admin", "user_id": api.admin.id}
    assert api.client.patch("/users/me", params=query, json={"name": "Eve"}, headers=person.headers).status_code == 422
    response = api.client.get("/users/me", headers=person.headers)
    assert (response.json()["id"], response.json()["role"]) == (person.id, "user")
