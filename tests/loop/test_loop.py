"""The loop closes: answers are corrected, the correction trains, the better version serves; and wrong words do not."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from ai_api.datasets import Source, Table, is_held_out, is_within
from ai_api.tasks import find_tasks
from tests.loop.people import Person, sign_up
from tests.loop.volant import Volant
from tests.traffic import Traffic, stored, until

SHARE = 0.33
ROWS = {"tweets": 6_000, "housing": 6_000}
"""Rows that people send in one round of the loop: none of them has trained the starter."""


def unseen(task: str, stack: Volant, seed: int) -> Table:
    """Rows of real use with their truths: from the training side, but outside the share that the starter learnt."""
    table = find_tasks()[task].load(Source(stack.raw_dir, stack.mirror))
    official = table.official if table.official is not None else [is_held_out(digest) for digest in table.hashes]
    use = table.pick(
        not out and not is_within(digest, SHARE) for out, digest in zip(official, table.hashes, strict=True)
    )
    chosen = set(random.Random(seed).sample(range(len(use)), min(ROWS[task], len(use))))
    return use.pick(place in chosen for place in range(len(use)))


def answers(person: Person, task: str, rows: Sequence[dict[str, object]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for start in range(0, len(rows), 500):
        answer = person.http.post("/predict", json={"task": task, "inputs": rows[start : start + 500]})
        assert answer.status_code == 200, answer.text
        found += answer.json()["predictions"]
    return found


def is_wrong(prediction: Mapping[str, Any], truth: object) -> bool:
    if "label" in prediction:
        return bool(prediction["label"] != truth)
    return abs(prediction["value"] - float(str(truth))) > 0.25


def give(person: Person, prediction: Mapping[str, Any], truth: object) -> None:
    field = {"label": truth} if "label" in prediction else {"value": float(str(truth))}
    answer = person.http.post("/feedback", json={"prediction_id": prediction["prediction_id"], **field})
    assert answer.status_code == 202, answer.text


def retrain(person: Person, task: str, **params: object) -> dict[str, Any]:
    """The ended job of one /retrain."""
    answer = person.http.post("/retrain", json={"task": task, "params": params})
    assert answer.status_code == 202, answer.text
    job = answer.json()["id"]

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = person.http.get(f"/jobs/{job}").json()
        return found if found["status"] in ("succeeded", "failed", "cancelled") else None

    found: dict[str, Any] = until(ended, f"job {job}", 240)
    assert found["status"] == "succeeded", found
    return found


def serving(person: Person, task: str) -> int:
    found: int = person.http.get(f"/models/{task}").json()["serving"]["version"]
    return found


@pytest.mark.parametrize(("task", "seed"), [("housing", 1), ("housing", 2), ("tweets", 3)])
def test_wrong_answers_are_corrected_and_a_better_version_serves(third: Volant, task: str, seed: int) -> None:
    trainer = Person(third, api_key=third.secret("demo_api_key"))
    user = sign_up(third, f"user-{task}-{seed}@example.org")
    before = serving(trainer, task)
    use = unseen(task, third, seed)
    predictions = answers(user, task, use.rows)
    wrong = [(p, truth) for p, truth in zip(predictions, use.truths, strict=True) if is_wrong(p, truth)]
    for prediction, truth in wrong:
        give(user, prediction, truth)
    third.drained()

    with Traffic(third.url, third.secret("demo_api_key"), task, use.rows[:500]) as traffic:
        job = retrain(trainer, task, seed=seed)
        result = job["result"]
        print(f"{task}, seed {seed}: {len(wrong)} corrections of {len(use)} answers; {result['reason']}")
        assert result["promoted"], result
        assert result["version"] > before
        until(lambda: serving(trainer, task) == result["version"], "the new version to serve", 10)
        until(lambda: traffic.ledger.versions[-1] == result["version"], "the client to meet the new version", 10)

    assert traffic.ledger.failures == []
    assert traffic.ledger.versions == [before, result["version"]]
    third.drained()
    held = stored(third.conninfo, traffic.ledger)
    assert (held.found, held.twice, held.other_version) == (len(traffic.ledger.answered), 0, 0)


@pytest.mark.parametrize("task", ["tweets"])
def test_wrong_words_of_one_user_lead_to_a_challenger_that_is_not_promoted(third: Volant, task: str) -> None:
    trainer = Person(third, api_key=third.secret("demo_api_key"))
    liar = sign_up(third, f"liar-{task}@example.org")
    before = serving(trainer, task)
    use = unseen(task, third, seed=99)
    turned = {"negative": "positive", "positive": "negative", "neutral": "negative"}
    for prediction, truth in zip(answers(liar, task, use.rows), use.truths, strict=True):
        give(liar, prediction, turned[str(truth)])
    third.drained()

    result = retrain(trainer, task)["result"]
    print(f"{task}, wrong words: {result['reason']}")
    assert result["promoted"] is False
    assert result["version"] > before
    assert "worse" in result["reason"]
    assert serving(trainer, task) == before


def test_a_promotion_by_hand_and_a_rollback_move_what_serves_and_are_recorded(third: Volant) -> None:
    trainer = Person(third, api_key=third.secret("demo_api_key"))
    versions = trainer.http.get("/models/tweets").json()["versions"]
    before = serving(trainer, "tweets")
    other = next(version["number"] for version in versions if version["number"] != before)

    wrong = trainer.http.post("/models/tweets/promote", json={"version": other, "expected": other, "reason": "guess"})
    assert (wrong.status_code, wrong.json()["error"]) == (409, "Conflict")
    done = trainer.http.post("/models/tweets/promote", json={"version": other, "expected": before, "reason": "by hand"})
    assert done.json() == {"task": "tweets", "version": other, "previous": before}
    until(lambda: serving(trainer, "tweets") == other, "the promoted version to serve", 10)

    back = trainer.http.post("/models/tweets/rollback", json={"reason": "only a try"})
    assert back.json() == {"task": "tweets", "version": before, "previous": other}
    until(lambda: serving(trainer, "tweets") == before, "the version before to serve again", 10)

    def recorded() -> bool:
        page = httpx.get(f"{third.data_url}/promotions", headers=trainer.headers, trust_env=False).json()
        reasons = [promotion["reason"] for promotion in page["items"]]
        return "by hand" in reasons and "only a try" in reasons

    until(recorded, "data-api to have both promotions")
