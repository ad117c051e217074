"""POST /predict and /predict/{task}: responses as documented, and errors that never repeat the input."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_api.images import decoding
from ai_api.images.reference import PixelBudget
from tests.ai.routes.http_errors import MARK, assert_error
from tests.ai.support.app import RunningApp, running
from tests.ai.support.drawn import plain

ROW = {"text": "late again, thanks"}
HOUSE = {
    "MedInc": 8,
    "HouseAge": 41,
    "AveRooms": 7,
    "Population": 322,
    "AveOccup": 2.5,
    "Latitude": 37.9,
    "Longitude": -122.2,
}


def test_a_prediction_has_an_id_a_label_and_the_time_it_took(trainer: httpx.Client) -> None:
    response = trainer.post("/predict", json={"task": "tweets", "inputs": ROW}, headers={"X-Request-ID": "mine-1"})
    body = response.json()
    assert (response.status_code, response.headers["x-request-id"]) == (200, "mine-1")
    (prediction,) = body["predictions"]
    assert uuid.UUID(prediction["prediction_id"]).version == 7
    assert prediction["label"] in prediction["probabilities"]
    assert prediction["score"] == max(prediction["probabilities"].values())
    assert set(body["timing"]) == {"queue_ms", "compute_ms", "total_ms"}


def test_a_prediction_is_stored_with_its_row_version_role_caller_and_request(
    service: RunningApp, trainer: httpx.Client
) -> None:
    body = {"task": "tweets", "inputs": [ROW, {"text": "sunny"}], "version": 1}
    predictions = trainer.post("/predict", json=body, headers={"X-Request-ID": "mine-2"}).json()["predictions"]
    service.drain()
    stored = [service.data_api.sent["predictions"][prediction["prediction_id"]] for prediction in predictions]
    assert [row["row"] for row in stored] == [ROW, {"text": "sunny"}]
    first = stored[0]
    assert (first["task"], first["version"], first["role"], first["rollout"]) == ("tweets", 1, "pinned", None)
    assert (first["user_id"], first["request_id"]) == (service.trainer.id, "mine-2")
    assert first["answer"] == {key: value for key, value in predictions[0].items() if key != "prediction_id"}
    assert set(first["timing"]) == {"queue_ms", "compute_ms"}
    assert first["run_id"] == "run 1"


def test_one_row_can_be_sent_as_json_or_as_a_form_to_the_tasks_own_address(trainer: httpx.Client) -> None:
    by_json = trainer.post("/predict/tweets", json=ROW).json()["predictions"][0]
    by_form = trainer.post("/predict/tweets", data=ROW).json()["predictions"][0]
    by_parts = trainer.post("/predict/tweets", files={"text": (None, ROW["text"])}).json()["predictions"][0]
    assert by_json["probabilities"] == by_form["probabilities"] == by_parts["probabilities"]


def test_a_regression_predicts_a_value(trainer: httpx.Client) -> None:
    (prediction,) = trainer.post("/predict", json={"task": "housing", "inputs": [HOUSE]}).json()["predictions"]
    assert isinstance(prediction["value"], float)
    assert set(prediction) == {"prediction_id", "value"}


def test_a_version_can_be_asked_for_by_number_and_by_alias(trainer: httpx.Client) -> None:
    number = trainer.get("/models/tweets").json()["serving"]["version"]
    for version in (number, str(number), "champion"):
        response = trainer.post("/predict", json={"task": "tweets", "inputs": ROW, "version": version})
        assert response.json()["version"] == number
    assert trainer.post("/predict/tweets?version=2", json=ROW).json()["version"] == 2


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"{" + MARK.encode(), 422, "InvalidRequest"),
        (b"\xff\xfe" + MARK.encode(), 422, "InvalidRequest"),
        (b"[" * 100_000, 422, "InvalidRequest"),
        (b'"zebra-4711"', 422, "InvalidRequest"),
        (b'{"task": "tweets"}', 422, "InvalidRequest"),
        (b'{"task": "tweets", "inputs": []}', 422, "InvalidRow"),
        (b'{"task": "tweets", "inputs": "zebra-4711"}', 422, "InvalidRequest"),
        (b'{"task": "tweets", "inputs": {"text": 4711}}', 422, "InvalidRow"),
        (b'{"task": "tweets", "inputs": {"text": ""}}', 422, "InvalidRow"),
        (b'{"task": "tweets", "inputs": {"zebra-4711": "a"}}', 422, "InvalidRow"),
        (b'{"task": "tweets", "inputs": {"text": "a", "zebra-4711": "a"}}', 422, "InvalidRow"),
        (b'{"task": "tweets", "inputs": {"text": "zebra-4711 \\u0000"}}', 422, "InvalidRow"),
        (b'{"task": "tweets", "inputs": {"text": "zebra-4711 \\ud800"}}', 422, None),
        (b'{"task": "tweets", "inputs": {"text": "a"}, "zebra-4711": 1}', 422, "InvalidRequest"),
        (b'{"task": "housing", "inputs": {"MedInc": "zebra-4711"}}', 422, "InvalidRow"),
        (b'{"task": "housing", "inputs": {"MedInc": NaN, "HouseAge": Infinity}}', 422, "InvalidRequest"),
        (b'{"task": "housing", "inputs": {"MedInc": 1e400}}', 422, "InvalidRow"),
        (b'{"task": "zebra-4711", "inputs": {"text": "a"}}', 404, "UnknownTask"),
        (b'{"task": "tweets", "inputs": {"text": "a"}, "version": 4711}', 404, "UnknownVersion"),
        (b'{"task": "tweets", "inputs": {"text": "a"}, "version": -1}', 404, "UnknownVersion"),
        (b'{"task": "tweets", "inputs": {"text": "a"}, "version": "zebra-4711"}', 404, "UnknownVersion"),
        (b'{"task": "tweets", "inputs": {"text": "a"}, "version": [1]}', 422, "InvalidRequest"),
        (b'{"task": "tweets", "inputs": [' + b'{"text": "zebra-4711"},' * 1_000 + b'{"text": "a"}]}', 413, "TooLarge"),
        (b'{"task": "tweets", "inputs": {"text": "zebra-4711' + b"a" * 17_000_000 + b'"}}', 413, "TooLarge"),
    ],
)
def test_a_bad_prediction_request_is_refused_as_documented(
    trainer: httpx.Client, body: bytes, status: int, error: str | None
) -> None:
    response = trainer.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert_error(response, status, error)


def test_a_body_without_a_length_is_cut_off_at_the_bound(trainer: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b"a" * 100_000

    assert_error(trainer.post("/predict", content=endless()), 413, "TooLarge")


@pytest.mark.parametrize(
    ("path", "row", "status", "error"),
    [
        ("/predict/tweets", {"text": 5, MARK: 1}, 422, "InvalidRow"),
        (f"/predict/{MARK}", ROW, 404, "UnknownTask"),
        (f"/predict/tweets?version={MARK}", ROW, 404, "UnknownVersion"),
    ],
)
def test_a_bad_row_at_a_tasks_own_address_is_refused_as_documented(
    trainer: httpx.Client, path: str, row: dict[str, object], status: int, error: str
) -> None:
    assert_error(trainer.post(path, json=row), status, error)


def test_a_full_outbox_refuses_predictions_and_a_full_queue_refuses_rows(service: RunningApp) -> None:
    client, outbox = service.client(service.trainer), service.context.outbox
    bound, outbox.max_rows = outbox.max_rows, 0
    response = client.post("/predict", json={"task": "tweets", "inputs": ROW})
    assert_error(response, 503, "OutboxFull")
    assert response.headers["retry-after"] == "5"
    outbox.max_rows = bound

    live = service.context.loader.serving("tweets")
    assert live is not None
    capacity, live.batcher._capacity = live.batcher._capacity, 1
    response = client.post("/predict", json={"task": "tweets", "inputs": [ROW, ROW]})
    assert_error(response, 429, "Overloaded")
    assert response.headers["retry-after"] == "1"
    live.batcher._capacity = capacity


numbers = st.floats(0, 100, allow_nan=False).map(lambda number: round(number, 6))
houses = st.fixed_dictionaries(
    dict.fromkeys(("MedInc", "HouseAge", "AveRooms", "Population", "AveOccup"), numbers)
    | {"AveBedrms": st.none() | numbers, "Latitude": st.floats(-90, 90), "Longitude": st.floats(-180, 180)}
)
tweets = st.fixed_dictionaries(
    {"text": st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=300)}
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    batch=st.one_of(
        st.tuples(st.just("tweets"), st.lists(tweets, min_size=1, max_size=6)),
        st.tuples(st.just("housing"), st.lists(houses, min_size=1, max_size=6)),
    )
)
def test_predictions_of_a_batch_equal_those_of_single_rows(
    trainer: httpx.Client, batch: tuple[str, list[dict[str, object]]]
) -> None:
    task, rows = batch
    batched = trainer.post("/predict", json={"task": task, "inputs": rows}).json()["predictions"]
    for row, prediction in zip(rows, batched, strict=True):
        (single,) = trainer.post("/predict", json={"task": task, "inputs": row}).json()["predictions"]
        if task == "tweets":
            assert single["label"] == prediction["label"]
            assert single["probabilities"] == pytest.approx(prediction["probabilities"], abs=1e-9)
        else:
            assert single["value"] == pytest.approx(prediction["value"], abs=1e-9)


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[RunningApp]:
    """An app in which a user may have ten tokens predicted a minute."""
    with running(tmp_path, caller_cost=10) as started:
        yield started


def test_a_caller_over_its_limit_is_told_which_and_how_long_to_wait_and_others_are_served(limited: RunningApp) -> None:
    greedy, other = limited.client(limited.user), limited.client(limited.add_user())
    body = {"task": "tweets", "inputs": [ROW] * 10}
    assert greedy.post("/predict", json=body).status_code == 200
    refused = greedy.post("/predict", json=body)
    assert_error(refused, 429, "LimitReached")
    assert "AI_CALLER_COST" in refused.json()["detail"]
    assert 200 < int(refused.headers["Retry-After"]) <= 246
    assert other.post("/predict", json=body).status_code == 200


def test_images_with_too_many_pixels_in_one_call_are_refused(
    trainer: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"designation": "shoe", "image": base64.b64encode(plain(size=(60, 80))).decode()}
    monkeypatch.setattr(decoding, "PixelBudget", partial(PixelBudget, 2 * 60 * 80))
    assert trainer.post("/predict", json={"task": "products", "inputs": [row] * 2}).status_code == 200
    refused = trainer.post("/predict", json={"task": "products", "inputs": [row] * 3})
    assert_error(refused, 413, "TooLarge")
    assert "million pixels" in refused.json()["detail"]


def test_a_text_whose_normal_form_is_much_longer_is_refused_with_its_place(trainer: httpx.Client) -> None:
    row = {"designation": "shoe", "description": "\ufdfa" * 50_000}
    refused = trainer.post("/predict", json={"task": "products", "inputs": [row] * 12})
    assert_error(refused, 422, "InvalidRow")
    assert "inputs.0.description" in refused.json()["detail"]
