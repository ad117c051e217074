"""Erasure: nothing of the person is left in any table, and nothing of them comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, inspect, text
from sqlalchemy.orm import Session

from data_api.crud.privacy import erasure as crud
from data_api.crud.privacy.erasure import Tombstone
from data_api.errors import SetupFailed
from data_api.ids import new_id
from data_api.maintenance import erasure, tombstone_file
from data_api.models.people.invitation import Invitation
from tests.data.world import PASSWORD, Somebody, World, feedback, prediction

SECRET = "the neighbours dog is called Zwiebel"


@pytest.fixture(autouse=True)
def no_replicas(as_owner: Engine) -> Iterator[None]:
    """No ai-api of another test is waited for."""

    def forget() -> None:
        with as_owner.begin() as connection:
            connection.execute(text("DELETE FROM replicas"))

    forget()
    yield
    forget()


@pytest.fixture
def somebody(world: World) -> Somebody:
    return world.person()


def rows_that_hold(engine: Engine, words: list[str]) -> list[str]:
    """Tables in which one of the words stands, in whatever column."""
    found = []
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            for word in words:
                query = f"SELECT count(*) FROM {table} AS t WHERE t::text ILIKE :word"
                if connection.scalar(text(query), {"word": f"%{word}%"}):
                    found.append(f"{table}: {word}")
    return found


def erase(world: World, somebody: Somebody, by: Somebody | None = None) -> dict[str, Any]:
    answer = world.client.delete(f"/users/{somebody.id}/data", headers=(by or world.admin).headers)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def look(world: World, asked: dict[str, Any]) -> dict[str, Any]:
    answer = world.client.get(f"/erasures/{asked['id']}", headers=world.admin.headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def report(world: World, asked: dict[str, Any], replica: str = "r1", **removed: int) -> None:
    body = {"replica": replica, "removed": removed}
    answer = world.client.post(f"/erasures/{asked['id']}/parts", json=body, headers=world.service)
    assert answer.status_code == 204, answer.text


def test_nothing_of_an_erased_person_is_left_in_any_table(
    world: World, as_owner: Engine, somebody: Somebody, task: str
) -> None:
    trainer = world.person("trainer")
    mine, corrected = prediction(task, somebody.id, row={"text": SECRET}), prediction(task, somebody.id)
    corrected["row"] = {"text": f"{SECRET} again"}
    others = prediction(task, trainer.id)
    assert world.statuses("/predictions", mine, corrected, others) == ["stored"] * 3
    assert world.statuses(
        "/feedback",
        feedback(mine, somebody.id, comment=f"it is about {SECRET}"),
        feedback(corrected, trainer.id, comment="a dog"),
        feedback(others, trainer.id),
    ) == ["stored"] * 3  # fmt: skip
    world.key(somebody, "read")
    world.client.patch(f"/users/{somebody.id}", json={"role": "trainer"}, headers=world.admin.headers)
    words = [somebody.email, SECRET]
    assert {found.split(":")[0] for found in rows_that_hold(as_owner, words)} >= {"users", "feedback", "examples"}

    asked = erase(world, somebody)
    assert (asked["status"], asked["user_id"], asked["requested_by"]) == ("requested", somebody.id, world.admin.id)
    assert asked["awaited"] == ["data-api", "ai-api"]
    assert erasure.run_pending(as_owner) >= 1

    assert rows_that_hold(as_owner, words) == []
    held = rows_that_hold(as_owner, [somebody.id])  # the tombstone, the history, and that tokens are refused
    assert set(held) <= {f"{table}: {somebody.id}" for table in ("erasures", "deleted_users", "audit", "audit_details")}
    assert [word["label"] for word in world.corrections(task)] == ["negative"], "what others asked stays"
    after = look(world, asked)
    assert after["status"] == "awaiting"
    assert after["awaited"] == ["ai-api"]
    removed = after["removed"]["data-api"]
    assert (removed["predictions"], removed["feedback"], removed["examples"], removed["account"]) == (2, 2, 2, 1)
    assert removed["audit_details"] > 0


def test_access_ends_with_the_request(world: World, somebody: Somebody) -> None:
    _, key = world.key(somebody, "read")
    erase(world, somebody)
    assert world.client.get("/users/me", headers=somebody.headers).status_code == 401
    assert world.client.get("/users/me", headers={"X-API-Key": key}).status_code == 401
    form = {"username": somebody.email, "password": PASSWORD}
    assert world.client.post("/auth/token", data=form).status_code == 401
    refresh = world.client.post("/auth/refresh", json={"refresh_token": somebody.refresh})
    assert refresh.status_code == 401


def test_it_is_finished_when_every_replica_that_is_there_has_reported(
    world: World, as_owner: Engine, somebody: Somebody
) -> None:
    for replica in ("r1", "r2"):
        snapshot = world.client.get("/auth/snapshot", params={"replica": replica}, headers=world.service)
        assert snapshot.status_code == 200
    asked = erase(world, somebody)
    named = world.client.get("/auth/snapshot", headers=world.service).json()["erasures"]
    assert {"id": asked["id"], "user_id": somebody.id} in named

    report(world, asked, "r1", outbox=2, pictures=1)
    report(world, asked, "r1", outbox=1)
    erasure.run_pending(as_owner)
    assert look(world, asked)["awaited"] == ["ai-api r2"]
    report(world, asked, "r2", outbox=0)
    erasure.run_pending(as_owner)
    after = look(world, asked)
    assert (after["status"], after["awaited"]) == ("finished", [])
    assert after["finished_at"]
    assert after["removed"]["ai-api r1"] == {"outbox": 3, "pictures": 1}


def test_nobody_waits_for_a_replica_of_which_another_says_that_it_ended(
    world: World, as_owner: Engine, somebody: Somebody
) -> None:
    for replica in ("ended", "alive"):
        world.client.get("/auth/snapshot", params={"replica": replica}, headers=world.service)
    asked = erase(world, somebody)
    report(world, asked, "alive")
    erasure.run_pending(as_owner)
    assert "ai-api ended" in look(world, asked)["awaited"]
    for _ in range(2):
        assert world.client.delete("/replicas/ended", headers=world.service).status_code == 204
    assert "ai-api ended" not in look(world, asked)["awaited"]


def test_rows_that_arrive_late_are_kept_without_their_person(
    world: World, as_owner: Engine, somebody: Somebody, task: str
) -> None:
    trainer = world.person("trainer")
    erase(world, somebody)
    late = prediction(task, somebody.id, row={"text": SECRET})
    assert world.statuses("/predictions", late, prediction(task, trainer.id)) == ["stored", "stored"]
    results = world.send("/feedback", feedback(late, somebody.id, comment=SECRET), feedback(late, trainer.id))
    assert [result["status"] for result in results] == ["refused", "stored"]
    assert results[0]["reason"] == "Its user was erased."

    kept = world.client.get(f"/predictions/{late['id']}", headers=world.service).json()
    assert (kept["user_id"], kept["row"], kept["request_id"]) == (None, {}, None)
    assert kept["answer"]["label"] == "positive"
    assert [word["reason"] for word in kept["feedback"]] == ["The prediction's row was erased."]
    assert world.corrections(task) == []
    assert rows_that_hold(as_owner, [SECRET]) == []


def test_people_erase_themselves_and_nobody_else(world: World, somebody: Somebody) -> None:
    neighbour = world.person("trainer")
    path = f"/users/{somebody.id}/data"
    assert world.client.delete(path, headers=neighbour.headers).status_code == 403
    _, key = world.key(somebody, "read")
    assert world.client.delete(path, headers={"X-API-Key": key}).status_code == 403, "a key does not open this call"
    asked = erase(world, somebody, by=somebody)
    assert asked["requested_by"] == somebody.id


def test_a_second_request_is_the_first_one(world: World, somebody: Somebody) -> None:
    assert erase(world, somebody)["id"] == erase(world, somebody)["id"]


def test_somebody_whom_nobody_knows_cannot_be_erased(world: World) -> None:
    answer = world.client.delete(f"/users/{uuid4()}/data", headers=world.admin.headers)
    assert (answer.status_code, answer.json()["error"]) == (404, "UnknownUser")
    answer = world.client.get(f"/erasures/{new_id()}", headers=world.admin.headers)
    assert (answer.status_code, answer.json()["error"]) == (404, "UnknownErasure")


def test_somebody_who_was_deleted_before_is_erased_with_all_that_stayed(
    world: World, as_owner: Engine, somebody: Somebody, task: str
) -> None:
    assert world.statuses("/predictions", prediction(task, somebody.id, row={"text": SECRET})) == ["stored"]
    world.client.delete(f"/users/{somebody.id}", headers=world.admin.headers)
    erase(world, somebody)
    erasure.run_pending(as_owner)
    assert rows_that_hold(as_owner, [somebody.email, SECRET]) == []


def test_what_died_midway_is_finished_by_the_next_run(
    world: World, as_owner: Engine, somebody: Somebody, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "BATCH", 2)
    world.send("/predictions", *(prediction(task, somebody.id, row={"text": SECRET}) for _ in range(7)))
    asked = erase(world, somebody)
    some, rounds = crud.erase_some, iter(range(2))

    def die(session: Session, erasure_id: UUID, most: int) -> bool:
        if next(rounds, None) is None:
            raise KeyboardInterrupt
        return some(session, erasure_id, most)

    monkeypatch.setattr(crud, "erase_some", die)
    with pytest.raises(KeyboardInterrupt):
        erasure.run_pending(as_owner)
    assert look(world, asked)["removed"]["data-api"]["predictions"] == 4
    monkeypatch.setattr(crud, "erase_some", some)
    erasure.run_pending(as_owner)
    assert look(world, asked)["removed"]["data-api"]["predictions"] == 7


def test_tombstones_stand_in_a_file_before_an_erasure_is_finished(
    world: World, as_owner: Engine, somebody: Somebody, tmp_path: Path
) -> None:
    asked = erase(world, somebody)
    report(world, asked, outbox=0)
    (tmp_path / "full").touch()
    erasure.run_pending(as_owner, tmp_path / "full" / "erased.jsonl")
    assert (look(world, asked)["status"], look(world, asked)["awaited"]) == ("awaiting", ["data-api"])
    file = tmp_path / "erased.jsonl"
    erasure.run_pending(as_owner, file)
    assert look(world, asked)["status"] == "finished"
    assert asked["id"] in [json.loads(line)["id"] for line in file.read_text().splitlines()]


def test_a_restored_database_erases_again_whom_only_the_file_still_knows(
    world: World, as_owner: Engine, somebody: Somebody, task: str, tmp_path: Path
) -> None:
    file = tmp_path / "erased.jsonl"
    world.send("/predictions", prediction(task, somebody.id, row={"text": SECRET}))
    gone = Tombstone(new_id(), UUID(somebody.id), datetime(2026, 11, 1, tzinfo=UTC))
    tombstone_file.add(file, [gone])
    assert erasure.replay(as_owner, file) == 1
    assert rows_that_hold(as_owner, [somebody.email, SECRET]) == []
    assert look(world, {"id": gone.id})["requested_by"] is None
    assert erasure.replay(as_owner, file) == 0, "a start after that has nothing to do"

    with as_owner.begin() as connection:  # what a backup of before the erasure brings back of a person known as erased
        values = {"id": somebody.id, "email": somebody.email}
        connection.execute(text("INSERT INTO users (id, email, role) VALUES (:id, :email, 'user')"), values)
    assert erasure.replay(as_owner, file, repeat=True) >= 1
    assert rows_that_hold(as_owner, [somebody.email]) == []


def test_a_file_that_is_no_file_of_tombstones_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    file = tmp_path / "erased.jsonl"
    assert tombstone_file.read(file) == []
    for damaged in ("{", '{"id": "x"}', "[]"):
        file.write_text(damaged)
        with pytest.raises(SetupFailed):
            tombstone_file.read(file)


def test_a_pending_invitation_goes_with_the_person_and_so_does_its_history(
    world: World, as_owner: Engine, somebody: Somebody
) -> None:
    email = somebody.email
    with Session(as_owner) as session, session.begin():
        hashed, until = str(new_id()), datetime(2100, 1, 1, tzinfo=UTC)
        session.add(Invitation(id=new_id(), hash=hashed, email=email, role="user", expires_at=until))
    erase(world, somebody)
    erasure.run_pending(as_owner)
    assert rows_that_hold(as_owner, [email]) == []


def test_a_service_may_neither_take_a_tombstone_down_nor_close_an_erasure(as_app: Engine) -> None:
    for statement in (
        "DELETE FROM erasures",
        "UPDATE erasures SET user_id = gen_random_uuid()",
        "UPDATE erasures SET status = 'finished'",
    ):
        with as_app.connect() as connection, pytest.raises(Exception, match="permission denied"):
            connection.execute(text(statement))


def test_the_last_admin_cannot_be_erased(app: FastAPI, world: World, as_owner: Engine) -> None:
    with as_owner.begin() as connection:
        others = connection.execute(
            text("UPDATE users SET disabled = true WHERE role = 'admin' AND id <> :id AND NOT disabled RETURNING id"),
            {"id": world.admin.id},
        ).scalars().all()  # fmt: skip
    try:
        answer = TestClient(app).delete(f"/users/{world.admin.id}/data", headers=world.admin.headers)
        assert (answer.status_code, answer.json()["error"]) == (409, "LastAdmin")
    finally:
        with as_owner.begin() as connection:
            connection.execute(text("UPDATE users SET disabled = false WHERE id = ANY(:ids)"), {"ids": list(others)})
