"""Erasure: no data of the person is left in any table, and none comes back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from data_api.crud.people import sign_in_failure
from data_api.crud.people.sign_in_failure import SlowDown
from data_api.crud.privacy import erasure as crud
from data_api.crud.privacy.erasure import Tombstone
from data_api.errors import DatabaseUnavailable, SetupFailed
from data_api.http.context import Context
from data_api.ids import floor, new_id
from data_api.main import create_app
from data_api.maintenance import erasure, statistics, tombstone_file
from data_api.models.people.invitation import Invitation
from data_api.settings import Settings
from tests.data.api import PASSWORD, ApiClient, SignedInUser, feedback, prediction

SECRET = "my dog is called Zwiebel"


@pytest.fixture(autouse=True)
def no_instances(as_owner: Engine) -> Iterator[None]:
    """Deletes the instances of other tests, so that they are not awaited."""

    def delete_instances() -> None:
        with as_owner.begin() as connection:
            connection.execute(text("DELETE FROM replicas"))

    delete_instances()
    yield
    delete_instances()


@pytest.fixture
def person(api: ApiClient) -> SignedInUser:
    return api.person()


def rows_that_hold(engine: Engine, texts: list[str]) -> list[str]:
    """Tables that contain one of the texts, in any column."""
    found = []
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            for value in texts:
                query = f"SELECT count(*) FROM {table} AS t WHERE t::text ILIKE :value"
                if connection.scalar(text(query), {"value": f"%{value}%"}):
                    found.append(f"{table}: {value}")
    return found


def erase(api: ApiClient, person: SignedInUser, by: SignedInUser | None = None) -> dict[str, Any]:
    body = {"password": PASSWORD} if by is person else None
    path = f"/users/{person.id}/data"
    response = api.client.request("DELETE", path, json=body, headers=(by or api.admin).headers)
    assert response.status_code == 202, response.text
    found: dict[str, Any] = response.json()
    return found


def get_erasure(api: ApiClient, requested: dict[str, Any]) -> dict[str, Any]:
    response = api.client.get(f"/erasures/{requested['id']}", headers=api.admin.headers)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def report(api: ApiClient, requested: dict[str, Any], replica: str = "r1", **removed: int) -> None:
    body = {"replica": replica, "removed": removed}
    response = api.client.post(f"/erasures/{requested['id']}/parts", json=body, headers=api.service)
    assert response.status_code == 204, response.text


def test_nothing_of_an_erased_person_is_left_in_any_table(
    api: ApiClient, as_owner: Engine, person: SignedInUser, task: str
) -> None:
    trainer = api.person("trainer")
    mine, corrected = prediction(task, person.id, row={"text": SECRET}), prediction(task, person.id)
    corrected["row"] = {"text": f"{SECRET} again"}
    others = prediction(task, trainer.id)
    assert api.statuses("/predictions", mine, corrected, others) == ["stored"] * 3
    assert api.statuses(
        "/feedback",
        feedback(mine, person.id, comment=f"it is about {SECRET}"),
        feedback(corrected, trainer.id, comment="a dog"),
        feedback(others, trainer.id),
    ) == ["stored"] * 3  # fmt: skip
    api.key(person, "read")
    api.client.patch(f"/users/{person.id}", json={"role": "trainer"}, headers=api.admin.headers)
    texts = [person.email, SECRET]
    assert {found.split(":")[0] for found in rows_that_hold(as_owner, texts)} >= {"users", "feedback", "examples"}

    requested = erase(api, person)
    assert (requested["status"], requested["user_id"], requested["requested_by"]) == (
        "requested",
        person.id,
        api.admin.id,
    )
    assert requested["awaited"] == ["data-api", "ai-api"]
    assert erasure.run_pending(as_owner) >= 1

    assert rows_that_hold(as_owner, texts) == []
    remaining = rows_that_hold(as_owner, [person.id])  # the tombstone, the history, and that tokens are refused
    allowed = ("erasures", "deleted_users", "audit", "audit_details")
    assert set(remaining) <= {f"{table}: {person.id}" for table in allowed}
    assert [value["label"] for value in api.corrections(task)] == ["negative"], "other people's rows stay"
    after = get_erasure(api, requested)
    assert after["status"] == "awaiting"
    assert after["awaited"] == ["ai-api"]
    removed = after["removed"]["data-api"]
    assert (removed["predictions"], removed["feedback"], removed["examples"], removed["account"]) == (2, 2, 2, 1)
    assert removed["audit_details"] > 0


def test_access_ends_with_the_request(api: ApiClient, person: SignedInUser) -> None:
    _, key = api.key(person, "read")
    erase(api, person)
    assert api.client.get("/users/me", headers=person.headers).status_code == 401
    assert api.client.get("/users/me", headers={"X-API-Key": key}).status_code == 401
    form = {"username": person.email, "password": PASSWORD}
    assert api.client.post("/auth/token", data=form).status_code == 401
    refresh = api.client.post("/auth/refresh", json={"refresh_token": person.refresh})
    assert refresh.status_code == 401


def test_an_erasure_is_finished_when_every_present_instance_has_reported(
    api: ApiClient, as_owner: Engine, person: SignedInUser
) -> None:
    for replica in ("r1", "r2"):
        snapshot = api.client.get("/auth/snapshot", params={"replica": replica}, headers=api.service)
        assert snapshot.status_code == 200
    requested = erase(api, person)
    named = api.client.get("/auth/snapshot", headers=api.service).json()["erasures"]
    assert {"id": requested["id"], "user_id": person.id} in named

    report(api, requested, "r1", outbox=2, pictures=1)
    report(api, requested, "r1", outbox=1)
    erasure.run_pending(as_owner)
    assert get_erasure(api, requested)["awaited"] == ["ai-api r2"]
    report(api, requested, "r2", outbox=0)
    erasure.run_pending(as_owner)
    after = get_erasure(api, requested)
    assert (after["status"], after["awaited"]) == ("finished", [])
    assert after["finished_at"]
    assert after["removed"]["ai-api r1"] == {"outbox": 3, "pictures": 1}


def test_an_instance_that_was_reported_as_ended_is_not_awaited(
    api: ApiClient, as_owner: Engine, person: SignedInUser
) -> None:
    for replica in ("ended", "running"):
        api.client.get("/auth/snapshot", params={"replica": replica}, headers=api.service)
    requested = erase(api, person)
    report(api, requested, "running")
    erasure.run_pending(as_owner)
    assert "ai-api ended" in get_erasure(api, requested)["awaited"]
    for _ in range(2):
        assert api.client.delete("/replicas/ended", headers=api.service).status_code == 204
    assert "ai-api ended" not in get_erasure(api, requested)["awaited"]


def test_late_rows_of_an_erased_person_are_stored_without_them(
    api: ApiClient, as_owner: Engine, person: SignedInUser, task: str
) -> None:
    trainer = api.person("trainer")
    erase(api, person)
    late = prediction(task, person.id, row={"text": SECRET})
    assert api.statuses("/predictions", late, prediction(task, trainer.id)) == ["stored", "stored"]
    results = api.send("/feedback", feedback(late, person.id, comment=SECRET), feedback(late, trainer.id))
    assert [result["status"] for result in results] == ["refused", "stored"]
    assert results[0]["reason"] == "Its user was erased."

    stored = api.client.get(f"/predictions/{late['id']}", headers=api.service).json()
    assert (stored["user_id"], stored["row"], stored["request_id"]) == (None, {}, None)
    assert stored["answer"]["label"] == "positive"
    assert [value["reason"] for value in stored["feedback"]] == ["The prediction's row was erased."]
    assert api.corrections(task) == []
    assert rows_that_hold(as_owner, [SECRET]) == []


def test_people_can_erase_only_themselves(api: ApiClient, person: SignedInUser) -> None:
    trainer = api.person("trainer")
    path = f"/users/{person.id}/data"
    assert api.client.delete(path, headers=trainer.headers).status_code == 403
    _, key = api.key(person, "read")
    assert api.client.delete(path, headers={"X-API-Key": key}).status_code == 403, "an API key is not enough"
    requested = erase(api, person, by=person)
    assert requested["requested_by"] == person.id


@pytest.mark.parametrize("role", ["user", "admin"])
def test_people_who_erase_themselves_give_their_password_again(api: ApiClient, role: str) -> None:
    person = api.person(role)

    def ask(body: object = None) -> tuple[int, str]:
        response = api.client.request("DELETE", f"/users/{person.id}/data", json=body, headers=person.headers)
        return response.status_code, response.json().get("error", "")

    assert [ask(), ask({}), ask({"password": None})] == [(422, "InvalidRequest")] * 3
    assert ask({"password": "wrong"}) == (403, "WrongPassword")
    assert api.client.get("/users/me", headers=person.headers).status_code == 200
    assert ask({"password": PASSWORD}) == (202, "")
    assert api.client.get("/users/me", headers=person.headers).status_code == 401


def test_wrong_passwords_for_an_erasure_are_counted(
    prepared: Settings, person: SignedInUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(prepared)
    context: Context = app.state.context
    strict = replace(context.lockout, source=SlowDown(2, timedelta(hours=1)))
    monkeypatch.setattr(sign_in_failure, "SHORTEST_WAIT", timedelta(hours=1))
    app.state.context = replace(context, lockout=strict)
    client = TestClient(app)
    guesses = [
        client.request("DELETE", f"/users/{person.id}/data", json={"password": guess}, headers=person.headers)
        for guess in ("one", "two", PASSWORD)
    ]
    context.database.close()
    assert [response.status_code for response in guesses] == [403, 403, 429]


def values_in_statistics(engine: Engine, *values: str) -> list[str]:
    """Columns whose statistics hold one of the values."""
    query = text(
        "SELECT tablename || '.' || attname FROM pg_stats WHERE schemaname = 'public' AND"
        " concat(most_common_vals::text, histogram_bounds::text, most_common_elems::text) LIKE ANY(:values)"
    )
    with engine.connect() as connection:
        return sorted(connection.scalars(query, {"values": [f"%{value}%" for value in values]}))


def test_a_finished_erasure_leaves_no_value_in_the_statistics_of_postgres(
    api: ApiClient, as_owner: Engine, person: SignedInUser, task: str
) -> None:
    """Also of a table that is empty afterwards, whose statistics ANALYZE keeps."""
    with Session(as_owner) as session, session.begin():
        session.execute(text("DELETE FROM invitations"))
        hashed, until = str(new_id()), datetime(2100, 1, 1, tzinfo=UTC)
        for _ in range(2):
            hashed = str(new_id())
            session.add(Invitation(id=new_id(), hash=hashed, email=person.email, role="user", expires_at=until))
    for _ in range(100):  # so that the e-mail is frequent
        api.client.patch(f"/users/{person.id}", json={"email": person.email}, headers=api.admin.headers)
    mine = [prediction(task, person.id, row={"text": SECRET}) for _ in range(20)]
    api.send("/predictions", *mine, *(prediction(task, api.admin.id, row={"text": "other"}) for _ in range(20)))
    api.send("/feedback", *(feedback(one, person.id, comment=SECRET) for one in mine))
    with as_owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ALTER TABLE users ALTER email SET STATISTICS 10000"))
        connection.execute(text("ANALYZE"))
    held = values_in_statistics(as_owner, person.email, SECRET)
    assert {"users.email", "invitations.email", "feedback.comment"} <= set(held)
    requested = erase(api, person)
    report(api, requested)
    erasure.run_pending(as_owner)
    assert get_erasure(api, requested)["status"] == "finished"
    assert values_in_statistics(as_owner, person.email, SECRET) == []


def test_statistics_of_a_partition_that_is_empty_afterwards_are_dropped(
    api: ApiClient, as_owner: Engine, person: SignedInUser, task: str
) -> None:
    coming = datetime.now(UTC) + timedelta(days=70)
    key = floor(coming)
    stored = text(
        "INSERT INTO predictions (id, created_at, task, version, row, row_schema, answer, role, user_id)"
        " SELECT overlay(:key PLACING lpad(n::text, 12, '0') FROM 25)::uuid, :at, :task, 1, :row, 1, '{}', 'champion',"
        " :user FROM generate_series(1, 50) AS n"
    )
    values = {"key": str(key), "at": coming, "task": task, "row": json.dumps({"text": SECRET}), "user": person.id}
    partition = f"predictions_{coming:%Y_%m}"
    with as_owner.begin() as connection:
        connection.execute(stored, values)
        assert connection.scalar(text(f"SELECT count(*) FROM {partition}")) == 50, "of nobody else"
    with as_owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE predictions"))
    assert f"{partition}.row" in values_in_statistics(as_owner, SECRET)
    requested = erase(api, person)
    report(api, requested)
    erasure.run_pending(as_owner)
    assert get_erasure(api, requested)["status"] == "finished"
    assert values_in_statistics(as_owner, SECRET) == []
    assert not [name for name in values_in_statistics(as_owner, person.id) if name.startswith(partition)]
    with as_owner.begin() as connection:
        connection.execute(stored, {**values, "user": None})
        assert connection.scalar(text(f"SELECT count(*) FROM {partition}")) == 50, "it is attached again"
        connection.execute(text(f"DELETE FROM {partition}"))


def test_an_erasure_is_not_finished_while_the_statistics_cannot_be_renewed(
    api: ApiClient, as_owner: Engine, person: SignedInUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("VACUUM", {}, Exception("lock timeout"))

    requested = erase(api, person)
    report(api, requested)
    with monkeypatch.context() as patch:
        patch.setattr(statistics, "renew", fail)
        with pytest.raises(DatabaseUnavailable):
            erasure.run_pending(as_owner)
    assert get_erasure(api, requested)["status"] == "awaiting"
    erasure.run_pending(as_owner)
    assert get_erasure(api, requested)["status"] == "finished"


def test_an_admin_removes_an_instance_that_is_gone(api: ApiClient, as_owner: Engine, person: SignedInUser) -> None:
    for replica in ("gone", "running"):
        api.client.get("/auth/snapshot", params={"replica": replica}, headers=api.service)
    requested = erase(api, person)
    report(api, requested, "running")
    erasure.run_pending(as_owner)
    assert get_erasure(api, requested)["awaited"] == ["ai-api gone"]
    assert api.client.delete("/replicas/gone", headers=person.headers).status_code == 401
    assert api.client.delete("/replicas/gone", headers=api.person("trainer").headers).status_code == 403
    assert api.client.delete("/replicas/gone", headers=api.admin.headers).status_code == 204
    erasure.run_pending(as_owner)
    assert get_erasure(api, requested)["status"] == "finished"


def test_an_erasure_waits_an_hour_for_a_first_instance(api: ApiClient, as_owner: Engine, person: SignedInUser) -> None:
    requested = erase(api, person)
    erasure.run_pending(as_owner)
    assert get_erasure(api, requested)["awaited"] == ["ai-api"]
    with as_owner.begin() as connection:
        past = text("UPDATE erasures SET erased_at = erased_at - interval '61 minutes' WHERE id = :id")
        connection.execute(past, {"id": requested["id"]})
    erasure.run_pending(as_owner)
    assert get_erasure(api, requested)["status"] == "finished"


def test_a_second_request_for_erasure_returns_the_first(api: ApiClient, person: SignedInUser) -> None:
    assert erase(api, person)["id"] == erase(api, person)["id"]


def test_an_unknown_person_cannot_be_erased(api: ApiClient) -> None:
    response = api.client.delete(f"/users/{uuid4()}/data", headers=api.admin.headers)
    assert (response.status_code, response.json()["error"]) == (404, "UnknownUser")
    response = api.client.get(f"/erasures/{new_id()}", headers=api.admin.headers)
    assert (response.status_code, response.json()["error"]) == (404, "UnknownErasure")


def test_a_deleted_user_is_erased_with_all_remaining_data(
    api: ApiClient, as_owner: Engine, person: SignedInUser, task: str
) -> None:
    assert api.statuses("/predictions", prediction(task, person.id, row={"text": SECRET})) == ["stored"]
    api.client.delete(f"/users/{person.id}", headers=api.admin.headers)
    erase(api, person)
    erasure.run_pending(as_owner)
    assert rows_that_hold(as_owner, [person.email, SECRET]) == []


def test_an_interrupted_erasure_is_completed_by_the_next_run(
    api: ApiClient, as_owner: Engine, person: SignedInUser, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "BATCH", 2)
    api.send("/predictions", *(prediction(task, person.id, row={"text": SECRET}) for _ in range(7)))
    requested = erase(api, person)
    some, rounds = crud.erase_some, iter(range(2))

    def die(session: Session, erasure_id: UUID, most: int) -> bool:
        if next(rounds, None) is None:
            raise KeyboardInterrupt
        return some(session, erasure_id, most)

    monkeypatch.setattr(crud, "erase_some", die)
    with pytest.raises(KeyboardInterrupt):
        erasure.run_pending(as_owner)
    assert get_erasure(api, requested)["removed"]["data-api"]["predictions"] == 4
    monkeypatch.setattr(crud, "erase_some", some)
    erasure.run_pending(as_owner)
    assert get_erasure(api, requested)["removed"]["data-api"]["predictions"] == 7


def test_tombstones_are_in_the_file_before_an_erasure_is_finished(
    api: ApiClient, as_owner: Engine, person: SignedInUser, tmp_path: Path
) -> None:
    requested = erase(api, person)
    report(api, requested, outbox=0)
    (tmp_path / "full").touch()
    erasure.run_pending(as_owner, tmp_path / "full" / "erased.jsonl")
    assert (get_erasure(api, requested)["status"], get_erasure(api, requested)["awaited"]) == ("awaiting", ["data-api"])
    file = tmp_path / "erased.jsonl"
    erasure.run_pending(as_owner, file)
    assert get_erasure(api, requested)["status"] == "finished"
    assert requested["id"] in [json.loads(line)["id"] for line in file.read_text().splitlines()]


def test_a_restored_database_erases_the_people_in_the_tombstone_file_again(
    api: ApiClient, as_owner: Engine, person: SignedInUser, task: str, tmp_path: Path
) -> None:
    file = tmp_path / "erased.jsonl"
    api.send("/predictions", prediction(task, person.id, row={"text": SECRET}))
    gone = Tombstone(new_id(), UUID(person.id), datetime(2026, 11, 1, tzinfo=UTC))
    before = os.umask(0o077)  # as `make dev` has it
    tombstone_file.add(file, [gone])
    os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o644  # containers read it as another user
    assert erasure.replay(as_owner, file) == 1
    assert rows_that_hold(as_owner, [person.email, SECRET]) == []
    assert get_erasure(api, {"id": gone.id})["requested_by"] is None
    assert erasure.replay(as_owner, file) == 0, "the next start erases no one"

    with as_owner.begin() as connection:  # what a backup of before the erasure brings back of a person known as erased
        values = {"id": person.id, "email": person.email}
        connection.execute(text("INSERT INTO users (id, email, role) VALUES (:id, :email, 'user')"), values)
    assert erasure.replay(as_owner, file, repeat=True) >= 1
    assert rows_that_hold(as_owner, [person.email]) == []


def test_a_damaged_tombstone_file_is_an_error_and_not_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "erased.jsonl"
    assert tombstone_file.read(file) == []
    for damaged in ("{", '{"id": "x"}', "[]"):
        file.write_text(damaged)
        with pytest.raises(SetupFailed):
            tombstone_file.read(file)


def test_erasure_deletes_pending_invitations_and_their_audit_values(
    api: ApiClient, as_owner: Engine, person: SignedInUser
) -> None:
    email = person.email
    with Session(as_owner) as session, session.begin():
        hashed, until = str(new_id()), datetime(2100, 1, 1, tzinfo=UTC)
        session.add(Invitation(id=new_id(), hash=hashed, email=email, role="user", expires_at=until))
    erase(api, person)
    erasure.run_pending(as_owner)
    assert rows_that_hold(as_owner, [email]) == []


def test_the_service_role_can_neither_delete_a_tombstone_nor_finish_an_erasure(as_app: Engine) -> None:
    for statement in (
        "DELETE FROM erasures",
        "UPDATE erasures SET user_id = gen_random_uuid()",
        "UPDATE erasures SET status = 'finished'",
    ):
        with as_app.connect() as connection, pytest.raises(Exception, match="permission denied"):
            connection.execute(text(statement))


def test_the_last_admin_cannot_be_erased(app: FastAPI, api: ApiClient, as_owner: Engine) -> None:
    with as_owner.begin() as connection:
        others = connection.execute(
            text("UPDATE users SET disabled = true WHERE role = 'admin' AND id <> :id AND NOT disabled RETURNING id"),
            {"id": api.admin.id},
        ).scalars().all()  # fmt: skip
    try:
        body = {"password": api.secret("admin_password")}
        path = f"/users/{api.admin.id}/data"
        response = TestClient(app).request("DELETE", path, json=body, headers=api.admin.headers)
        assert (response.status_code, response.json()["error"]) == (409, "LastAdmin")
    finally:
        with as_owner.begin() as connection:
            connection.execute(text("UPDATE users SET disabled = false WHERE id = ANY(:ids)"), {"ids": list(others)})
