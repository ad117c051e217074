"""A POST with an Idempotency-Key creates one thing, however often it comes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex

from sqlalchemy import Engine, text

from tests.data.world import PASSWORD, Somebody, World


def new_key(world: World, somebody: Somebody, key: str, name: str = "laptop") -> tuple[int, dict[str, str], bool]:
    headers = {**somebody.headers, "Idempotency-Key": key}
    answer = world.client.post("/api-keys", json={"name": name, "scopes": ["read"]}, headers=headers)
    return answer.status_code, answer.json(), "idempotency-replayed" in answer.headers


def test_the_same_call_is_answered_as_it_was_the_first_time_and_creates_nothing(world: World) -> None:
    somebody, key = world.person(), token_hex()
    status, first, replayed = new_key(world, somebody, key)
    assert (status, replayed) == (201, False)
    assert new_key(world, somebody, key) == (201, first, True)
    assert first["key"].startswith("vk_")
    assert len(world.client.get("/api-keys", headers=somebody.headers).json()["items"]) == 1


def test_many_at_once_create_one(world: World) -> None:
    somebody, key = world.person(), token_hex()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: new_key(world, somebody, key), range(4)))
    assert {status for status, _, _ in answers} == {201}
    assert len({answer["key"] for _, answer, _ in answers}) == 1
    assert sorted(replayed for _, _, replayed in answers) == [False, True, True, True]


def test_another_body_another_caller_and_no_key_are_not_the_same_call(world: World) -> None:
    ann, bob, key = world.person(), world.person(), token_hex()
    _, first, _ = new_key(world, ann, key)
    status, refused, _ = new_key(world, ann, key, name="phone")
    assert (status, refused["error"]) == (409, "KeyReused")
    status, other, replayed = new_key(world, bob, key)
    assert (status, replayed) == (201, False)
    assert other["id"] != first["id"]


def test_a_call_that_failed_may_be_made_again_with_its_key(world: World) -> None:
    headers = {**world.admin.headers, "Idempotency-Key": token_hex()}
    body = {"email": f"{token_hex(8)}@example.org", "password": PASSWORD}
    taken = world.client.post("/users", json=body, headers=world.admin.headers).json()
    assert world.client.post("/users", json=body, headers=headers).status_code == 409
    assert world.client.delete(f"/users/{taken['id']}", headers=world.admin.headers).status_code == 204
    assert world.client.post("/users", json=body, headers=headers).status_code == 201


def test_what_is_kept_of_it_tells_nothing(world: World, as_owner: Engine) -> None:
    somebody, key = world.person(), token_hex()
    _, made, _ = new_key(world, somebody, key)
    with as_owner.connect() as connection:
        kept = str([tuple(bytes(cell) if isinstance(cell, memoryview) else cell for cell in row)
                    for row in connection.execute(text("SELECT * FROM idempotency_keys"))])  # fmt: skip
    assert key not in kept
    assert made["key"] not in kept
    assert made["id"] not in kept


def test_a_key_that_can_be_guessed_is_refused(world: World) -> None:
    assert new_key(world, world.person(), "1")[0] == 422
