"""Labelling: uncertain, disputed and random rows, each assigned to one person."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from data_api.crud.predictions import labelling
from tests.data.api import ApiClient, SignedInUser, feedback, prediction, regression


def scored(task: str, *odds: float, **others: Any) -> dict[str, Any]:
    """A prediction with these probabilities."""
    names = [f"label-{number}" for number in range(len(odds))]
    response = {"label": names[0], "score": odds[0], "probabilities": dict(zip(names, odds, strict=True))}
    return prediction(task, answer=response, **others)


def get_uncertain(api: ApiClient, person: SignedInUser, task: str, **query: str | int) -> list[dict[str, Any]]:
    response = api.client.get("/predictions/uncertain", params={"task": task, **query}, headers=person.headers)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def unsure(items: list[dict[str, Any]]) -> list[str]:
    """The ids of the offers that are not random."""
    return [item["id"] for item in items if item["reason"] != "random"]


def label_request(task: str, person: SignedInUser, **others: Any) -> labelling.LabelRequest:
    values: dict[str, Any] = {"by": "margin", "limit": 20, "share": 1e-9, "lifetime": timedelta(minutes=10), **others}
    return labelling.LabelRequest(task, UUID(person.id), **values)


@pytest.fixture(scope="module")
def trainers(api: ApiClient) -> tuple[SignedInUser, SignedInUser]:
    return api.person("trainer"), api.person("trainer")


def test_the_most_uncertain_come_first_and_margin_and_entropy_differ(
    as_app: Engine, api: ApiClient, trainers: tuple[SignedInUser, SignedInUser], task: str
) -> None:
    narrow = scored(task, 0.5, 0.5, 0.0)
    spread = scored(task, 0.4, 0.3, 0.3)
    sure = scored(task, 1.0, 0.0, 0.0)
    api.send("/predictions", sure, spread, narrow)

    def order(by: str) -> list[tuple[UUID, float | None, float | None]]:
        with Session(as_app, expire_on_commit=False) as session:
            offers = labelling.offer(session, label_request(task, trainers[0], by=by))
            return [(offer.prediction.id, offer.margin, offer.entropy) for offer in offers]

    assert [str(key) for key, _, _ in order("margin")] == [narrow["id"], spread["id"], sure["id"]]
    by_entropy = order("entropy")
    assert [str(key) for key, _, _ in by_entropy] == [spread["id"], narrow["id"], sure["id"]]
    assert [margin for _, margin, _ in by_entropy] == pytest.approx([0.1, 0.0, 1.0])
    assert [entropy for _, _, entropy in by_entropy] == pytest.approx([0.9912, 0.6309, 0.0], abs=1e-4)


def test_an_assigned_prediction_is_not_offered_to_another_person(
    api: ApiClient, trainers: tuple[SignedInUser, SignedInUser], task: str
) -> None:
    one, other = trainers
    api.send("/predictions", *(scored(task, 0.6, 0.4) for _ in range(6)))
    first = get_uncertain(api, one, task, limit=4)
    assert len(first) == 4
    assert all(item["assigned_until"] > item["created_at"] for item in first)
    assert {item["id"] for item in get_uncertain(api, one, task, limit=4)} == {item["id"] for item in first}
    second = get_uncertain(api, other, task, limit=10)
    assert len(second) == 2
    assert not {item["id"] for item in second} & {item["id"] for item in first}


def test_concurrent_requests_never_get_the_same_row(
    as_app: Engine, api: ApiClient, trainers: tuple[SignedInUser, SignedInUser], task: str
) -> None:
    api.send("/predictions", *(scored(task, 0.6, 0.4) for _ in range(40)))

    def take(person: SignedInUser) -> list[UUID]:
        with Session(as_app, expire_on_commit=False) as session, session.begin():
            return [offer.prediction.id for offer in labelling.offer(session, label_request(task, person, limit=10))]

    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(take, [*trainers] * 4))
    of_one = {key for keys in taken[0::2] for key in keys}
    of_other = {key for keys in taken[1::2] for key in keys}
    assert len(of_one) == len(of_other) == 10
    assert not of_one & of_other


def test_a_row_is_offered_to_others_after_its_assignment_expires(
    as_app: Engine, api: ApiClient, trainers: tuple[SignedInUser, SignedInUser], task: str
) -> None:
    one, other = trainers
    row = scored(task, 0.6, 0.4)
    api.send("/predictions", row)
    for lifetime in (timedelta(seconds=-1), timedelta(minutes=10)):
        with Session(as_app, expire_on_commit=False) as session, session.begin():
            (offer,) = labelling.offer(session, label_request(task, one, lifetime=lifetime))
        assert str(offer.prediction.id) == row["id"]
        assert bool(get_uncertain(api, other, task)) == (lifetime < timedelta())
        with as_app.begin() as connection:
            connection.execute(text("DELETE FROM assignments WHERE user_id = :id"), {"id": other.id})


def test_a_labelled_row_is_not_offered_again_unless_people_disagree(
    api: ApiClient, trainers: tuple[SignedInUser, SignedInUser], task: str
) -> None:
    one, other = trainers
    asker = api.person()
    settled, disputed, overruled, open_ = (
        prediction(task, asker.id, answer={"label": "positive", "score": 0.6, "probabilities": odds})
        for odds in [{"positive": 0.6, "negative": 0.4}] * 4
    )
    api.send("/predictions", settled, disputed, overruled, open_)
    api.send("/feedback", feedback(settled, one.id), feedback(settled, other.id))
    api.send("/feedback", feedback(disputed, one.id), feedback(disputed, other.id, label="positive"))
    api.send("/feedback", feedback(overruled, asker.id, label="positive"), feedback(overruled, one.id))
    third = api.person("trainer")
    items = get_uncertain(api, third, task)
    assert unsure(items) in ([disputed["id"], open_["id"]], [disputed["id"]])
    (found,) = [item for item in items if item["reason"] == "disagreement"]
    assert (found["id"], found["disagreement"], found["margin"]) == (disputed["id"], 0.5, None)
    assert [item["id"] for item in get_uncertain(api, third, task, by="disagreement")] == [disputed["id"]]
    assert get_uncertain(api, one, task, by="disagreement") == []  # they have labelled it
    api.send("/feedback", feedback(disputed, other.id))
    assert get_uncertain(api, third, task, by="disagreement") == []


def test_the_random_share_is_independent_of_the_prediction_and_stores_its_probability(
    as_app: Engine, api: ApiClient, trainers: tuple[SignedInUser, SignedInUser], task: str
) -> None:
    api.send("/predictions", *(scored(task, 0.9, 0.1) for _ in range(60)))
    with Session(as_app, expire_on_commit=False) as session, session.begin():
        offers = labelling.offer(session, label_request(task, trainers[0], limit=20, share=0.5))
    chosen = [offer for offer in offers if offer.reason == "random"]
    assert len(chosen) == 20 // labelling.RANDOM_PART
    assert {offer.probability for offer in chosen} == {0.5}
    with Session(as_app, expire_on_commit=False) as session, session.begin():
        again = labelling.offer(session, label_request(task, trainers[0], limit=20, share=0.5))
    assert [offer.prediction.id for offer in again if offer.reason == "random"] == [
        offer.prediction.id for offer in chosen
    ]
    query = text("SELECT prediction_id, probability FROM samples WHERE task = :task")
    with as_app.connect() as connection:
        assert set(connection.execute(query, {"task": task})) == {(offer.prediction.id, 0.5) for offer in chosen}


def test_rows_corrected_before_sampling_are_part_of_the_random_share(
    as_app: Engine, api: ApiClient, trainers: tuple[SignedInUser, SignedInUser], task: str
) -> None:
    """Otherwise the random share would lack the errors that people notice, and the accuracy would be too high."""
    asker = api.person()
    rows = [prediction(task, asker.id) for _ in range(20)]
    api.send("/predictions", *rows)
    api.send("/feedback", *(feedback(row, asker.id) for row in rows[:15]))
    with Session(as_app, expire_on_commit=False) as session, session.begin():
        offers = labelling.offer(session, label_request(task, trainers[0], limit=20, share=1.0))
    drawn = {offer.prediction.id for offer in offers if offer.reason == "random"}
    assert drawn == {UUID(row["id"]) for row in rows[15:]}
    with as_app.connect() as connection:
        query = text("SELECT count(*) FROM samples WHERE task = :task AND probability = 1")
        counted = connection.scalar(query, {"task": task})
    assert counted is not None
    assert 5 < counted <= 20


def test_a_regression_task_offers_random_and_disputed_rows(
    as_app: Engine, api: ApiClient, trainers: tuple[SignedInUser, SignedInUser], task: str
) -> None:
    one, other = trainers
    rows = [regression(task) for _ in range(8)]
    api.send("/predictions", *rows)
    api.send("/feedback", feedback(rows[0], one.id, value=1.0), feedback(rows[0], other.id, value=2.0))
    third = api.person("trainer")
    with Session(as_app, expire_on_commit=False) as session:
        offers = labelling.offer(session, label_request(task, third, share=1.0))
    assert {offer.reason for offer in offers} == {"random", "disagreement"}
    assert [str(offer.prediction.id) for offer in offers if offer.reason == "disagreement"] == [rows[0]["id"]]


def test_shadow_predictions_and_erased_rows_are_not_offered(
    api: ApiClient, trainers: tuple[SignedInUser, SignedInUser], task: str
) -> None:
    seen = scored(task, 0.6, 0.4)
    api.send("/predictions", scored(task, 0.5, 0.5, role="shadow"), scored(task, 0.5, 0.5, row={}), seen)
    assert [item["id"] for item in get_uncertain(api, trainers[0], task)] == [seen["id"]]


@pytest.mark.parametrize(
    ("query", "status"), [({}, 422), ({"task": "x", "by": "whim"}, 422), ({"task": "x", "limit": 101}, 422)]
)
def test_a_malformed_label_request_is_refused(
    api: ApiClient, trainers: tuple[SignedInUser, SignedInUser], query: dict[str, str], status: int
) -> None:
    response = api.client.get("/predictions/uncertain", params=query, headers=trainers[0].headers)
    assert (response.status_code, response.json()["error"]) == (status, "InvalidRequest")


def test_only_labellers_get_rows_to_label(api: ApiClient) -> None:
    user = api.person()
    for headers in (user.headers, api.service):
        assert api.client.get("/predictions/uncertain", params={"task": "x"}, headers=headers).status_code == 403
    for scopes, status in ((("read",), 403), (("feedback",), 403), (("feedback", "read"), 200)):
        _, key = api.key(api.admin, *scopes)
        response = api.client.get("/predictions/uncertain", params={"task": "x"}, headers={"X-API-Key": key})
        assert response.status_code == status
