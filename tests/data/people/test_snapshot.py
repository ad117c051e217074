"""The snapshot for ai-api."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from tests.data.api import ApiClient, key_hash, snapshot, status


def test_the_snapshot_holds_valid_keys_only(api: ApiClient) -> None:
    person = api.person("trainer")
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    key_id, live = api.key(person, "predict", "train", expires_at=soon)
    revoked_id, revoked = api.key(person)
    api.client.delete(f"/api-keys/{revoked_id}", headers=person.headers)
    entries = {entry["hash"]: entry for entry in snapshot(api)["keys"]}
    assert key_hash(revoked) not in entries
    entry = entries[key_hash(live)]
    assert datetime.fromisoformat(entry.pop("expires_at")) == datetime.fromisoformat(soon)
    assert sorted(entry.pop("scopes")) == ["predict", "train"]
    assert entry == {"hash": key_hash(live), "key_id": key_id, "user_id": person.id, "role": "trainer"}
    assert key_hash(api.demo["X-API-Key"]) in entries
    assert snapshot(api)["jwks"] == api.client.get("/.well-known/jwks.json").json()
    assert abs(datetime.fromisoformat(snapshot(api)["generated_at"]).timestamp() - time.time()) < 5


def test_an_expired_key_is_refused(api: ApiClient, as_app: Engine) -> None:
    person = api.person()
    key_id, key = api.key(person)
    assert status(api, {"X-API-Key": key}) == 200
    with as_app.begin() as connection:
        connection.execute(
            text("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id"), {"id": UUID(key_id)}
        )
    assert status(api, {"X-API-Key": key}) == 401
    assert key_hash(key) not in {entry["hash"] for entry in snapshot(api)["keys"]}


def test_a_known_snapshot_is_not_sent_again_until_something_changes(api: ApiClient) -> None:
    person = api.person()
    key_id, _ = api.key(person)

    def ask(known: str = "") -> Any:
        return api.client.get("/auth/snapshot", headers={**api.service, "If-None-Match": known})

    first = ask()
    assert first.status_code == 200
    known = ask(first.headers["etag"])
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", first.headers["etag"])
    revision = first.headers["etag"]
    by_admin = api.admin.headers
    for method, path, body, headers in (
        ("DELETE", f"/api-keys/{key_id}", None, person.headers),
        ("POST", "/auth/logout-everywhere", None, person.headers),
        ("PATCH", f"/users/{person.id}", {"disabled": True}, by_admin),
        ("DELETE", f"/users/{person.id}/data", None, by_admin),
    ):
        assert api.client.request(method, path, json=body, headers=headers).status_code < 300
        changed = ask(revision)
        assert changed.status_code == 200
        revision = changed.headers["etag"]
