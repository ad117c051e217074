"""The loop closes: answers are corrected, the correction trains, the better version serves; and wrong words do not."""

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
from tests.traffic import Traffic, stored, until

SHARE = 0.33
ROWS = {"tweets": 12_000, "housing": 4_000}
"""Rows that people send in one round of the loop: none of them has trained the starter."""
CONFIRMS = {"tweets": True, "housing": False}
"""Whether people also confirm the answers that were right."""
LIES = 4_000
"""Answers that one user corrects wrongly."""


def unseen(task: str, stack: Volant, seed: int, rows: int | None = None) -> Table:
    """Rows of real use with their truths: from the training side, but outside the share that the starter learnt."""
    table = find_tasks()[task].load(Source(stack.raw_dir, stack.mirror))
    official = table.official if table.official is not None else [is_held_out(digest) for digest in table.hashes]
    use = table.pick(
        not out and not is_within(digest, SHARE) for out, digest in zip(official, table.hashes, strict=True)
    )
    chosen = set(random.Random(seed).sample(range(len(use)), min(rows or ROWS[task], len(use))))
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
    return bool(abs(prediction["value"] - float(str(truth))) > 0.25)


def give(person: Person, prediction: Mapping[str, Any], truth: object) -> None:
    field = {"label": truth} if "label" in prediction else {"value": float(str(truth))}
    answer = person.http.post("/feedback", json={"prediction_id": prediction["prediction_id"], **field})
    assert answer.status_code == 202, answer.text


def give_all(person: Person, words: Sequence[tuple[Mapping[str, Any], object]]) -> None:
    """As people do: several at once."""
    with ThreadPoolExecutor(8) as people:
        list(people.map(lambda word: give(person, *word), words))


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


def close_the_loop(volant: Volant, task: str, seed: int) -> None:
    """Users predict, correct what is wrong (and, of tweets, confirm what is right); a retraining makes it better."""
    trainer = Person(volant, api_key=volant.key)
    user = sign_up(volant, f"user-{task}-{seed}@example.org")
    before = serving(trainer, task)
    use = unseen(task, volant, seed)
    predictions = answers(user, task, use.rows)
    wrong = 0
    words = []
    for prediction, truth in zip(predictions, use.truths, strict=True):
        wrong += is_wrong(prediction, truth)
        if is_wrong(prediction, truth) or CONFIRMS[task]:
            words.append((prediction, truth))
    give_all(user, words)
    volant.drained()

    with Traffic(volant.url, volant.key, task, use.rows[:500]) as traffic:
        result = retrain(trainer, task, seed=seed)["result"]
        print(f"\n{task}, seed {seed}: {wrong} of {len(use)} answers were wrong and corrected; {result['reason']}")
        assert result["promoted"], result
        assert result["version"] > before
        until(lambda: serving(trainer, task) == result["version"], "the new version to serve", 10)
        until(lambda: traffic.ledger.versions[-1] == result["version"], "the client to meet the new version", 10)

    assert traffic.ledger.failures == []
    assert traffic.ledger.versions == [before, result["version"]]
    volant.drained()
    held = stored(volant.conninfo, traffic.ledger)
    assert (held.found, held.twice, held.other_version) == (len(traffic.ledger.answered), 0, 0)


def test_wrong_answers_are_corrected_and_a_better_version_serves(third: Volant) -> None:
    close_the_loop(third, "housing", seed=1)


@pytest.mark.campaign(part="loops")
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("task", ["housing", "tweets"])
def test_the_loop_closes_for_every_task_and_seed(fresh_third: Volant, task: str, seed: int) -> None:
    close_the_loop(fresh_third, task, seed)


@pytest.mark.parametrize("task", ["tweets"])
def test_wrong_words_of_one_user_lead_to_a_challenger_that_is_not_promoted(third: Volant, task: str) -> None:
    trainer = Person(third, api_key=third.secret("demo_api_key"))
    liar = sign_up(third, f"liar-{task}@example.org")
    before = serving(trainer, task)
    use = unseen(task, third, seed=99, rows=LIES)
    turned = {"negative": "positive", "positive": "negative", "neutral": "negative"}
    predictions = answers(liar, task, use.rows)
    give_all(liar, [(said, turned[str(truth)]) for said, truth in zip(predictions, use.truths, strict=True)])
    third.drained()

    result = retrain(trainer, task)["result"]
    print(f"\n{task}, {LIES} wrong words: {result['reason']}")
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
