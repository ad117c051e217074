"""The loop: corrections of wrong predictions train a better version, which serves; false corrections do not."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ai_api.datasets import Table, is_held_out, is_within
from ai_api.sources import Source
from ai_api.tasks import find_tasks
from tests.loop.people import Person, sign_up
from tests.loop.volant import Volant
from tests.traffic import Traffic, stored
from tests.waiting import until

ROWS = {"tweets": 12_000, "housing": 4_000}
"""Rows that users send in one round of the loop of a campaign; the starter was not trained on them."""
QUICK_ROWS = 1_500
"""Enough for a better version when the starter was trained on a twentieth of the rows."""
CONFIRMS = {"tweets": True, "housing": False}
"""Whether users also confirm right predictions."""
FALSE_CORRECTIONS = 1_000
"""Predictions that one user corrects wrongly."""


def unseen(task: str, stack: Volant, seed: int, rows: int) -> Table:
    """Rows of real use with their truths: from the training part, but outside the share that the starter used."""
    share = float(stack.settings["AI_TRAIN_SHARE"])
    table = find_tasks()[task].load(Source(stack.raw_dir, stack.mirror))
    official = table.official if table.official is not None else [is_held_out(digest) for digest in table.hashes]
    use = table.pick(
        not out and not is_within(digest, share) for out, digest in zip(official, table.hashes, strict=True)
    )
    chosen = set(random.Random(seed).sample(range(len(use)), min(rows, len(use))))
    return use.pick(place in chosen for place in range(len(use)))


def predict(person: Person, task: str, rows: Sequence[dict[str, object]]) -> list[dict[str, Any]]:
    """The predictions of all rows, in order."""
    predictions: list[dict[str, Any]] = []
    for start in range(0, len(rows), 500):
        response = person.http.post("/predict", json={"task": task, "inputs": rows[start : start + 500]})
        assert response.status_code == 200, response.text
        predictions += response.json()["predictions"]
    return predictions


def is_wrong(prediction: Mapping[str, Any], truth: object) -> bool:
    if "label" in prediction:
        return bool(prediction["label"] != truth)
    return bool(abs(prediction["value"] - float(str(truth))) > 0.25)


def correct(person: Person, prediction: Mapping[str, Any], truth: object) -> None:
    field = {"label": truth} if "label" in prediction else {"value": float(str(truth))}
    response = person.http.post("/feedback", json={"prediction_id": prediction["prediction_id"], **field})
    assert response.status_code == 202, response.text


def correct_all(person: Person, corrections: Sequence[tuple[Mapping[str, Any], object]]) -> None:
    """Sends the corrections, several at once."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda correction: correct(person, *correction), corrections))


def retrain(person: Person, task: str, **params: object) -> dict[str, Any]:
    """The ended job of one /retrain."""
    response = person.http.post("/retrain", json={"task": task, "params": params})
    assert response.status_code == 202, response.text
    job = response.json()["id"]

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = person.http.get(f"/jobs/{job}").json()
        return found if found["status"] in ("succeeded", "failed", "cancelled") else None

    found: dict[str, Any] = until(ended, f"job {job}", 240)
    assert found["status"] == "succeeded", found
    return found


def serving(person: Person, task: str) -> int:
    found: int = person.http.get(f"/models/{task}").json()["serving"]["version"]
    return found


def close_the_loop(volant: Volant, task: str, seed: int, rows: int) -> None:
    """A user predicts and corrects wrong predictions (and confirms right ones of tweets); a retraining is promoted."""
    trainer = Person(volant, api_key=volant.key)
    user = sign_up(volant, f"user-{task}-{seed}@example.org")
    before = serving(trainer, task)
    use = unseen(task, volant, seed, rows)
    predictions = predict(user, task, use.rows)
    wrong = 0
    corrections = []
    for prediction, truth in zip(predictions, use.truths, strict=True):
        wrong += is_wrong(prediction, truth)
        if is_wrong(prediction, truth) or CONFIRMS[task]:
            corrections.append((prediction, truth))
    correct_all(user, corrections)
    volant.drained()

    with Traffic(volant.url, volant.key, task, use.rows[:500]) as traffic:
        result = retrain(trainer, task, seed=seed)["result"]
        print(f"\n{task}, seed {seed}: {wrong} of {len(use)} predictions were wrong and corrected; {result['reason']}")
        assert result["promoted"], result
        assert result["version"] > before
        until(lambda: serving(trainer, task) == result["version"], "the new version to serve")
        until(lambda: traffic.ledger.versions[-1] == result["version"], "the client to meet the new version")

    assert traffic.ledger.failures == []
    assert traffic.ledger.versions == [before, result["version"]]
    volant.drained()
    in_postgres = stored(volant.conninfo, traffic.ledger)
    assert (in_postgres.found, in_postgres.twice, in_postgres.other_version) == (len(traffic.ledger.predicted), 0, 0)


def test_wrong_predictions_are_corrected_and_a_better_version_serves(small: Volant) -> None:
    small.idle()
    close_the_loop(small, "housing", seed=1, rows=QUICK_ROWS)


@pytest.mark.campaign(part="loops")
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("task", ["housing", "tweets"])
def test_the_loop_closes_for_every_task_and_seed(fresh_third: Volant, task: str, seed: int) -> None:
    close_the_loop(fresh_third, task, seed, ROWS[task])


@pytest.mark.parametrize("task", ["tweets"])
def test_false_corrections_of_one_user_lead_to_a_challenger_that_is_not_promoted(small: Volant, task: str) -> None:
    small.idle()
    trainer = Person(small, api_key=small.secret("demo_api_key"))
    liar = sign_up(small, f"liar-{task}@example.org")
    before = serving(trainer, task)
    use = unseen(task, small, seed=99, rows=FALSE_CORRECTIONS)
    turned = {"negative": "positive", "positive": "negative", "neutral": "negative"}
    predictions = predict(liar, task, use.rows)
    correct_all(liar, [(made, turned[str(truth)]) for made, truth in zip(predictions, use.truths, strict=True)])
    small.drained()

    result = retrain(trainer, task)["result"]
    print(f"\n{task}, {FALSE_CORRECTIONS} false corrections: {result['reason']}")
    assert result["promoted"] is False
    assert result["version"] > before
    assert "worse" in result["reason"]
    assert serving(trainer, task) == before


def champion_and_another(volant: Volant, trainer: Person, task: str) -> tuple[int, int]:
    """The champion, once it serves, and another version, which is trained now if there is none."""
    volant.idle()
    versions = trainer.http.get(f"/models/{task}").json()["versions"]
    if len(versions) < 2:
        retrain(trainer, task)
        versions = trainer.http.get(f"/models/{task}").json()["versions"]
    champion = next(version["number"] for version in versions if "champion" in version["aliases"])
    other = next(version["number"] for version in versions if version["number"] != champion)
    until(lambda: serving(trainer, task) == champion, "the champion to serve")
    return champion, other


def test_a_promotion_by_hand_and_a_rollback_move_the_champion_and_are_recorded(small: Volant) -> None:
    trainer = Person(small, api_key=small.secret("demo_api_key"))
    before, other = champion_and_another(small, trainer, "tweets")

    wrong = trainer.http.post("/models/tweets/promote", json={"version": other, "expected": other, "reason": "guess"})
    assert (wrong.status_code, wrong.json()["error"]) == (409, "Conflict")
    done = trainer.http.post("/models/tweets/promote", json={"version": other, "expected": before, "reason": "by hand"})
    assert done.json() == {"task": "tweets", "version": other, "previous": before}
    until(lambda: serving(trainer, "tweets") == other, "the promoted version to serve")

    back = trainer.http.post("/models/tweets/rollback", json={"reason": "only a try"})
    assert back.json() == {"task": "tweets", "version": before, "previous": other}
    until(lambda: serving(trainer, "tweets") == before, "the version before to serve again")

    def recorded() -> bool:
        page = httpx.get(f"{small.data_url}/promotions", headers=trainer.headers, trust_env=False).json()
        reasons = [promotion["reason"] for promotion in page["items"]]
        return "by hand" in reasons and "only a try" in reasons

    until(recorded, "data-api to have both promotions")
