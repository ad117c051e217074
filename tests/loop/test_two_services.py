"""What needs both services and the real registry: callers that data-api manages, and versions that MLflow holds."""

from __future__ import annotations

import httpx
import psycopg
import pytest

from tests.loop.people import PASSWORD, Person, admin, sign_up
from tests.loop.volant import Volant
from tests.waiting import until

ROW = {"text": "late again, thanks"}
BODY = {"task": "tweets", "inputs": ROW}


@pytest.fixture(scope="module")
def caller(small: Volant) -> Person:
    return Person(small, api_key=small.key)


def test_a_signed_in_user_predicts_and_corrects_and_data_api_stores_both(small: Volant) -> None:
    user = sign_up(small, "plain@example.org")
    (prediction,) = user.http.post("/predict", json=BODY).json()["predictions"]
    truth = {"prediction_id": prediction["prediction_id"], "label": "negative"}
    taken = user.http.post("/feedback", json=truth)
    assert (taken.status_code, taken.json()["checked"]) == (202, True)
    assert user.http.post("/retrain", json={"task": "tweets"}).status_code == 403
    small.drained()
    assert small.metric("volant_predictions_total", task="tweets") > 0
    with psycopg.connect(small.conninfo) as connection:
        joined = connection.execute(
            "select predictions.row->>'text', feedback.label from predictions"
            " join feedback on feedback.prediction_id = predictions.id where predictions.id = %s",
            [prediction["prediction_id"]],
        ).fetchall()
    assert joined == [(ROW["text"], "negative")]


def test_models_show_what_serves_where_it_came_from_and_what_a_row_is(small: Volant, caller: Person) -> None:
    shown = {model["task"]: model for model in caller.http.get("/models").json()}
    assert set(shown) == {"tweets", "housing", "products", "wine"}
    assert shown["housing"]["row"]["properties"]["MedInc"]["examples"] == [8.3252]
    detail = caller.http.get("/models/housing").json()
    assert detail["serving"]["synthetic"] in (False, small.mirror is None)  # without a mirror, as the network is
    assert detail["versions"][-1]["aliases"] or len(detail["versions"]) > 1
    assert any("baseline" in name for name in detail["versions"][0]["metrics"])


def test_a_disabled_user_and_a_revoked_key_are_refused_after_the_next_snapshot(small: Volant) -> None:
    user = sign_up(small, "leaving@example.org")
    made = httpx.post(
        f"{small.data_url}/api-keys", json={"name": "app", "scopes": ["predict"]}, headers=user.headers, trust_env=False
    ).json()
    app = Person(small, api_key=made["key"])
    until(lambda: app.http.post("/predict", json=BODY).status_code == 200, "the new key to be known")
    httpx.delete(f"{small.data_url}/api-keys/{made['id']}", headers=user.headers, trust_env=False).raise_for_status()
    until(lambda: app.http.post("/predict", json=BODY).status_code == 401, "the revoked key to be refused")

    id_ = httpx.get(f"{small.data_url}/users/me", headers=user.headers, trust_env=False).json()["id"]
    httpx.patch(
        f"{small.data_url}/users/{id_}", json={"disabled": True}, headers=admin(small).headers, trust_env=False
    ).raise_for_status()
    until(lambda: user.http.post("/predict", json=BODY).status_code == 401, "the disabled user to be refused")
    again = {"username": "leaving@example.org", "password": PASSWORD}
    assert httpx.post(f"{small.data_url}/auth/token", data=again, trust_env=False).status_code == 401
