"""Feedback: joined with its prediction whichever comes first, counted only from those who may, and only if it fits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from data_api.crud.predictions import feedback as words
from data_api.crud.predictions import prediction as predictions
from data_api.ids import new_id, time_of
from data_api.models.predictions.example import Example
from data_api.models.predictions.feedback import Feedback
from data_api.schemas.predictions.feedback import FEEDBACK
from data_api.schemas.predictions.prediction import PREDICTION
from tests.data.world import World, estimate, feedback, prediction


def test_feedback_after_its_prediction_counts_at_once(world: World, task: str) -> None:
    user = world.person()
    about = prediction(task, user.id)
    world.send("/predictions", about)
    word = feedback(about, user.id, comment="no, he is angry")
    assert world.statuses("/feedback", word) == ["stored"]
    (said,) = world.said(about)
    assert (said["status"], said["label"], said["task"], said["reason"]) == ("accepted", "negative", task, None)
    (correction,) = world.corrections(task)
    assert correction == {
        "id": word["id"],
        "prediction_id": about["id"],
        "row": about["row"],
        "row_schema": 1,
        "label": "negative",
        "value": None,
        "user_id": user.id,
        "user_role": "user",
        "created_at": time_of(UUID(word["id"])).isoformat(),
    }


def test_feedback_before_its_prediction_waits_and_then_counts(world: World, task: str) -> None:
    user = world.person()
    about = estimate(task, user.id)
    word = feedback(about, user.id, value=3.5)
    assert world.statuses("/feedback", word) == ["stored"]
    mine = world.client.get("/feedback", params={"status": "pending"}, headers=user.headers).json()["items"]
    assert [(item["id"], item["task"]) for item in mine] == [(word["id"], None)]
    assert world.corrections(task) == []
    world.send("/predictions", about)
    assert [said["status"] for said in world.said(about)] == ["accepted"]
    assert [(line["value"], line["label"]) for line in world.corrections(task)] == [(3.5, None)]


def test_sending_feedback_again_changes_nothing(world: World, task: str) -> None:
    user = world.person()
    about = prediction(task, user.id)
    word = feedback(about, user.id)
    assert world.statuses("/feedback", word, word) == ["stored", "duplicate"]
    world.send("/predictions", about)
    assert world.statuses("/feedback", {**word, "label": "positive"}) == ["duplicate"]
    assert [line["label"] for line in world.corrections(task)] == ["negative"]


@pytest.mark.parametrize("first", ["prediction", "feedback"])
@pytest.mark.parametrize(
    ("make", "truth", "who", "status"),
    [
        (prediction, {"label": "positive"}, "owner", "accepted"),
        (prediction, {"label": "positive"}, "other", "refused"),
        (prediction, {"label": "positive"}, "trainer", "accepted"),
        (prediction, {"label": "positive"}, "admin", "accepted"),
        (prediction, {"label": "positive"}, "nobody", "refused"),
        (prediction, {"label": "sideways"}, "owner", "refused"),
        (prediction, {"label": None, "value": 1.0}, "owner", "refused"),
        (estimate, {"value": 1.5}, "owner", "accepted"),
        (estimate, {"label": "positive"}, "owner", "refused"),
    ],
)
def test_who_and_what_is_checked_when_both_sides_meet(
    world: World,
    task: str,
    first: str,
    make: Callable[..., dict[str, Any]],
    truth: dict[str, Any],
    who: str,
    status: str,
) -> None:
    owner = world.person()
    people = {
        "owner": lambda: owner.id,
        "other": lambda: world.person().id,
        "trainer": lambda: world.person("trainer").id,
        "admin": lambda: world.admin.id,
        "nobody": lambda: str(new_id()),
    }
    about = make(task, owner.id)
    word = feedback(about, people[who](), **truth)
    calls = [("/predictions", about), ("/feedback", word)]
    for path, row in calls if first == "prediction" else reversed(calls):
        assert world.statuses(path, row) == ["stored"]
    (said,) = world.said(about)
    assert said["status"] == status
    assert bool(said["reason"]) == (status == "refused")
    assert len(world.corrections(task)) == (status == "accepted")


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
def test_malformed_feedback_is_refused_alone(world: World, task: str, change: dict[str, Any], reason: str) -> None:
    user = world.person()
    about = prediction(task, user.id)
    world.send("/predictions", about)
    results = world.send("/feedback", {**feedback(about, user.id), **change}, feedback(about, user.id))
    assert results == [{"status": "refused", "reason": reason}, {"status": "stored", "reason": None}]


def test_a_trainers_word_counts_over_a_users_and_the_later_over_the_earlier(world: World, task: str) -> None:
    user, trainer = world.person(), world.person("trainer")
    contested, changed, untouched = (prediction(task, user.id) for _ in range(3))
    world.send("/predictions", contested, changed, untouched)
    judged = feedback(contested, trainer.id, label="positive")
    late = feedback(contested, user.id)
    mind = [feedback(changed, user.id), feedback(changed, user.id, label="positive")]
    world.send("/feedback", late, judged, *reversed(mind))
    lines = world.corrections(task)
    assert [line["id"] for line in lines] == sorted([judged["id"], mind[1]["id"]])
    assert {line["user_role"] for line in lines} == {"user", "trainer"}
    since = time_of(UUID(mind[1]["id"])).isoformat()
    recent = [line["id"] for line in world.corrections(task, since=since)]
    assert mind[1]["id"] in recent
    assert late["id"] not in recent
    assert datetime.fromisoformat(lines[0]["created_at"]).utcoffset() is not None


def test_by_majority_everybody_has_one_voice_and_trainers_outvote_users(world: World, task: str) -> None:
    users = [world.person("trainer") for _ in range(3)]
    asker = world.person()
    majority, fickle, tie, overruled = (prediction(task, asker.id) for _ in range(4))
    world.send("/predictions", majority, fickle, tie, overruled)
    words = {
        "majority": [feedback(majority, users[0].id), feedback(majority, users[1].id)],
        "late": [feedback(majority, users[2].id, label="positive")],
        "fickle": [feedback(fickle, users[0].id), feedback(fickle, users[0].id, label="positive")],
        "tie": [feedback(tie, users[0].id), feedback(tie, users[1].id, label="positive")],
        "user": [feedback(overruled, asker.id), feedback(overruled, asker.id)],
        "trainer": [feedback(overruled, users[0].id, label="positive")],
    }
    world.send("/feedback", *(word for some in words.values() for word in some))

    def chosen(**query: str) -> dict[str, str]:
        return {line["prediction_id"]: line["id"] for line in world.corrections(task, **query)}

    latest = {
        majority["id"]: words["late"][0]["id"],
        fickle["id"]: words["fickle"][1]["id"],
        tie["id"]: words["tie"][1]["id"],
        overruled["id"]: words["trainer"][0]["id"],
    }
    assert chosen() == chosen(word="latest") == latest
    assert chosen(word="majority") == latest | {majority["id"]: words["majority"][1]["id"]}
    ids = [line["id"] for line in world.corrections(task, word="majority")]
    assert ids == sorted(ids)
    since = time_of(UUID(words["tie"][0]["id"])).isoformat()
    assert {tie["id"], overruled["id"]} <= set(chosen(word="majority", since=since))
    assert chosen(word="majority", since="2999-01-01T00:00:00Z") == {}


def test_a_new_word_tells_of_a_majority_that_it_took_away(world: World, task: str) -> None:
    """Its winner may be an older word, which `since` alone would leave out."""
    one, other, third = (world.person("trainer") for _ in range(3))
    about = prediction(task)
    world.send("/predictions", about)
    won = feedback(about, one.id)
    world.send(
        "/feedback", won, feedback(about, other.id, label="positive"), feedback(about, third.id, label="positive")
    )
    assert [line["label"] for line in world.corrections(task, word="majority")] == ["positive"]
    turned = [feedback(about, other.id), feedback(about, third.id)]
    world.send("/feedback", *turned)
    since = time_of(UUID(turned[0]["id"])).isoformat()
    assert [line["label"] for line in world.corrections(task, word="majority", since=since)] == ["negative"]


def test_many_corrections_stream_in_the_order_of_ids(world: World, task: str) -> None:
    user = world.person()
    about = [prediction(task, user.id) for _ in range(1_000)]
    world.send("/predictions", *about)
    assert set(world.statuses("/feedback", *(feedback(row, user.id) for row in about))) == {"stored"}
    more = [prediction(task, user.id) for _ in range(300)]
    world.send("/feedback", *(feedback(row, user.id) for row in more))
    world.send("/predictions", *more)
    ids = [line["id"] for line in world.corrections(task)]
    assert len(ids) == 1_300
    assert ids == sorted(ids)


def test_people_see_their_own_feedback_and_trainers_all(world: World, task: str) -> None:
    one, other, trainer = world.person(), world.person(), world.person("trainer")
    about = prediction(task, one.id)
    world.send("/predictions", about)
    mine, theirs = feedback(about, one.id), feedback(about, other.id)
    world.send("/feedback", mine, theirs)

    def sees(headers: dict[str, str], **query: str) -> list[str]:
        answer = world.client.get("/feedback", params={"task": task, **query}, headers=headers)
        return [item["id"] for item in answer.json()["items"]]

    assert sees(one.headers) == [mine["id"]]
    assert sees(other.headers) == [theirs["id"]]
    assert sees(trainer.headers) == [theirs["id"], mine["id"]]
    assert sees(trainer.headers, status="refused") == [theirs["id"]]


def test_prediction_and_feedback_in_two_transactions_at_once_always_meet(
    as_app: Engine, world: World, task: str
) -> None:
    user = world.person()
    pairs = [(row := prediction(task, user.id), feedback(row, user.id)) for _ in range(150)]

    def store_prediction(row: dict[str, Any]) -> None:
        with Session(as_app) as session, session.begin():
            predictions.store(session, [PREDICTION.values(row)])

    def store_word(row: dict[str, Any]) -> None:
        with Session(as_app) as session, session.begin():
            words.store(session, [FEEDBACK.values(row)])

    with ThreadPoolExecutor(4) as threads:
        done = []
        for about, word in pairs:
            done += [threads.submit(store_prediction, about), threads.submit(store_word, word)]
        for one in done:
            one.result()
    with Session(as_app) as session:
        ids = [UUID(word["id"]) for _, word in pairs]
        statuses = session.scalars(select(Feedback.status).where(Feedback.id.in_(ids))).all()
        assert statuses == ["accepted"] * len(pairs)
        assert len(session.scalars(select(Example.id).where(Example.id.in_(ids))).all()) == len(pairs)


@pytest.mark.parametrize("first", ["prediction", "feedback"])
def test_the_second_waits_for_the_first_to_commit_and_then_joins(
    as_app: Engine, world: World, task: str, first: str, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    user = world.person()
    about = prediction(task, user.id)
    word = feedback(about, user.id)
    rows = {
        "prediction": [PREDICTION.values(about)],
        "feedback": [FEEDBACK.values(word)],
    }
    store = {"prediction": predictions.store, "feedback": words.store}
    second = "feedback" if first == "prediction" else "prediction"

    def in_its_own_transaction() -> None:
        with Session(as_app) as session, session.begin():
            store[second](session, rows[second])

    def somebody_waits() -> bool:
        query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        with as_app.connect() as connection:
            return bool(connection.scalar(query))

    with ThreadPoolExecutor(1) as threads, Session(as_app) as session:
        store[first](session, rows[first])
        other = threads.submit(in_its_own_transaction)
        eventually(somebody_waits)
        assert not other.done()
        session.commit()
        other.result(timeout=10)
    assert [said["status"] for said in world.said(about)] == ["accepted"]


def test_predictions_do_not_wait_for_each_other(as_app: Engine, world: World, task: str) -> None:
    first, second = prediction(task), prediction(task)
    second["id"] = str(UUID(int=UUID(first["id"]).int + 64))  # the same stripe
    rows = [PREDICTION.values(row) for row in (first, second)]
    with Session(as_app) as one, Session(as_app) as other:
        predictions.store(one, rows[:1])
        other.execute(text("SET LOCAL lock_timeout = '2s'"))
        predictions.store(other, rows[1:])
        other.commit()
        one.commit()
