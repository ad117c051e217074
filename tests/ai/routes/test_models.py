"""GET /models, promote and rollback."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from tests.ai.routes.http_errors import MARK, assert_error
from tests.ai.routes.test_predict import ROW
from tests.ai.support.app import RunningApp
from tests.waiting import until


def serving(client: httpx.Client, task: str = "tweets") -> int:
    number: int = client.get(f"/models/{task}").json()["serving"]["version"]
    return number


def test_models_show_the_champion_its_metrics_and_what_a_row_is(trainer: httpx.Client) -> None:
    shown = {model["task"]: model for model in trainer.get("/models").json()}
    assert set(shown) == {"tweets", "housing", "products"}
    assert shown["housing"]["row"]["properties"]["MedInc"]["examples"] == [8.3252]
    champion = shown["tweets"]["serving"]
    assert (champion["version"], champion["recipe"], champion["synthetic"]) == (1, "tfidf+logreg", False)
    assert (champion["queued_rows"], shown["tweets"]["refused"]) == (0, None)
    detail = trainer.get("/models/tweets").json()
    assert [version["number"] for version in detail["versions"]] == [2, 1]
    assert [version["aliases"] for version in detail["versions"]] == [[], ["champion"]]
    assert detail["versions"][0]["labels"] == ["negative", "neutral", "positive"]


def test_users_do_not_see_who_trained_a_version_of_an_earlier_release(fresh: RunningApp) -> None:
    version = fresh.registry.versions("tweets")[0]
    version.lineage["actor"] = fresh.trainer.id
    try:
        seen = [fresh.client(person).get("/models/tweets").json() for person in (fresh.trainer, fresh.user)]
    finally:
        del version.lineage["actor"]  # the small models are shared
    lineages = [detail["versions"][0]["lineage"] for detail in seen]
    assert [lineage.get("actor") for lineage in lineages] == [fresh.trainer.id, None]


def test_versions_are_unknown_while_mlflow_does_not_respond(fresh: RunningApp) -> None:
    client = fresh.client(fresh.user)
    fresh.registry.is_away = True
    detail = client.get("/models/tweets").json()
    assert (detail["serving"]["version"], detail["versions"]) == (1, None)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", f"/models/{MARK}", None, 404, "UnknownTask"),
        ("POST", f"/models/{MARK}/promote", {"version": 1, "reason": "try"}, 404, "UnknownTask"),
        ("POST", f"/models/{MARK}/rollback", {"reason": "try"}, 404, "UnknownTask"),
        ("POST", "/models/tweets/promote", {"version": 4711, "reason": "try"}, 404, "UnknownVersion"),
        ("POST", "/models/tweets/promote", {"version": 1}, 422, "InvalidRequest"),
        ("POST", "/models/tweets/rollback", {}, 422, "InvalidRequest"),
    ],
)
def test_bad_calls_are_refused_as_documented(
    trainer: httpx.Client, method: str, path: str, body: dict[str, object] | None, status: int, error: str
) -> None:
    assert_error(trainer.request(method, path, json=body), status, error)


def test_a_promotion_and_a_rollback_move_the_champion_and_are_recorded(queued: RunningApp) -> None:
    client = queued.client(queued.trainer)
    wrong = client.post("/models/tweets/promote", json={"version": 2, "expected": 2, "reason": "guess"})
    assert_error(wrong, 409, "Conflict")
    done = client.post("/models/tweets/promote", json={"version": 2, "expected": 1, "reason": "by hand"})
    assert done.json() == {"task": "tweets", "version": 2, "previous": 1}
    until(lambda: serving(client) == 2, "the promoted version to serve")
    again = client.post("/models/tweets/promote", json={"version": 2, "expected": 2, "reason": "again"})
    assert again.json() == {"task": "tweets", "version": 2, "previous": 2}

    back = client.post("/models/tweets/rollback", json={"reason": "only a try"})
    assert back.json() == {"task": "tweets", "version": 1, "previous": 2}
    until(lambda: serving(client) == 1, "the previous version to serve")
    assert_error(client.post("/models/tweets/rollback", json={"reason": "once more"}), 409, "Conflict")
    queued.drain()
    events = [
        (event["action"], event["version"], event["previous"], event["reason"], event["actor"])
        for event in queued.data_api.sent["promotions"].values()
    ]
    assert events == [
        ("promote", 2, 1, "by hand", queued.trainer.id),
        ("rollback", 1, 2, "only a try", queued.trainer.id),
    ]


def test_nothing_is_promoted_while_the_outbox_is_full(queued: RunningApp) -> None:
    client = queued.client(queued.trainer)
    queued.context.outbox.max_rows = 0
    body = {"version": 2, "expected": 1, "reason": "by hand"}
    assert_error(client.post("/models/tweets/promote", json=body), 503, "OutboxFull")
    assert_error(client.post("/models/tweets/rollback", json={"reason": "back"}), 503, "OutboxFull")
    assert queued.registry.champion("tweets") == 1


def test_nothing_is_promoted_while_the_queue_with_its_lock_is_unavailable(fresh: RunningApp) -> None:
    client = fresh.client(fresh.trainer)
    body = {"version": 2, "expected": 1, "reason": "by hand"}
    assert_error(client.post("/models/tweets/promote", json=body), 503, "QueueUnavailable")
    assert fresh.registry.champion("tweets") == 1


def test_a_champion_that_fails_its_check_is_shown_with_the_reason(fresh: RunningApp) -> None:
    client, registry = fresh.client(fresh.user), fresh.registry
    housing = registry.models[3]  # its sample does not fit the rows of tweets
    registry.add(replace(housing, version=replace(housing.version, task="tweets", number=9)), champion=True)
    until(lambda: client.get("/models/tweets").json()["refused"], "the version to be refused")
    shown = client.get("/models/tweets").json()
    assert shown["serving"]["version"] == 1
    assert shown["refused"]["version"] == 9


def test_a_version_without_a_signature_is_promoted_by_an_admin_only_which_signs_it(queued: RunningApp) -> None:
    registry, body = queued.registry, {"version": 2, "expected": 1, "reason": "made elsewhere"}
    registry.unsigned = {registry.models[2].version.digest}
    trainer, admin = queued.client(queued.trainer), queued.client(queued.add_user("admin"))
    assert trainer.get("/models/tweets").json()["versions"][0]["signed_by"] is None
    assert_error(trainer.post("/predict", json={"task": "tweets", "inputs": ROW, "version": 2}), 409, "ModelRefused")
    assert_error(trainer.post("/models/tweets/promote", json=body), 403, "NotAllowed")
    assert registry.champion("tweets") == 1
    assert admin.post("/models/tweets/promote", json=body).status_code == 200
    shown = trainer.get("/models/tweets").json()["versions"][0]
    assert shown["signed_by"] == "admin", "without the admin's id"
    until(lambda: serving(trainer) == 2, "the signed version to serve")


def test_a_champion_that_was_moved_in_mlflow_stands_in_the_history_as_made_there(queued: RunningApp) -> None:
    registry = queued.registry
    registry.recorded["tweets"], registry.aliases["tweets"] = 1, 2
    until(lambda: serving(queued.client(queued.user)) == 2, "the version to serve")
    until(lambda: registry.recorded["tweets"] == 2, "the move to be recorded")
    del registry.aliases["tweets"]
    until(lambda: registry.recorded["tweets"] is None, "the removal to be recorded")
    queued.drain()
    events = [
        (event["action"], event["version"], event["previous"], event["reason"], event["actor"])
        for event in queued.data_api.sent["promotions"].values()
    ]
    assert events == [
        ("promote", 2, 1, "The alias was moved in MLflow.", "mlflow"),
        ("remove", 2, None, "The alias was removed in MLflow.", "mlflow"),
    ]
