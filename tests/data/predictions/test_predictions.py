"""Predictions: stored once each, accepted or refused by themselves, and listed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from data_api.crud import bulk
from data_api.ids import EPOCH, floor, new_id, time_of
from data_api.models.promotions import Promotion
from tests.data.api import ApiClient, feedback, prediction, promotion, regression

SECRET = "xyzzy-secret-input"


def test_a_prediction_is_found_as_it_was_sent(api: ApiClient, task: str) -> None:
    sent = prediction(task)
    assert api.send("/predictions", sent) == [{"status": "stored", "reason": None}]
    found = api.client.get(f"/predictions/{sent['id']}", headers=api.service).json()
    for name in (
        "id",
        "task",
        "version",
        "row",
        "row_schema",
        "answer",
        "user_id",
        "role",
        "rollout",
        "request_id",
        "run_id",
    ):
        assert found[name] == sent[name]
    assert (found["queue_ms"], found["compute_ms"], found["feedback"]) == (0.4, 2.5, [])
    assert found["created_at"] == time_of(UUID(sent["id"])).isoformat()


def test_sending_again_changes_nothing(api: ApiClient, task: str) -> None:
    first, second = prediction(task), regression(task)
    assert api.statuses("/predictions", first, second, first) == ["stored", "stored", "duplicate"]
    changed = {**first, "version": 9}
    assert api.statuses("/predictions", changed, prediction(task), second) == ["duplicate", "stored", "duplicate"]
    assert api.client.get(f"/predictions/{first['id']}", headers=api.service).json()["version"] == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": SECRET}, "id: Input should be a valid UUID"),
        ({"id": str(uuid4())}, "id: must be a UUID of version 7"),
        ({"id": "ffffffff-ffff-7fff-bfff-ffffffffffff"}, "id: must carry a time before the year 10000"),
        ({SECRET: 1}, "has an unknown field"),
        ({"task": ""}, "task: String should have at least 1 character"),
        ({"task": f"{SECRET}\0"}, "task: must not hold NUL characters"),
        ({"version": "3"}, "version: Input should be a valid integer"),
        ({"version": 0}, "version: Input should be greater than or equal to 1"),
        ({"version": 2**31}, "version: Input should be less than or equal to 2147483647"),
        ({"row": [SECRET]}, "row: Input should be a valid dictionary"),
        ({"row": {"text": f"{SECRET}\0"}}, "row: must not hold NUL characters"),
        ({"row": {f"{SECRET}\0": 1}}, "row: must not hold NUL characters"),
        ({"row": {"deep": [{"text": f"{SECRET}\ud800"}]}}, "row: must not hold lone surrogates"),
        ({"answer": {"label": "a"}}, "answer: must hold label, score and probabilities, or value"),
        ({"answer": {"value": "2.1"}}, "answer.value: Input should be a valid number"),
        ({"answer": {"value": True}}, "answer.value: Input should be a valid number"),
        (
            {"answer": {"label": "a", "score": 1.0, "probabilities": {SECRET: SECRET}}},
            "answer.probabilities: Input should be a valid number",
        ),
        ({"answer": {"value": 1.0, SECRET: 2}}, "answer: has an unknown field"),
        ({"user_id": SECRET}, "user_id: Input should be a valid UUID"),
        ({"role": SECRET}, "role: Input should be 'champion', 'pinned', 'canary', 'shadow' or 'replay'"),
        ({"timing": {"queue_ms": -1}}, "timing.queue_ms: Input should be greater than or equal to 0"),
        ({"request_id": SECRET * 9}, "request_id: String should have at most 64 characters"),
    ],
)
def test_a_malformed_row_is_refused_alone_and_not_repeated_in_the_error(
    api: ApiClient, task: str, change: dict[str, Any], reason: str
) -> None:
    before, after = prediction(task), prediction(task)
    results = api.send("/predictions", before, {**prediction(task), **change}, after)
    assert [result["status"] for result in results] == ["stored", "refused", "stored"]
    assert results[1]["reason"] == reason
    assert SECRET not in str(results)


@pytest.mark.parametrize("row", [None, 7, SECRET, [], {}, [[]]])
def test_a_value_that_is_no_row_is_refused(api: ApiClient, task: str, row: object) -> None:
    results = api.send("/predictions", row, prediction(task))
    assert [result["status"] for result in results] == ["refused", "stored"]
    assert SECRET not in str(results)


def test_non_finite_numbers_and_deeply_nested_rows_are_refused(api: ApiClient, task: str) -> None:
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    rows = [prediction(task, row={"x": deep}), prediction(task, row={"x": "INFINITE"}), prediction(task)]
    body = api.client.build_request("POST", "/predictions", json={"rows": rows}).content
    body = body.replace(b'"INFINITE"', b"1e999")
    headers = {**api.service, "Content-Type": "application/json"}
    results = api.client.post("/predictions", content=body, headers=headers).json()["results"]
    assert [result["status"] for result in results] == ["refused", "refused", "stored"]
    assert "deeper than 32" in results[0]["reason"]
    assert "finite" in results[1]["reason"]


def test_a_row_that_only_postgres_refuses_does_not_affect_the_others(as_app: Engine, task: str) -> None:
    def row(**others: object) -> dict[str, object]:
        key = new_id()
        return {**promotion(task), "id": key, "created_at": time_of(key), **others}

    rows = [row(), row(action="explode"), row(reason="a\0b"), row(version=2**40), row()]
    with Session(as_app) as session, session.begin():
        outcomes = bulk.insert(session, Promotion, rows)
    assert [outcome.status for outcome in outcomes] == ["stored", "refused", "refused", "refused", "stored"]
    assert [outcome.reason for outcome in outcomes[1:4]] == [
        bulk.ROW_ERRORS["23"],
        bulk.ROW_ERRORS["22"],
        bulk.ROW_ERRORS["22"],
    ]
    with Session(as_app) as session:
        assert [bulk.insert(session, Promotion, [row]) for row in (rows[0], rows[4])] == [[bulk.DUPLICATE]] * 2


def test_a_thousand_rows_are_accepted_and_one_more_is_refused(api: ApiClient, task: str) -> None:
    rows = [prediction(task) for _ in range(1_000)]
    assert set(api.statuses("/predictions", *rows)) == {"stored"}
    assert set(api.statuses("/predictions", *reversed(rows))) == {"duplicate"}
    refused = api.post("/predictions", *rows, prediction(task))
    assert (refused.status_code, refused.json()["error"]) == (422, "InvalidRequest")
    assert api.send("/predictions") == []


def test_pages_go_back_in_time_without_gaps(api: ApiClient, task: str) -> None:
    sent = [prediction(task) for _ in range(7)]
    api.send("/predictions", *sent)
    found: list[str] = []
    cursor: str | None = None
    sizes = []
    while True:
        query = {"task": task, "limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = api.client.get("/predictions", params=query, headers=api.service).json()
        found += [item["id"] for item in page["items"]]
        sizes.append(len(page["items"]))
        cursor = page["next"]
        if cursor is None:
            break
    assert found == sorted((row["id"] for row in sent), reverse=True)
    assert sizes == [3, 3, 1]


def test_filters_select_rows_of_the_list(api: ApiClient, task: str) -> None:
    user = api.person()
    moment = datetime(2026, 3, 5, 12, tzinfo=UTC)

    def at(offset: timedelta, **others: Any) -> dict[str, Any]:
        key = UUID(int=floor(moment + offset).int | (new_id().int & (2**80 - 1)))
        return prediction(task, id=str(key), **others)

    old = at(-timedelta(days=40))
    here = at(timedelta(), version=5)
    new = at(timedelta(milliseconds=1), user_id=user.id)
    labelled = at(timedelta(days=3), answer={"label": "bad", "score": 0.9, "probabilities": {"bad": 0.9, "good": 0.1}})
    api.send("/predictions", old, here, new, labelled)

    def find(**query: str) -> list[str]:
        response = api.client.get("/predictions", params={"task": task, **query}, headers=api.service)
        return [item["id"] for item in response.json()["items"]]

    assert find() == [row["id"] for row in (labelled, new, here, old)]
    assert find(version="5") == [here["id"]]
    assert find(label="bad") == [labelled["id"]]
    assert find(user_id=user.id) == [new["id"]]
    assert find(after=moment.isoformat()) == [row["id"] for row in (labelled, new, here)]
    assert find(before=moment.isoformat()) == [old["id"]]
    assert find(after=moment.isoformat(), before=(moment + timedelta(milliseconds=1)).isoformat()) == [here["id"]]
    assert find(label="'; DROP TABLE predictions; --") == []


def test_people_see_their_own_and_trainers_see_all(api: ApiClient, task: str) -> None:
    one, other, trainer = api.person(), api.person(), api.person("trainer")
    mine, theirs = prediction(task, one.id), prediction(task, other.id)
    api.send("/predictions", mine, theirs)

    def sees(headers: dict[str, str], **query: str) -> set[str]:
        response = api.client.get("/predictions", params={"task": task, **query}, headers=headers)
        return {item["id"] for item in response.json()["items"]}

    assert sees(one.headers) == {mine["id"]}
    assert sees(one.headers, user_id=other.id) == set()
    assert sees(trainer.headers) == {mine["id"], theirs["id"]}
    assert sees(trainer.headers, user_id=other.id) == {theirs["id"]}
    path = f"/predictions/{theirs['id']}"
    statuses = [api.client.get(path, headers=person.headers).status_code for person in (one, other, trainer)]
    assert statuses == [404, 200, 200]


def test_users_do_not_see_who_corrected_their_prediction(api: ApiClient, task: str) -> None:
    user, trainer = api.person(), api.person("trainer")
    mine = prediction(task, user.id)
    api.send("/predictions", mine)
    api.send("/feedback", feedback(mine, user.id), feedback(mine, trainer.id))
    path, seen = f"/predictions/{mine['id']}", {}
    for one in (user, trainer):
        given = api.client.get(path, headers=one.headers).json()["feedback"]
        seen[one.id] = {entry["user_id"] for entry in given}
    assert seen == {user.id: {user.id, None}, trainer.id: {user.id, trainer.id}}


@pytest.mark.parametrize("cursor", ["not-a-cursor", "AAAA", "%00", "é", "A" * 22 + "A"])
def test_a_forged_cursor_is_refused(api: ApiClient, cursor: str) -> None:
    response = api.client.get("/predictions", params={"cursor": cursor}, headers=api.service)
    assert response.status_code == 422
    assert cursor not in response.text


def test_ids_are_ordered_by_time() -> None:
    keys = [new_id() for _ in range(1_000)]
    assert keys == sorted(keys)
    moment = time_of(keys[0])
    assert floor(moment) <= keys[0] < floor(moment + timedelta(milliseconds=1))
    assert floor(datetime(1, 1, 1, tzinfo=UTC)) == floor(EPOCH)
