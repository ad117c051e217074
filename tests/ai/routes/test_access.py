"""Who may call what: keys, tokens, scopes and roles, checked before the body is read."""

from __future__ import annotations

import time

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.ai.routes.http_errors import MARK, assert_error
from tests.ai.routes.test_predict import ROW
from tests.ai.support.app import RunningApp
from tests.waiting import until

BODY = {"task": "tweets", "inputs": ROW}


def test_a_user_may_predict_but_not_train_or_promote(user: httpx.Client) -> None:
    assert user.post("/predict", json=BODY).status_code == 200
    assert_error(user.post("/retrain", json={"task": "tweets"}), 403, "NotAllowed")
    assert_error(user.post("/models/tweets/promote", json={"version": 1, "reason": "no"}), 403, "NotAllowed")
    assert_error(user.post("/models/tweets/rollback", json={"reason": "no"}), 403, "NotAllowed")
    assert_error(user.delete("/jobs/1"), 403, "NotAllowed")


def test_a_key_may_do_only_what_its_scopes_allow(service: RunningApp) -> None:
    client = service.client(service.add_user("trainer", "predict"))
    assert client.post("/predict", json=BODY).status_code == 200
    assert_error(client.get("/models"), 403, "NotAllowed")
    assert_error(client.post("/feedback", json={"prediction_id": MARK}), 403, "NotAllowed")


def test_expired_forged_and_foreign_tokens_are_refused(service: RunningApp) -> None:
    token = service.data_api.token

    def bearer(token: str) -> httpx.Client:
        return service.client(Authorization=f"Bearer {token}")

    admin = service.add_user("admin")
    assert bearer(token(admin)).post("/predict", json=BODY).status_code == 200
    bad = [
        token(admin, exp=int(time.time()) - 5),
        token(admin, aud="somebody else"),
        token(admin, signing=Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)),
        token(admin)[:-6] + "AAAAAA",
        MARK,
    ]
    for refused in bad:
        assert_error(bearer(refused).post("/predict", json=BODY), 401, "NotSignedIn")
    response = service.client().post("/predict", json=BODY)
    assert_error(response, 401, "NotSignedIn")
    assert response.headers["www-authenticate"] == "Bearer"
    assert_error(service.client(X_API_Key=MARK).post("/predict", json=BODY), 401, "NotSignedIn")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/predict"),
        ("POST", "/predict/tweets"),
        ("POST", f"/predict/{MARK}"),
        ("POST", "/feedback"),
        ("POST", "/retrain"),
        ("GET", "/jobs"),
        ("GET", "/jobs/1"),
        ("GET", "/jobs/1/events"),
        ("DELETE", "/jobs/1"),
        ("GET", "/models"),
        ("GET", "/models/tweets"),
        ("POST", "/models/tweets/promote"),
        ("POST", "/models/tweets/rollback"),
        ("GET", f"/pictures/{'0' * 64}"),
    ],
)
def test_every_call_but_health_and_documentation_needs_a_key(service: RunningApp, method: str, path: str) -> None:
    assert_error(service.client().request(method, path, json={}), 401, "NotSignedIn")


def test_health_and_documentation_need_no_key_and_metrics_are_not_published(service: RunningApp) -> None:
    anonymous = service.client()
    for path in ("/health/live", "/health/ready", "/docs", "/openapi.json"):
        assert anonymous.get(path).status_code == 200
    assert anonymous.get("/metrics").status_code == 404


def test_callers_cannot_be_checked_by_a_snapshot_that_is_too_old(fresh: RunningApp) -> None:
    client = fresh.client(fresh.user)
    fresh.context.callers._stale_seconds = 0
    assert_error(client.post("/predict", json=BODY), 503, "IdentityUnavailable")
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)


def test_an_erased_person_is_refused_and_their_rows_leave_this_instance(queued: RunningApp) -> None:
    client = queued.client(queued.user)
    assert client.post("/predict", json=BODY).status_code == 200
    queued.data_api.erase(queued.user)
    queued.refresh()
    assert_error(client.post("/predict", json=BODY), 401, "NotSignedIn")

    def is_reported() -> bool:
        return any(path.startswith("/erasures/") for _, path in queued.data_api.requests)

    until(is_reported, "the erasure to be reported")


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [("GET", f"/{MARK}", 404, "NotFound"), ("GET", "/predict", 405, "MethodNotAllowed")],
)
def test_unknown_addresses_and_methods_are_refused_as_documented(
    trainer: httpx.Client, method: str, path: str, status: int, error: str
) -> None:
    assert_error(trainer.request(method, path), status, error)
