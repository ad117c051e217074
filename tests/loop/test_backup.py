"""A backup of a running Volant restores into an empty one, which predicts. People erased since stay erased."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest

from scripts.backup.sets import restore, save
from scripts.backup.stores import ProcessStores
from scripts.dev.ports import free_port
from scripts.settings import PORTS
from tests.loop.conftest import QUICK
from tests.loop.people import Person, erase, sign_up
from tests.loop.volant import Volant
from tests.traffic import Traffic, stored
from tests.waiting import until

TWEET: dict[str, object] = {"text": "late again, thanks"}
SECRET = "my dog is called Zwiebel"


@pytest.mark.slow
def test_an_empty_volant_predicts_after_a_restore(small: Volant, open_folder: Callable[[str], Path]) -> None:
    ann = sign_up(small, "ann@example.org")
    (private,) = ann.http.post("/predict", json={"task": "tweets", "inputs": {"text": SECRET}}).json()["predictions"]
    ann_id = httpx.get(f"{small.data_url}/users/me", headers=ann.headers, trust_env=False).json()["id"]
    small.drained()
    sets, place = open_folder("backups"), open_folder("restored")
    with Traffic(small.url, small.key, "tweets", [TWEET]) as traffic:
        until(lambda: len(traffic.ledger.predicted) > 20, "some predictions")
        predicted = dict(traffic.ledger.predicted)
        backup = save(ProcessStores(small), sets)
    assert traffic.ledger.failures == []
    erase(small, ann_id)

    tombstones = Path(small.settings["VOLANT_BACKUPS_DIR"]) / "tombstones"
    shutil.copytree(tombstones, place / "backups" / "tombstones")
    shutil.copytree(small.secrets, place / "secrets")
    ports = {name: str(free_port()) for name in PORTS}
    restored = Volant(place, {**ports, **QUICK, "AI_TRAIN_SHARE": "0.05"})
    restore(ProcessStores(restored), backup)
    try:
        restored.start()
        restored.wait_serving(120)
        caller = Person(restored, api_key=restored.key)
        before = Person(small, api_key=small.key)
        for task in ("tweets", "housing"):
            assert version(caller, task) == version(before, task)
        assert restored.predicts("tweets", TWEET)
        restored.drained()
        traffic.ledger.predicted = predicted
        in_postgres = stored(restored.conninfo, traffic.ledger)
        assert (in_postgres.found, in_postgres.twice, in_postgres.other_version) == (len(predicted), 0, 0)

        with psycopg.connect(restored.conninfo) as connection:
            left = connection.execute("select count(*) from predictions where user_id = %s", [ann_id]).fetchone()
            people = connection.execute("select count(*) from users where email = 'ann@example.org'").fetchone()
            others = connection.execute("select count(*) from users where email = 'admin@volant.local'").fetchone()
        assert (left, people, others) == ((0,), (0,), (1,))
        feedback = caller.http.post("/feedback", json={"prediction_id": private["prediction_id"], "label": "negative"})
        assert feedback.status_code == 202, "a prediction that is not stored may still arrive"
    finally:
        restored.stop()


def version(person: Person, task: str) -> int:
    found: int = person.http.get(f"/models/{task}").json()["serving"]["version"]
    return found
