"""POST /predict and POST /feedback with an Idempotency-Key: done once, with one response."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from uuid_utils.compat import uuid4

from tests.ai.routes.http_errors import MARK, assert_error
from tests.ai.support.app import RunningApp, running
from tests.ai.support.drawn import plain

ROW, OTHER = {"text": "late again, thanks"}, {"text": "what a day"}
BODY = {"task": "tweets", "inputs": [ROW, OTHER]}


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": f"key-{uuid4()}"}


def assert_replayed(first: httpx.Response, again: httpx.Response) -> None:
    assert first.is_success
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


def stored_for(service: RunningApp, kind: str, response: httpx.Response) -> list[dict[str, Any]]:
    """The rows that the request with this response left at data-api."""
    service.drain()
    return [
        row for row in service.data_api.sent[kind].values() if row["request_id"] == response.headers["x-request-id"]
    ]


@pytest.mark.parametrize(
    ("path", "sent", "predictions"),
    [
        ("/predict", {"json": BODY}, 2),
        ("/predict/tweets", {"json": ROW}, 1),
        ("/predict/tweets?version=1", {"json": ROW}, 1),
        ("/predict/tweets", {"data": ROW}, 1),
        ("/predict/products", {"files": {"image": ("a.png", plain("red"))}, "data": {"designation": "shirt"}}, 1),
    ],
    ids=["rows", "row", "version", "form", "image"],
)
def test_a_repeated_prediction_is_made_once(
    service: RunningApp, user: httpx.Client, key: dict[str, str], path: str, sent: Mapping[str, Any], predictions: int
) -> None:
    first = user.post(path, headers=key, **sent)
    assert len(first.json()["predictions"]) == predictions
    assert set(first.json()) == {"task", "version", "predictions", "timing"}
    assert len(stored_for(service, "predictions", first)) == predictions
    again = user.post(path, headers=key, **sent)  # after its rows have been sent to data-api
    assert_replayed(first, again)
    assert stored_for(service, "predictions", again) == []


def test_a_response_with_a_key_is_that_without_one(user: httpx.Client, key: dict[str, str]) -> None:
    with_key, without = user.post("/predict", json=BODY, headers=key), user.post("/predict", json=BODY)
    for one, other in zip(with_key.json()["predictions"], without.json()["predictions"], strict=True):
        assert one | {"prediction_id": ""} == other | {"prediction_id": ""}
    assert with_key.headers["content-type"] == without.headers["content-type"]


def test_repeated_feedback_is_stored_once(service: RunningApp, user: httpx.Client, key: dict[str, str]) -> None:
    id_ = user.post("/predict", json=BODY).json()["predictions"][0]["prediction_id"]
    body = {"prediction_id": id_, "label": "negative"}
    first = user.post("/feedback", json=body, headers=key)
    assert first.status_code == 202
    again = user.post("/feedback", json=body, headers=key)
    assert_replayed(first, again)
    (stored,) = stored_for(service, "feedback", first)
    assert stored["id"] == again.json()["feedback_id"]
    assert stored_for(service, "feedback", again) == []
    assert_error(user.post("/feedback", json={**body, "comment": MARK}, headers=key), 409, "KeyReused")


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("/predict/tweets", {"text": MARK}),
        ("/predict/tweets?version=1", ROW),
    ],
)
def test_another_request_under_the_key_is_refused(
    user: httpx.Client, key: dict[str, str], path: str, other: object
) -> None:
    assert user.post("/predict/tweets", json=ROW, headers=key).status_code == 200
    assert_error(user.post(path, json=other, headers=key), 409, "KeyReused")


def test_a_key_belongs_to_one_caller_and_call(service: RunningApp, user: httpx.Client, key: dict[str, str]) -> None:
    first = user.post("/predict/tweets", json=ROW, headers=key)
    for response in (
        service.client(service.add_user()).post("/predict/tweets", json=ROW, headers=key),
        user.post("/predict", json={"task": "tweets", "inputs": ROW}, headers=key),
        user.post("/predict/tweets", json=ROW),
    ):
        assert response.status_code == 200
        assert "idempotency-replayed" not in response.headers
        assert response.json()["predictions"] != first.json()["predictions"]


def test_a_refused_request_does_not_use_up_its_key(user: httpx.Client, key: dict[str, str]) -> None:
    assert_error(user.post("/predict/tweets?version=999", json=ROW, headers=key), 404, "UnknownVersion")
    assert user.post("/predict/tweets", json=ROW, headers=key).status_code == 200


@pytest.mark.parametrize("value", ["", "short", "x" * 201])
def test_a_key_that_is_too_short_or_too_long_is_refused(user: httpx.Client, value: str) -> None:
    response = user.post("/predict/tweets", json=ROW, headers={"Idempotency-Key": value})
    assert_error(response, 422, "InvalidRequest")


def test_a_full_outbox_refuses_new_requests_and_not_repetitions(tmp_path: Path, key: dict[str, str]) -> None:
    with running(tmp_path, outbox_max_rows=1) as service:
        user = service.client(service.user)
        service.data_api.is_away = True
        first = user.post("/predict/tweets", json=ROW, headers=key)
        assert_error(user.post("/predict/tweets", json=OTHER), 503, "OutboxFull")
        assert_replayed(first, user.post("/predict/tweets", json=ROW, headers=key))
