"""A POST that is repeated with its Idempotency-Key creates one resource."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex

from sqlalchemy import Engine, text

from tests.data.api import PASSWORD, ApiClient, SignedInUser


def new_key(api: ApiClient, user: SignedInUser, key: str, name: str = "laptop") -> tuple[int, dict[str, str], bool]:
    headers = {**user.headers, "Idempotency-Key": key}
    response = api.client.post("/api-keys", json={"name": name, "scopes": ["read"]}, headers=headers)
    return response.status_code, response.json(), "idempotency-replayed" in response.headers


def test_a_repeated_call_gets_the_first_response_and_creates_nothing(api: ApiClient) -> None:
    user, key = api.person(), token_hex()
    status, first, replayed = new_key(api, user, key)
    assert (status, replayed) == (201, False)
    assert new_key(api, user, key) == (201, first, True)
    assert first["key"].startswith("vk_")
    assert len(api.client.get("/api-keys", headers=user.headers).json()["items"]) == 1


def test_many_concurrent_calls_create_one_resource(api: ApiClient) -> None:
    user, key = api.person(), token_hex()
    with ThreadPoolExecutor(4) as threads:
        responses = list(threads.map(lambda _: new_key(api, user, key), range(4)))
    assert {status for status, _, _ in responses} == {201}
    assert len({response["key"] for _, response, _ in responses}) == 1
    assert sorted(replayed for _, _, replayed in responses) == [False, True, True, True]


def test_another_body_caller_or_missing_key_is_another_call(api: ApiClient) -> None:
    ann, bob, key = api.person(), api.person(), token_hex()
    _, first, _ = new_key(api, ann, key)
    status, refused, _ = new_key(api, ann, key, name="phone")
    assert (status, refused["error"]) == (409, "KeyReused")
    status, other, replayed = new_key(api, bob, key)
    assert (status, replayed) == (201, False)
    assert other["id"] != first["id"]


def test_a_failed_call_can_be_repeated_with_its_key(api: ApiClient) -> None:
    headers = {**api.admin.headers, "Idempotency-Key": token_hex()}
    body = {"email": f"{token_hex(8)}@example.org", "password": PASSWORD}
    taken = api.client.post("/users", json=body, headers=api.admin.headers).json()
    assert api.client.post("/users", json=body, headers=headers).status_code == 409
    assert api.client.delete(f"/users/{taken['id']}", headers=api.admin.headers).status_code == 204
    assert api.client.post("/users", json=body, headers=headers).status_code == 201


def test_the_stored_response_is_encrypted(api: ApiClient, as_owner: Engine) -> None:
    user, key = api.person(), token_hex()
    _, made, _ = new_key(api, user, key)
    with as_owner.connect() as connection:
        stored_text = str([tuple(bytes(cell) if isinstance(cell, memoryview) else cell for cell in row)
                    for row in connection.execute(text("SELECT * FROM idempotency_keys"))])  # fmt: skip
    assert key not in stored_text
    assert made["key"] not in stored_text
    assert made["id"] not in stored_text


def test_a_short_idempotency_key_is_refused(api: ApiClient) -> None:
    assert new_key(api, api.person(), "1")[0] == 422
