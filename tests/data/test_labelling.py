"""What people are asked to label: the unsure, the disputed and what chance chose, each row before one person only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from data_api.crud.predictions import labelling
from tests.data.world import Somebody, World, estimate, feedback, prediction


def scored(task: str, *odds: float, **others: Any) -> dict[str, Any]:
    """A prediction with these probabilities."""
    names = [f"label-{number}" for number in range(len(odds))]
    answer = {"label": names[0], "score": odds[0], "probabilities": dict(zip(names, odds, strict=True))}
    return prediction(task, answer=answer, **others)


def ask(world: World, who: Somebody, task: str, **query: str | int) -> list[dict[str, Any]]:
    answer = world.client.get("/predictions/uncertain", params={"task": task, **query}, headers=who.headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def unsure(items: list[dict[str, Any]]) -> list[str]:
    """The ids of those that chance did not choose."""
    return [item["id"] for item in items if item["reason"] != "random"]


def wish(task: str, who: Somebody, **others: Any) -> labelling.Wish:
    values: dict[str, Any] = {"by": "margin", "limit": 20, "share": 1e-9, "lifetime": timedelta(minutes=10), **others}
    return labelling.Wish(task, UUID(who.id), **values)


@pytest.fixture(scope="module")
def trainers(world: World) -> tuple[Somebody, Somebody]:
    return world.person("trainer"), world.person("trainer")


def test_the_least_sure_come_first_and_the_two_measures_differ(
    as_app: Engine, world: World, trainers: tuple[Somebody, Somebody], task: str
) -> None:
    narrow = scored(task, 0.5, 0.5, 0.0)
    spread = scored(task, 0.4, 0.3, 0.3)
    sure = scored(task, 1.0, 0.0, 0.0)
    world.send("/predictions", sure, spread, narrow)

    def order(by: str) -> list[tuple[UUID, float | None, float | None]]:
        with Session(as_app, expire_on_commit=False) as session:
            offers = labelling.offer(session, wish(task, trainers[0], by=by))
            return [(offer.prediction.id, offer.margin, offer.entropy) for offer in offers]

    assert [str(key) for key, _, _ in order("margin")] == [narrow["id"], spread["id"], sure["id"]]
    by_entropy = order("entropy")
    assert [str(key) for key, _, _ in by_entropy] == [spread["id"], narrow["id"], sure["id"]]
    assert [margin for _, margin, _ in by_entropy] == pytest.approx([0.1, 0.0, 1.0])
    assert [entropy for _, _, entropy in by_entropy] == pytest.approx([0.9912, 0.6309, 0.0], abs=1e-4)


def test_what_lies_before_one_person_is_not_offered_to_another(
    world: World, trainers: tuple[Somebody, Somebody], task: str
) -> None:
    one, other = trainers
    world.send("/predictions", *(scored(task, 0.6, 0.4) for _ in range(6)))
    first = ask(world, one, task, limit=4)
    assert len(first) == 4
    assert all(item["assigned_until"] > item["created_at"] for item in first)
    assert {item["id"] for item in ask(world, one, task, limit=4)} == {item["id"] for item in first}
    second = ask(world, other, task, limit=10)
    assert len(second) == 2
    assert not {item["id"] for item in second} & {item["id"] for item in first}


def test_people_who_ask_at_once_never_get_the_same_row(
    as_app: Engine, world: World, trainers: tuple[Somebody, Somebody], task: str
) -> None:
    world.send("/predictions", *(scored(task, 0.6, 0.4) for _ in range(40)))

    def take(who: Somebody) -> list[UUID]:
        with Session(as_app, expire_on_commit=False) as session, session.begin():
            return [offer.prediction.id for offer in labelling.offer(session, wish(task, who, limit=10))]

    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(take, [*trainers] * 4))
    of_one = {key for keys in taken[0::2] for key in keys}
    of_other = {key for keys in taken[1::2] for key in keys}
    assert len(of_one) == len(of_other) == 10
    assert not of_one & of_other


def test_a_row_is_offered_to_others_once_its_time_is_over(
    as_app: Engine, world: World, trainers: tuple[Somebody, Somebody], task: str
) -> None:
    one, other = trainers
    row = scored(task, 0.6, 0.4)
    world.send("/predictions", row)
    for lifetime in (timedelta(seconds=-1), timedelta(minutes=10)):
        with Session(as_app, expire_on_commit=False) as session, session.begin():
            (offer,) = labelling.offer(session, wish(task, one, lifetime=lifetime))
        assert str(offer.prediction.id) == row["id"]
        assert bool(ask(world, other, task)) == (lifetime < timedelta())
        with as_app.begin() as connection:
            connection.execute(text("DELETE FROM assignments WHERE user_id = :id"), {"id": other.id})


def test_what_somebody_labelled_is_not_asked_again_unless_people_disagree(
    world: World, trainers: tuple[Somebody, Somebody], task: str
) -> None:
    one, other = trainers
    asker = world.person()
    settled, disputed, overruled, open_ = (
        prediction(task, asker.id, answer={"label": "positive", "score": 0.6, "probabilities": odds})
        for odds in [{"positive": 0.6, "negative": 0.4}] * 4
    )
    world.send("/predictions", settled, disputed, overruled, open_)
    world.send("/feedback", feedback(settled, one.id), feedback(settled, other.id))
    world.send("/feedback", feedback(disputed, one.id), feedback(disputed, other.id, label="positive"))
    world.send("/feedback", feedback(overruled, asker.id, label="positive"), feedback(overruled, one.id))
    third = world.person("trainer")
    items = ask(world, third, task)
    assert unsure(items) in ([disputed["id"], open_["id"]], [disputed["id"]])
    (found,) = [item for item in items if item["reason"] == "disagreement"]
    assert (found["id"], found["disagreement"], found["margin"]) == (disputed["id"], 0.5, None)
    assert [item["id"] for item in ask(world, third, task, by="disagreement")] == [disputed["id"]]
    assert ask(world, one, task, by="disagreement") == []  # they had their say
    world.send("/feedback", feedback(disputed, other.id))
    assert ask(world, third, task, by="disagreement") == []


def test_chance_chooses_whatever_the_answer_and_its_probability_is_kept(
    as_app: Engine, world: World, trainers: tuple[Somebody, Somebody], task: str
) -> None:
    world.send("/predictions", *(scored(task, 0.9, 0.1) for _ in range(60)))
    with Session(as_app, expire_on_commit=False) as session, session.begin():
        offers = labelling.offer(session, wish(task, trainers[0], limit=20, share=0.5))
    chosen = [offer for offer in offers if offer.reason == "random"]
    assert len(chosen) == 20 // labelling.RANDOM_PART
    assert {offer.probability for offer in chosen} == {0.5}
    with Session(as_app, expire_on_commit=False) as session, session.begin():
        again = labelling.offer(session, wish(task, trainers[0], limit=20, share=0.5))
    assert [offer.prediction.id for offer in again if offer.reason == "random"] == [
        offer.prediction.id for offer in chosen
    ]
    query = text("SELECT prediction_id, probability FROM samples WHERE task = :task")
    with as_app.connect() as connection:
        assert set(connection.execute(query, {"task": task})) == {(offer.prediction.id, 0.5) for offer in chosen}


def test_what_people_corrected_by_themselves_is_counted_into_the_random_share(
    as_app: Engine, world: World, trainers: tuple[Somebody, Somebody], task: str
) -> None:
    """Else the mistakes that people notice would be missing from it, and the model look better than it is."""
    asker = world.person()
    rows = [prediction(task, asker.id) for _ in range(20)]
    world.send("/predictions", *rows)
    world.send("/feedback", *(feedback(row, asker.id) for row in rows[:15]))
    with Session(as_app, expire_on_commit=False) as session, session.begin():
        offers = labelling.offer(session, wish(task, trainers[0], limit=20, share=1.0))
    drawn = {offer.prediction.id for offer in offers if offer.reason == "random"}
    assert drawn == {UUID(row["id"]) for row in rows[15:]}
    with as_app.connect() as connection:
        query = text("SELECT count(*) FROM samples WHERE task = :task AND probability = 1")
        counted = connection.scalar(query, {"task": task})
    assert counted is not None
    assert 5 < counted <= 20


def test_a_task_of_numbers_offers_what_chance_chose_and_what_is_disputed(
    as_app: Engine, world: World, trainers: tuple[Somebody, Somebody], task: str
) -> None:
    one, other = trainers
    rows = [estimate(task) for _ in range(8)]
    world.send("/predictions", *rows)
    world.send("/feedback", feedback(rows[0], one.id, value=1.0), feedback(rows[0], other.id, value=2.0))
    third = world.person("trainer")
    with Session(as_app, expire_on_commit=False) as session:
        offers = labelling.offer(session, wish(task, third, share=1.0))
    assert {offer.reason for offer in offers} == {"random", "disagreement"}
    assert [str(offer.prediction.id) for offer in offers if offer.reason == "disagreement"] == [rows[0]["id"]]


def test_what_nobody_got_or_an_erasure_blanked_is_not_offered(
    world: World, trainers: tuple[Somebody, Somebody], task: str
) -> None:
    seen = scored(task, 0.6, 0.4)
    world.send("/predictions", scored(task, 0.5, 0.5, role="shadow"), scored(task, 0.5, 0.5, row={}), seen)
    assert [item["id"] for item in ask(world, trainers[0], task)] == [seen["id"]]


@pytest.mark.parametrize(
    ("query", "status"), [({}, 422), ({"task": "x", "by": "whim"}, 422), ({"task": "x", "limit": 101}, 422)]
)
def test_a_wish_that_is_none_is_refused(
    world: World, trainers: tuple[Somebody, Somebody], query: dict[str, str], status: int
) -> None:
    answer = world.client.get("/predictions/uncertain", params=query, headers=trainers[0].headers)
    assert (answer.status_code, answer.json()["error"]) == (status, "InvalidRequest")


def test_only_who_may_label_is_asked_to(world: World) -> None:
    user = world.person()
    for headers in (user.headers, world.service):
        assert world.client.get("/predictions/uncertain", params={"task": "x"}, headers=headers).status_code == 403
    for scope, status in (("read", 403), ("feedback", 200)):
        _, key = world.key(world.admin, scope)
        answer = world.client.get("/predictions/uncertain", params={"task": "x"}, headers={"X-API-Key": key})
        assert answer.status_code == status
