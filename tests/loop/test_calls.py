"""What a caller of ai-api meets: answers as documented, and errors that say what to do and never repeat the input."""

from __future__ import annotations

import time
import uuid
from typing import Any, cast

import httpx
import jwt
import pytest
import schemathesis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from tests.fuzz import fuzz
from tests.loop.people import PASSWORD, Person, admin, sign_up, token
from tests.loop.volant import Volant
from tests.traffic import until

MARK = "zebra-4711"
"""Stands in every bad input; must stand in no error."""
CHECKS = [not_a_server_error, status_code_conformance]
ROW = {"text": "late again, thanks"}


@pytest.fixture(scope="module")
def caller(small: Volant) -> Person:
    return Person(small, api_key=small.key)


def assert_error(answer: httpx.Response, status: int, name: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error", "detail", "request_id"}
    assert body["request_id"] == answer.headers["x-request-id"]
    assert MARK not in answer.text
    assert "Traceback" not in answer.text
    if name:
        assert body["error"] == name


def test_a_row_is_answered_with_an_id_a_label_and_the_time_it_took(caller: Person) -> None:
    answer = caller.http.post("/predict", json={"task": "tweets", "inputs": ROW}, headers={"X-Request-ID": "mine-1"})
    body = answer.json()
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "mine-1")
    (prediction,) = body["predictions"]
    assert uuid.UUID(prediction["prediction_id"]).version == 7
    assert prediction["label"] in prediction["probabilities"]
    assert prediction["score"] == max(prediction["probabilities"].values())
    assert set(body["timing"]) == {"queue_ms", "compute_ms", "total_ms"}


def test_one_row_can_be_sent_as_json_or_as_a_form_to_the_tasks_own_address(caller: Person) -> None:
    by_json = caller.http.post("/predict/tweets", json=ROW).json()["predictions"][0]
    by_form = caller.http.post("/predict/tweets", data=ROW).json()["predictions"][0]
    by_parts = caller.http.post("/predict/tweets", files={"text": (None, ROW["text"])}).json()["predictions"][0]
    assert by_json["probabilities"] == by_form["probabilities"] == by_parts["probabilities"]


def test_a_regression_gives_a_value_and_takes_one_as_correction(caller: Person) -> None:
    house = {
        "MedInc": 8,
        "HouseAge": 41,
        "AveRooms": 7,
        "Population": 322,
        "AveOccup": 2.5,
        "Latitude": 37.9,
        "Longitude": -122.2,
    }
    (prediction,) = caller.http.post("/predict", json={"task": "housing", "inputs": [house]}).json()["predictions"]
    assert isinstance(prediction["value"], float)
    id_ = prediction["prediction_id"]
    assert_error(caller.http.post("/feedback", json={"prediction_id": id_, "label": MARK}), 422, "InvalidFeedback")
    taken = caller.http.post("/feedback", json={"prediction_id": id_, "value": 4.5, "comment": "sold"})
    assert (taken.status_code, taken.json()["checked"]) == (202, True)


def test_a_version_can_be_asked_for_by_number_and_by_alias(caller: Person) -> None:
    number = caller.http.get("/models/tweets").json()["serving"]["version"]
    for version in (number, str(number), "champion"):
        answer = caller.http.post("/predict", json={"task": "tweets", "inputs": ROW, "version": version})
        assert answer.json()["version"] == number


def test_models_show_what_serves_where_it_came_from_and_what_a_row_is(caller: Person) -> None:
    shown = {model["task"]: model for model in caller.http.get("/models").json()}
    assert set(shown) == {"tweets", "housing"}
    assert shown["housing"]["row"]["properties"]["MedInc"]["examples"] == [8.3252]
    detail = caller.http.get("/models/housing").json()
    assert detail["serving"]["synthetic"] is False
    assert detail["versions"][-1]["aliases"] or len(detail["versions"]) > 1
    assert any("baseline" in name for name in detail["versions"][0]["metrics"])


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
        (b'{"task": "housing", "inputs": {"MedInc": NaN, "HouseAge": Infinity}}', 422, "InvalidRow"),
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
    caller: Person, body: bytes, status: int, error: str | None
) -> None:
    answer = caller.http.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert_error(answer, status, error)


def test_a_body_without_a_length_is_cut_off_at_the_bound(caller: Person) -> None:
    def endless() -> object:
        for _ in range(200):
            yield b"a" * 100_000

    assert_error(caller.http.post("/predict", content=endless()), 413, "TooLarge")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "/predict/tweets", {"text": 5, MARK: 1}, 422, "InvalidRow"),
        ("POST", f"/predict/{MARK}", ROW, 404, "UnknownTask"),
        ("GET", f"/{MARK}", None, 404, "NotFound"),
        ("GET", "/predict", None, 405, "MethodNotAllowed"),
        ("POST", "/retrain", {"task": MARK}, 404, "UnknownTask"),
        ("POST", "/retrain", {"task": "tweets", "recipe": MARK}, 404, "UnknownRecipe"),
        ("POST", "/retrain", {"task": "tweets", "params": {MARK: 1}}, 422, "InvalidParams"),
        ("GET", "/jobs/4711000", None, 404, "UnknownJob"),
        ("GET", "/jobs/4711000/events", None, 404, "UnknownJob"),
        ("DELETE", "/jobs/4711000", None, 404, "UnknownJob"),
        ("GET", f"/jobs/{MARK}", None, 422, "InvalidRequest"),
        ("GET", f"/models/{MARK}", None, 404, "UnknownTask"),
        ("POST", "/models/tweets/promote", {"version": 4711, "reason": "try"}, 404, "UnknownVersion"),
        ("POST", "/models/tweets/promote", {"version": 1}, 422, "InvalidRequest"),
        ("POST", "/feedback", {"prediction_id": MARK, "label": "positive"}, 422, "InvalidRequest"),
        ("POST", "/feedback", {"prediction_id": str(uuid.uuid4()), "label": "positive"}, 404, "UnknownPrediction"),
    ],
)
def test_other_bad_calls_are_refused_as_documented(
    caller: Person, method: str, path: str, body: dict[str, object] | None, status: int, error: str
) -> None:
    assert_error(caller.http.request(method, path, json=body), status, error)


def test_feedback_with_an_unknown_label_or_about_another_persons_answer_is_refused(
    small: Volant, caller: Person
) -> None:
    id_ = caller.http.post("/predict", json={"task": "tweets", "inputs": ROW}).json()["predictions"][0]["prediction_id"]
    assert_error(caller.http.post("/feedback", json={"prediction_id": id_, "label": MARK}), 422, "InvalidFeedback")
    assert_error(caller.http.post("/feedback", json={"prediction_id": id_, "value": 1.0}), 422, "InvalidFeedback")
    assert_error(caller.http.post("/feedback", json={"prediction_id": id_}), 422, "InvalidRequest")
    other = sign_up(small, "other@example.org")
    assert_error(other.http.post("/feedback", json={"prediction_id": id_, "label": "positive"}), 403, "NotAllowed")


def test_a_plain_user_may_predict_but_not_train_or_promote(small: Volant) -> None:
    user = sign_up(small, "plain@example.org")
    assert user.http.post("/predict", json={"task": "tweets", "inputs": ROW}).status_code == 200
    assert_error(user.http.post("/retrain", json={"task": "tweets"}), 403, "NotAllowed")
    assert_error(user.http.post("/models/tweets/rollback", json={"reason": "no"}), 403, "NotAllowed")


def forged(small: Volant, signing: bytes | None = None, **changes: object) -> str:
    """A token as data-api makes it, but for `changes` and the key."""
    key = Ed25519PrivateKey.from_private_bytes(signing or bytes.fromhex(small.secret("signing_key")))
    now = int(time.time())
    real = token(small, "admin@volant.local", small.secret("admin_password"))
    claims = jwt.decode(real, options={"verify_signature": False}) | {"iat": now, "nbf": now, "exp": now + 60} | changes
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": jwt.get_unverified_header(real)["kid"]})


def test_expired_forged_and_foreign_tokens_are_refused(small: Volant) -> None:
    body = {"task": "tweets", "inputs": ROW}
    good = Person(small, token=forged(small))
    assert good.http.post("/predict", json=body).status_code == 200
    bad = [
        forged(small, exp=int(time.time()) - 5),
        forged(small, aud="somebody else"),
        forged(small, signing=b"\x01" * 32),
        forged(small)[:-6] + "AAAAAA",
        MARK,
    ]
    for made in bad:
        assert_error(Person(small, token=made).http.post("/predict", json=body), 401, "NotSignedIn")
    assert_error(httpx.post(f"{small.url}/predict", json=body, trust_env=False), 401, "NotSignedIn")
    assert_error(Person(small, api_key=MARK).http.post("/predict", json=body), 401, "NotSignedIn")


def test_a_disabled_user_and_a_revoked_key_are_out_within_seconds(small: Volant) -> None:
    body = {"task": "tweets", "inputs": ROW}
    user = sign_up(small, "leaving@example.org")
    made = httpx.post(
        f"{small.data_url}/api-keys", json={"name": "app", "scopes": ["predict"]}, headers=user.headers, trust_env=False
    ).json()
    app = Person(small, api_key=made["key"])
    until(lambda: app.http.post("/predict", json=body).status_code == 200, "the new key to be known", 10)
    httpx.delete(f"{small.data_url}/api-keys/{made['id']}", headers=user.headers, trust_env=False).raise_for_status()
    until(lambda: app.http.post("/predict", json=body).status_code == 401, "the revoked key to be refused", 10)

    id_ = httpx.get(f"{small.data_url}/users/me", headers=user.headers, trust_env=False).json()["id"]
    httpx.patch(
        f"{small.data_url}/users/{id_}", json={"disabled": True}, headers=admin(small).headers, trust_env=False
    ).raise_for_status()
    until(lambda: user.http.post("/predict", json=body).status_code == 401, "the disabled user to be refused", 10)
    again = {"username": "leaving@example.org", "password": PASSWORD}
    assert httpx.post(f"{small.data_url}/auth/token", data=again, trust_env=False).status_code == 401


def test_health_and_documentation_ask_nobody_who_they_are_and_metrics_are_not_published(small: Volant) -> None:
    for path in ("/health/live", "/health/ready", "/docs", "/openapi.json"):
        assert httpx.get(small.url + path, trust_env=False).status_code == 200
    assert httpx.get(f"{small.url}/metrics", trust_env=False).status_code == 404
    assert small.metric("volant_predictions_total", task="tweets") > 0


def test_a_job_tells_its_progress_as_server_sent_events_to_its_end(small: Volant, caller: Person) -> None:
    small.idle()
    answer = caller.http.post("/retrain", json={"task": "housing", "recipe": "boosting"})
    assert answer.status_code == 202
    job = answer.json()["id"]
    assert_error(caller.http.post("/retrain", json={"task": "housing"}), 409, "JobRunning")
    with caller.http.stream("GET", f"/jobs/{job}/events", timeout=120) as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        kinds = [line.removeprefix("event: ") for line in events.iter_lines() if line.startswith("event: ")]
    assert kinds[-1] == "end"
    assert {"progress", "result"} <= set(kinds)
    assert caller.http.get(f"/jobs/{job}").json()["status"] == "succeeded"


def test_a_running_job_can_be_cancelled_and_nothing_of_it_serves(small: Volant, caller: Person) -> None:
    small.idle()
    before = caller.http.get("/models/tweets").json()["serving"]["version"]
    job = caller.http.post("/retrain", json={"task": "tweets", "recipe": "minilm+logreg"}).json()["id"]
    until(lambda: caller.http.get(f"/jobs/{job}").json()["status"] == "running", "the job to run", 60)
    assert caller.http.delete(f"/jobs/{job}").status_code == 202
    until(lambda: caller.http.get(f"/jobs/{job}").json()["status"] == "cancelled", "the job to be cancelled", 30)
    assert caller.http.get("/models/tweets").json()["serving"]["version"] == before


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
def test_a_batch_of_mixed_rows_gives_what_single_calls_give(
    caller: Person, batch: tuple[str, list[dict[str, object]]]
) -> None:
    task, rows = batch
    together = caller.http.post("/predict", json={"task": task, "inputs": rows}).json()["predictions"]
    for row, prediction in zip(rows, together, strict=True):
        (alone,) = caller.http.post("/predict", json={"task": task, "inputs": row}).json()["predictions"]
        if task == "tweets":
            assert alone["label"] == prediction["label"]
            assert alone["probabilities"] == pytest.approx(prediction["probabilities"], abs=1e-9)
        else:
            assert alone["value"] == pytest.approx(prediction["value"], abs=1e-9)


def test_no_call_of_the_document_makes_a_server_error(small: Volant) -> None:
    document = schemathesis.openapi.from_url(f"{small.url}/openapi.json")
    operations = [cast("Any", found).ok() for found in document.get_all_operations()]
    assert len(operations) >= 14
    for operation in operations:
        fuzz(operation, {"X-API-Key": small.key}, CHECKS, calls=8)
