"""Feedback: joined with its prediction in either order; accepted only from permitted users and with a valid label."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from data_api.crud.predictions import feedback as crud_feedback
from data_api.crud.predictions import prediction as predictions
from data_api.ids import new_id, time_of
from data_api.models.predictions.example import Example
from data_api.models.predictions.feedback import Feedback
from data_api.schemas.predictions.feedback import FEEDBACK
from data_api.schemas.predictions.prediction import PREDICTION
from tests.data.api import ApiClient, feedback, prediction, regression
from tests.waiting import until


def test_feedback_after_its_prediction_is_accepted_at_once(api: ApiClient, task: str) -> None:
    user = api.person()
    about = prediction(task, user.id)
    api.send("/predictions", about)
    correction = feedback(about, user.id, comment="no, he is angry")
    assert api.statuses("/feedback", correction) == ["stored"]
    (shown,) = api.feedback_about(about)
    assert (shown["status"], shown["label"], shown["task"], shown["reason"]) == ("accepted", "negative", task, None)
    (correction,) = api.corrections(task)
    assert correction == {
        "id": correction["id"],
        "prediction_id": about["id"],
        "row": about["row"],
        "row_schema": 1,
        "label": "negative",
        "value": None,
        "user_id": user.id,
        "user_role": "user",
        "created_at": time_of(UUID(correction["id"])).isoformat(),
    }


def test_feedback_before_its_prediction_is_pending_and_then_accepted(api: ApiClient, task: str) -> None:
    user = api.person()
    about = regression(task, user.id)
    correction = feedback(about, user.id, value=3.5)
    assert api.statuses("/feedback", correction) == ["stored"]
    mine = api.client.get("/feedback", params={"status": "pending"}, headers=user.headers).json()["items"]
    assert [(item["id"], item["task"]) for item in mine] == [(correction["id"], None)]
    assert api.corrections(task) == []
    api.send("/predictions", about)
    assert [shown["status"] for shown in api.feedback_about(about)] == ["accepted"]
    assert [(line["value"], line["label"]) for line in api.corrections(task)] == [(3.5, None)]


def test_sending_feedback_again_changes_nothing(api: ApiClient, task: str) -> None:
    user = api.person()
    about = prediction(task, user.id)
    correction = feedback(about, user.id)
    assert api.statuses("/feedback", correction, correction) == ["stored", "duplicate"]
    api.send("/predictions", about)
    assert api.statuses("/feedback", {**correction, "label": "positive"}) == ["duplicate"]
    assert [line["label"] for line in api.corrections(task)] == ["negative"]


def test_a_persons_corrections_that_wait_for_their_predictions_are_bounded_and_the_reason_is_told(
    api: ApiClient, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crud_feedback, "MOST_PENDING", 3)
    ann, bob = api.person(), api.person()
    about = [prediction(task, ann.id) for _ in range(6)]
    known = prediction(task, ann.id)
    api.send("/predictions", known)
    assert api.statuses("/feedback", *(feedback(one, ann.id) for one in about[:2])) == ["stored"] * 2
    sent = [feedback(one, ann.id) for one in about[2:5]]
    rows = api.send("/feedback", sent[0], feedback(known, ann.id), *sent[1:], feedback(about[5], bob.id))
    assert [row["status"] for row in rows] == ["stored", "stored", "refused", "refused", "stored"]
    assert "corrections already that wait for their predictions" in rows[2]["reason"]
    pending = {"status": "pending"}
    waiting = api.client.get("/feedback", params=pending, headers=ann.headers).json()["items"]
    assert len(waiting) == 3
    api.send("/predictions", *about[:3])
    assert api.statuses("/feedback", *sent[1:]) == ["stored"] * 2, "room again, once predictions have arrived"


@pytest.mark.parametrize("first", ["prediction", "feedback"])
@pytest.mark.parametrize(
    ("make", "truth", "author", "status"),
    [
        (prediction, {"label": "positive"}, "owner", "accepted"),
        (prediction, {"label": "positive"}, "other", "refused"),
        (prediction, {"label": "positive"}, "trainer", "accepted"),
        (prediction, {"label": "positive"}, "admin", "accepted"),
        (prediction, {"label": "positive"}, "unknown", "refused"),
        (prediction, {"label": "sideways"}, "owner", "refused"),
        (prediction, {"label": None, "value": 1.0}, "owner", "refused"),
        (regression, {"value": 1.5}, "owner", "accepted"),
        (regression, {"label": "positive"}, "owner", "refused"),
    ],
)
def test_owner_and_label_are_checked_when_feedback_is_joined(
    api: ApiClient,
    task: str,
    first: str,
    make: Callable[..., dict[str, Any]],
    truth: dict[str, Any],
    author: str,
    status: str,
) -> None:
    owner = api.person()
    people = {
        "owner": lambda: owner.id,
        "other": lambda: api.person().id,
        "trainer": lambda: api.person("trainer").id,
        "admin": lambda: api.admin.id,
        "unknown": lambda: str(new_id()),
    }
    about = make(task, owner.id)
    correction = feedback(about, people[author](), **truth)
    calls = [("/predictions", about), ("/feedback", correction)]
    for path, row in calls if first == "prediction" else reversed(calls):
        assert api.statuses(path, row) == ["stored"]
    (shown,) = api.feedback_about(about)
    assert shown["status"] == status
    assert bool(shown["reason"]) == (status == "refused")
    assert len(api.corrections(task)) == (status == "accepted")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label": None}, "must hold either label or value"),
        ({"value": 1.0, "label": "a"}, "must hold either label or value"),
        ({"value": "1.0", "label": None}, "value: Input should be a valid number"),
        ({"label": "a\0"}, "label: must not hold NUL characters"),
        ({"comment": "a\0"}, "comment: must not hold NUL characters"),
        ({"comment": "a" * 2_001}, "comment: String should have at most 2000 characters"),
        ({"prediction_id": "x"}, "prediction_id: Input should be a valid UUID"),
        ({"user_id": None}, "user_id: UUID input should be a string, bytes or UUID object"),
        ({"status": "accepted"}, "has an unknown field"),
        ({"task": "mine"}, "has an unknown field"),
    ],
)
def test_malformed_feedback_is_refused_alone(api: ApiClient, task: str, change: dict[str, Any], reason: str) -> None:
    user = api.person()
    about = prediction(task, user.id)
    api.send("/predictions", about)
    results = api.send("/feedback", {**feedback(about, user.id), **change}, feedback(about, user.id))
    assert results == [{"status": "refused", "reason": reason}, {"status": "stored", "reason": None}]


def test_trainers_corrections_count_before_users_and_later_before_earlier(api: ApiClient, task: str) -> None:
    user, trainer = api.person(), api.person("trainer")
    contested, changed, untouched = (prediction(task, user.id) for _ in range(3))
    api.send("/predictions", contested, changed, untouched)
    judged = feedback(contested, trainer.id, label="positive")
    late = feedback(contested, user.id)
    mind = [feedback(changed, user.id), feedback(changed, user.id, label="positive")]
    api.send("/feedback", late, judged, *reversed(mind))
    lines = api.corrections(task)
    assert [line["id"] for line in lines] == sorted([judged["id"], mind[1]["id"]])
    assert {line["user_role"] for line in lines} == {"user", "trainer"}
    since = time_of(UUID(mind[1]["id"])).isoformat()
    recent = [line["id"] for line in api.corrections(task, since=since)]
    assert mind[1]["id"] in recent
    assert late["id"] not in recent
    assert datetime.fromisoformat(lines[0]["created_at"]).utcoffset() is not None


def test_by_majority_each_person_has_one_vote_and_trainers_outvote_users(api: ApiClient, task: str) -> None:
    users = [api.person("trainer") for _ in range(3)]
    asker = api.person()
    majority, changed, tie, overruled = (prediction(task, asker.id) for _ in range(4))
    api.send("/predictions", majority, changed, tie, overruled)
    corrections = {
        "majority": [feedback(majority, users[0].id), feedback(majority, users[1].id)],
        "late": [feedback(majority, users[2].id, label="positive")],
        "changed": [feedback(changed, users[0].id), feedback(changed, users[0].id, label="positive")],
        "tie": [feedback(tie, users[0].id), feedback(tie, users[1].id, label="positive")],
        "user": [feedback(overruled, asker.id), feedback(overruled, asker.id)],
        "trainer": [feedback(overruled, users[0].id, label="positive")],
    }
    api.send("/feedback", *(correction for some in corrections.values() for correction in some))

    def chosen(**query: str) -> dict[str, str]:
        return {line["prediction_id"]: line["id"] for line in api.corrections(task, **query)}

    latest = {
        majority["id"]: corrections["late"][0]["id"],
        changed["id"]: corrections["changed"][1]["id"],
        tie["id"]: corrections["tie"][1]["id"],
        overruled["id"]: corrections["trainer"][0]["id"],
    }
    assert chosen() == chosen(word="latest") == latest
    assert chosen(word="majority") == latest | {majority["id"]: corrections["majority"][1]["id"]}
    ids = [line["id"] for line in api.corrections(task, word="majority")]
    assert ids == sorted(ids)
    since = time_of(UUID(corrections["tie"][0]["id"])).isoformat()
    assert {tie["id"], overruled["id"]} <= set(chosen(word="majority", since=since))
    assert chosen(word="majority", since="2999-01-01T00:00:00Z") == {}


def test_a_new_correction_that_removes_a_majority_is_streamed_since(api: ApiClient, task: str) -> None:
    """The winning correction may be older than `since`."""
    one, other, third = (api.person("trainer") for _ in range(3))
    about = prediction(task)
    api.send("/predictions", about)
    won = feedback(about, one.id)
    api.send("/feedback", won, feedback(about, other.id, label="positive"), feedback(about, third.id, label="positive"))
    assert [line["label"] for line in api.corrections(task, word="majority")] == ["positive"]
    turned = [feedback(about, other.id), feedback(about, third.id)]
    api.send("/feedback", *turned)
    since = time_of(UUID(turned[0]["id"])).isoformat()
    assert [line["label"] for line in api.corrections(task, word="majority", since=since)] == ["negative"]


def test_many_corrections_stream_in_the_order_of_ids(api: ApiClient, task: str) -> None:
    user = api.person()
    about = [prediction(task, user.id) for _ in range(1_000)]
    api.send("/predictions", *about)
    assert set(api.statuses("/feedback", *(feedback(row, user.id) for row in about))) == {"stored"}
    more = [prediction(task, user.id) for _ in range(300)]
    api.send("/feedback", *(feedback(row, user.id) for row in more))
    api.send("/predictions", *more)
    ids = [line["id"] for line in api.corrections(task)]
    assert len(ids) == 1_300
    assert ids == sorted(ids)


def test_people_see_their_own_feedback_and_trainers_all(api: ApiClient, task: str) -> None:
    one, other, trainer = api.person(), api.person(), api.person("trainer")
    about = prediction(task, one.id)
    api.send("/predictions", about)
    mine, theirs = feedback(about, one.id), feedback(about, other.id)
    api.send("/feedback", mine, theirs)

    def sees(headers: dict[str, str], **query: str) -> list[str]:
        response = api.client.get("/feedback", params={"task": task, **query}, headers=headers)
        return [item["id"] for item in response.json()["items"]]

    assert sees(one.headers) == [mine["id"]]
    assert sees(other.headers) == [theirs["id"]]
    assert sees(trainer.headers) == [theirs["id"], mine["id"]]
    assert sees(trainer.headers, status="refused") == [theirs["id"]]


def test_prediction_and_feedback_in_concurrent_transactions_are_always_joined(
    as_app: Engine, api: ApiClient, task: str
) -> None:
    user = api.person()
    pairs = [(row := prediction(task, user.id), feedback(row, user.id)) for _ in range(150)]

    def store_prediction(row: dict[str, Any]) -> None:
        with Session(as_app) as session, session.begin():
            predictions.store(session, [PREDICTION.values(row)])

    def store_feedback(row: dict[str, Any]) -> None:
        with Session(as_app) as session, session.begin():
            crud_feedback.store(session, [FEEDBACK.values(row)])

    with ThreadPoolExecutor(4) as threads:
        done = []
        for about, correction in pairs:
            done += [threads.submit(store_prediction, about), threads.submit(store_feedback, correction)]
        for one in done:
            one.result()
    with Session(as_app) as session:
        ids = [UUID(correction["id"]) for _, correction in pairs]
        statuses = session.scalars(select(Feedback.status).where(Feedback.id.in_(ids))).all()
        assert statuses == ["accepted"] * len(pairs)
        assert len(session.scalars(select(Example.id).where(Example.id.in_(ids))).all()) == len(pairs)


@pytest.mark.parametrize("first", ["prediction", "feedback"])
def test_the_second_transaction_waits_for_the_first_to_commit_and_then_joins(
    as_app: Engine, api: ApiClient, task: str, first: str
) -> None:
    user = api.person()
    about = prediction(task, user.id)
    correction = feedback(about, user.id)
    rows = {
        "prediction": [PREDICTION.values(about)],
        "feedback": [FEEDBACK.values(correction)],
    }
    store = {"prediction": predictions.store, "feedback": crud_feedback.store}
    second = "feedback" if first == "prediction" else "prediction"

    def in_its_own_transaction() -> None:
        with Session(as_app) as session, session.begin():
            store[second](session, rows[second])

    def a_lock_is_awaited() -> bool:
        query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        with as_app.connect() as connection:
            return bool(connection.scalar(query))

    with ThreadPoolExecutor(1) as threads, Session(as_app) as session:
        store[first](session, rows[first])
        other = threads.submit(in_its_own_transaction)
        until(a_lock_is_awaited, "a lock to be awaited")
        assert not other.done()
        session.commit()
        other.result(timeout=10)
    assert [shown["status"] for shown in api.feedback_about(about)] == ["accepted"]


def test_predictions_do_not_block_each_other(as_app: Engine, api: ApiClient, task: str) -> None:
    first, second = prediction(task), prediction(task)
    second["id"] = str(UUID(int=UUID(first["id"]).int + 64))  # the same stripe
    rows = [PREDICTION.values(row) for row in (first, second)]
    with Session(as_app) as one, Session(as_app) as other:
        predictions.store(one, rows[:1])
        other.execute(text("SET LOCAL lock_timeout = '2s'"))
        predictions.store(other, rows[1:])
        other.commit()
        one.commit()
