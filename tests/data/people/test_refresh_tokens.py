"""Refresh tokens: exchanged once, revoked as a family, stored as hashes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, text

from tests.data.api import PASSWORD, ApiClient, bearer, refresh, status


def test_a_refresh_token_is_exchanged_once_and_a_replay_revokes_the_family(api: ApiClient) -> None:
    person = api.person()
    apart = api.sign_in(person.email, PASSWORD)
    second = refresh(api, person.refresh).json()
    assert status(api, bearer(second["access_token"])) == 200
    third = refresh(api, second["refresh_token"]).json()["refresh_token"]
    replay = refresh(api, person.refresh)
    assert (replay.status_code, replay.json()["error"]) == (401, "TokenReused")
    assert refresh(api, third).json()["error"] == "NotSignedIn"
    assert refresh(api, apart.refresh).status_code == 200


def test_one_of_two_concurrent_refreshes_succeeds(api: ApiClient) -> None:
    person = api.person()
    with ThreadPoolExecutor(4) as threads:
        statuses = [response.status_code for response in threads.map(lambda _: refresh(api, person.refresh), range(4))]
    assert sorted(statuses) == [200, 401, 401, 401]


def test_signing_out_ends_the_refresh_token(api: ApiClient) -> None:
    person = api.person()
    fresh = refresh(api, person.refresh).json()["refresh_token"]
    for _ in range(2):
        response = api.client.post("/auth/logout", json={"refresh_token": fresh})
        assert (response.status_code, response.content) == (204, b"")
    assert refresh(api, fresh).status_code == 401
    assert api.client.post("/auth/logout", json={"refresh_token": "unknown"}).status_code == 204


def test_an_expired_refresh_token_is_refused(api: ApiClient, as_app: Engine) -> None:
    person = api.person()
    with as_app.begin() as connection:
        connection.execute(
            text("UPDATE refresh_tokens SET expires_at = now() - interval '1 second' WHERE user_id = :id"),
            {"id": person.id},
        )
    assert refresh(api, person.refresh).status_code == 401


def test_no_token_and_no_key_is_stored_in_clear(api: ApiClient, as_app: Engine) -> None:
    person = api.person()
    _, key = api.key(person)
    with as_app.connect() as connection:
        rows = [
            *connection.execute(text("SELECT * FROM refresh_tokens WHERE user_id = :id"), {"id": person.id}),
            *connection.execute(text("SELECT * FROM api_keys WHERE user_id = :id"), {"id": person.id}),
            *connection.execute(text("SELECT * FROM users WHERE id = :id"), {"id": person.id}),
        ]
    assert len(rows) == 3
    assert not [secret for secret in (key, person.refresh, person.token, PASSWORD) if secret in str(rows)]
