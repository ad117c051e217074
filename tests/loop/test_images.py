"""Images reach the next training from the image store, and an erasure removes them everywhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import httpx
import numpy as np
import psycopg
import pytest

from ai_api.datasets import is_held_out, row_hash
from ai_api.images.reference import ImageRef
from ai_api.tasks.synthetic import KINDS, draw
from tests.ai.support.drawn import plain
from tests.loop.people import Person, erase, sign_up
from tests.loop.test_loop import retrain
from tests.loop.volant import Volant
from tests.waiting import until

MARK = "zebra-4711"
CONTENT = draw(3, (120, 120), np.random.default_rng(0))
BASE64 = base64.b64encode(CONTENT).decode()
TITLES = [f"Console rétro {n}" for n in range(100) if not is_held_out(row_hash({"designation": f"Console rétro {n}"}))]
"""Titles of rows that are not held out, so that their corrections train."""
TITLE_WITH_IMAGE, TITLE_WITHOUT_IMAGE = TITLES[:2]


@pytest.fixture(scope="module")
def caller(small: Volant) -> Person:
    return Person(small, api_key=small.key)


def test_a_correction_of_a_row_with_an_image_trains_and_one_without_its_image_does_not(
    small: Volant, caller: Person
) -> None:
    small.idle()
    with_image = {"designation": TITLE_WITH_IMAGE, "image": BASE64}
    without_image = {"designation": TITLE_WITHOUT_IMAGE, "image": base64.b64encode(plain("teal")).decode()}
    for sent in (with_image, without_image):
        (prediction,) = caller.http.post("/predict", json={"task": "products", "inputs": sent}).json()["predictions"]
        truth = {"prediction_id": prediction["prediction_id"], "label": next(iter(KINDS))}
        taken = caller.http.post("/feedback", json=truth)
        assert (taken.status_code, taken.json()["checked"]) == (202, True)
    digest = ImageRef.of_bytes(plain("teal")).digest
    (small.state_dir / "blobs" / "bytes" / digest[:2] / digest).unlink()
    small.drained()
    assert retrain(caller, "products")["result"]["corrections_used"] == 1


def test_nothing_of_an_erased_person_is_left_anywhere(small: Volant) -> None:
    """Neither the e-mail nor the inputs are left in any table, blob, outbox, artifact, export or log."""
    email, secret = f"{MARK.lower()}-erased@example.org", "Le voisin s'appelle Zwiebel"
    image = draw(5, (130, 110), np.random.default_rng(7))
    ann = sign_up(small, email)
    row = {"designation": secret, "image": base64.b64encode(image).decode()}
    (prediction,) = ann.http.post("/predict", json={"task": "products", "inputs": row}).json()["predictions"]
    truth = {"prediction_id": prediction["prediction_id"], "label": next(iter(KINDS)), "comment": f"{secret}!"}
    assert ann.http.post("/feedback", json=truth).status_code == 202
    small.drained()
    until(lambda: secret in corrections(small), "the correction to be exported")
    traces = (email.encode(), secret.encode(), image)
    assert tables_with(small, traces[:2]) >= {"users", "predictions", "feedback", "examples"}
    assert files_with(small, traces)

    me = httpx.get(f"{small.data_url}/users/me", headers=ann.headers, trust_env=False).json()["id"]
    erase(small, me)
    assert ann.http.post("/predict", json={"task": "products", "inputs": row}).status_code == 401
    assert tables_with(small, traces[:2]) == set()
    assert files_with(small, traces) == []
    assert secret not in corrections(small)


def corrections(small: Volant) -> str:
    """The corrections of products that the next training would read."""
    address = f"{small.data_url}/tasks/products/corrections"
    return httpx.get(address, headers={"X-API-Key": small.secret("service_key")}, trust_env=False).text


def tables_with(small: Volant, traces: Sequence[bytes]) -> set[str]:
    """Tables of both databases that contain one of the traces."""
    tables = set()
    for database in ("volant", "queue"):
        with psycopg.connect(small.conninfo.replace("dbname=volant", f"dbname={database}")) as connection:
            query = "select relname from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace"
            for (table,) in connection.execute(query).fetchall():
                look = f"select count(*) from {table} as t where " + " or ".join(
                    ["strpos(t::text, %s) > 0"] * len(traces)
                )
                if connection.execute(look, [trace.decode() for trace in traces]).fetchone() != (0,):
                    tables.add(table)
    return tables


def files_with(small: Volant, traces: Sequence[bytes]) -> list[str]:
    """Files of this Volant, except Postgres's own, that contain one of the traces."""
    paths = (
        path
        for path in small.root.rglob("*")
        if path.is_file() and "postgres" not in path.relative_to(small.root).parts
    )
    return [str(path) for path in paths if any(trace in path.read_bytes() for trace in traces)]
