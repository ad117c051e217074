"""POST /feedback: checked at once where the prediction is known, and stored before the response."""

from __future__ import annotations

import httpx
import pytest
from uuid_utils.compat import uuid7

from tests.ai.routes.http_errors import MARK, assert_error
from tests.ai.routes.test_predict import HOUSE, ROW
from tests.ai.support.app import RunningApp


def predict(client: httpx.Client, task: str = "tweets", row: dict[str, object] | None = None) -> str:
    """The id of a new prediction."""
    response = client.post("/predict", json={"task": task, "inputs": row or ROW})
    id_: str = response.json()["predictions"][0]["prediction_id"]
    return id_


def test_a_correction_is_stored_with_its_author_comment_and_request(service: RunningApp, user: httpx.Client) -> None:
    id_ = predict(user)
    body = {"prediction_id": id_, "label": "negative", "comment": "not thanks at all"}
    response = user.post("/feedback", json=body, headers={"X-Request-ID": "mine-3"})
    assert response.status_code == 202
    assert (response.json()["prediction_id"], response.json()["checked"]) == (id_, True)
    service.drain()
    stored = service.data_api.sent["feedback"][response.json()["feedback_id"]]
    assert stored == {**body, "id": response.json()["feedback_id"], "value": None} | {
        "user_id": service.user.id,
        "request_id": "mine-3",
    }


def test_a_regression_takes_a_value_as_correction_and_no_label(trainer: httpx.Client) -> None:
    id_ = predict(trainer, "housing", dict(HOUSE))
    assert_error(trainer.post("/feedback", json={"prediction_id": id_, "label": MARK}), 422, "InvalidFeedback")
    taken = trainer.post("/feedback", json={"prediction_id": id_, "value": 4.5, "comment": "sold"})
    assert (taken.status_code, taken.json()["checked"]) == (202, True)


@pytest.mark.parametrize("is_shipped", [False, True], ids=["in the outbox", "in data-api"])
def test_feedback_with_an_unknown_label_or_about_another_persons_prediction_is_refused(
    service: RunningApp, trainer: httpx.Client, is_shipped: bool
) -> None:
    id_ = predict(trainer)
    if is_shipped:
        service.drain()
    assert_error(trainer.post("/feedback", json={"prediction_id": id_, "label": MARK}), 422, "InvalidFeedback")
    assert_error(trainer.post("/feedback", json={"prediction_id": id_, "value": 1.0}), 422, "InvalidFeedback")
    assert_error(trainer.post("/feedback", json={"prediction_id": id_}), 422, "InvalidRequest")
    other = service.client(service.add_user())
    assert_error(other.post("/feedback", json={"prediction_id": id_, "label": "positive"}), 403, "NotAllowed")


def test_a_trainer_may_correct_another_persons_prediction(trainer: httpx.Client, user: httpx.Client) -> None:
    taken = trainer.post("/feedback", json={"prediction_id": predict(user), "label": "positive"})
    assert (taken.status_code, taken.json()["checked"]) == (202, True)


@pytest.mark.parametrize(
    ("prediction_id", "status", "error"),
    [(MARK, 422, "InvalidRequest"), ("6f0c2b1e-8f7a-4a53-9d0e-2b7c4d1e9f30", 422, "InvalidRequest")],
)
def test_feedback_about_what_cannot_be_a_prediction_is_refused(
    trainer: httpx.Client, prediction_id: str, status: int, error: str
) -> None:
    body = {"prediction_id": prediction_id, "label": "positive"}
    assert_error(trainer.post("/feedback", json=body), status, error)


def test_feedback_about_a_prediction_that_cannot_be_read_is_stored_unchecked(fresh: RunningApp) -> None:
    client = fresh.client(fresh.user)
    elsewhere = {"prediction_id": str(uuid7()), "label": "positive"}
    response = client.post("/feedback", json=elsewhere)
    assert (response.status_code, response.json()["checked"]) == (202, False)
    fresh.data_api.is_away = True
    response = client.post("/feedback", json=elsewhere)
    assert (response.status_code, response.json()["checked"]) == (202, False)
