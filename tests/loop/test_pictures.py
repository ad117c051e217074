"""Pictures travel: from a caller to the model and into the store by hash, and from there into the next training."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from PIL import Image

from ai_api.datasets import is_held_out, row_hash
from ai_api.images import MAX_BYTES, Picture
from ai_api.tasks.synthetic import KINDS, draw
from tests.ai.drawn import encoded, plain
from tests.loop.people import Person, erase, sign_up
from tests.loop.test_calls import MARK, assert_error
from tests.loop.test_loop import retrain
from tests.loop.volant import Volant
from tests.traffic import until

CONTENT = draw(3, (120, 120), np.random.default_rng(0))
PICTURE = Picture.of_bytes(CONTENT)
BASE64 = base64.b64encode(CONTENT).decode()
TITLES = [f"Console rétro {n}" for n in range(100) if not is_held_out(row_hash({"designation": f"Console rétro {n}"}))]
"""Titles whose rows train when somebody corrects them."""
TITLE, CORRECTED, LOST = TITLES[:3]


@pytest.fixture(scope="module")
def caller(third: Volant) -> Person:
    return Person(third, api_key=third.key)


def stored_row(third: Volant, prediction: dict[str, Any]) -> dict[str, Any]:
    """The row as data-api has it."""
    third.drained()
    with psycopg.connect(third.conninfo) as connection:
        found = connection.execute(
            "select row from predictions where id = %s", [prediction["prediction_id"]]
        ).fetchone()
    assert found
    row: dict[str, Any] = found[0]
    return row


def test_a_picture_is_sent_as_base64_or_as_a_file_and_stored_as_its_hash(third: Volant, caller: Person) -> None:
    row = {"designation": TITLE, "image": BASE64}
    answers = [
        caller.http.post("/predict", json={"task": "products", "inputs": row}),
        caller.http.post("/predict", json={"task": "products", "inputs": [row]}),
        caller.http.post("/predict/products", json={**row, "image": f"data:image/jpeg;base64,{BASE64}"}),
        caller.http.post("/predict/products", data={"designation": TITLE}, files={"image": ("a.jpg", CONTENT)}),
    ]
    predictions = [answer.json()["predictions"][0] for answer in answers]
    assert len({prediction["label"] for prediction in predictions}) == 1
    for prediction in predictions:
        assert stored_row(third, prediction) == {
            "designation": TITLE,
            "description": None,
            "image": f"sha256:{PICTURE.digest}",
        }
    blobs = third.state_dir / "blobs"
    assert (blobs / "bytes" / PICTURE.digest[:2] / PICTURE.digest).read_bytes() == CONTENT
    assert len(list(blobs.glob(f"owners/*/products/{PICTURE.digest}"))) == 1


def test_a_picture_is_shown_to_who_sent_it_and_to_trainers(third: Volant, caller: Person) -> None:
    ann, bob = (sign_up(third, f"{name}-pictures@example.org") for name in ("ann", "bob"))
    content = plain("green")
    (prediction,) = ann.http.post("/predict/products", files={"image": ("a.png", content)}).json()["predictions"]
    reference = stored_row(third, prediction)["image"]
    for person in (ann, caller):
        answer = person.http.get(f"/pictures/{reference}")
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert person.http.get(f"/pictures/{reference.removeprefix('sha256:')}").content == content
    assert_error(bob.http.get(f"/pictures/{reference}"), 404, "UnknownPicture")
    assert_error(caller.http.get(f"/pictures/sha256:{'0' * 64}"), 404, "UnknownPicture")
    assert_error(caller.http.get("/pictures/..%2fcallers.json"), 404, "NotFound")
    assert_error(caller.http.get("/pictures/callers.json"), 422, "InvalidRequest")
    assert_error(httpx.get(f"{third.url}/pictures/{reference}", trust_env=False), 401, "NotSignedIn")


def test_a_picture_alone_or_a_title_alone_is_answered(third: Volant, caller: Person) -> None:
    alone = caller.http.post("/predict/products", files={"image": ("a.png", plain("navy"), "image/png")})
    assert alone.status_code == 200, alone.text
    assert stored_row(third, alone.json()["predictions"][0])["designation"] is None
    titled = caller.http.post("/predict/products", data={"designation": TITLE}, files={"image": ("", b"")})
    assert titled.status_code == 200, titled.text
    assert stored_row(third, titled.json()["predictions"][0])["image"] is None


def test_a_correction_of_a_row_with_a_picture_trains_with_the_picture(third: Volant, caller: Person) -> None:
    third.idle()
    kept = {"designation": CORRECTED, "image": BASE64}
    lost = {"designation": LOST, "image": base64.b64encode(plain("teal")).decode()}
    for sent in (kept, lost):
        (prediction,) = caller.http.post("/predict", json={"task": "products", "inputs": sent}).json()["predictions"]
        given = {"prediction_id": prediction["prediction_id"], "label": next(iter(KINDS))}
        taken = caller.http.post("/feedback", json=given)
        assert (taken.status_code, taken.json()["checked"]) == (202, True)
    digest = Picture.of_bytes(plain("teal")).digest
    (third.state_dir / "blobs" / "bytes" / digest[:2] / digest).unlink()
    third.drained()
    assert retrain(caller, "products")["result"]["corrections_used"] == 1


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (f"sha256:{PICTURE.digest}", "must be the base64 of a picture"),
        (MARK, "must be the base64 of a picture"),
        (f"https://example.org/{MARK}.png", "must be the base64 of a picture"),
        (BASE64[: len(BASE64) // 8 * 4], "must be a whole picture"),
        (base64.b64encode(MARK.encode()).decode(), "must be a whole picture"),
        ("A" * (MAX_BYTES * 3 // 2), "must have at most 8 MiB"),
        (5, "must be a picture"),
        ({"digest": MARK}, "must be a picture"),
    ],
)
def test_what_is_no_picture_is_refused_and_says_why(caller: Person, image: object, told: str) -> None:
    for answer in (
        caller.http.post("/predict", json={"task": "products", "inputs": {"image": image}}),
        caller.http.post("/predict/products", json={"designation": "a", "image": image}),
    ):
        assert_error(answer, 422, "InvalidRow")
        assert f"image: {told}" in answer.json()["detail"]


def test_a_bomb_is_refused_before_it_unfolds(caller: Person) -> None:
    bomb = encoded(Image.new("1", (8_000, 8_000)))
    assert len(bomb) < 100_000
    answer = caller.http.post("/predict/products", files={"image": ("bomb.png", bomb)})
    assert_error(answer, 422, "InvalidRow")
    assert "at most 25 million pixels" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("task", "fields", "files", "status", "error", "told"),
    [
        ("products", {}, {"image": ("a.jpg", bytes(MAX_BYTES + 1))}, 422, "InvalidRow", "at most 8 MiB"),
        ("products", {}, {"image": ("a.jpg", bytes(17 * 2**20))}, 413, "TooLarge", "AI_MAX_BODY_BYTES"),
        ("products", {}, {"image": (f"{MARK}.jpg", MARK.encode())}, 422, "InvalidRow", "a whole picture"),
        ("products", {}, {"designation": ("a.txt", b"a title")}, 422, "InvalidRow", "Files: image."),
        ("products", {}, {MARK: ("a.jpg", CONTENT)}, 422, "InvalidRow", "Files: image."),
        ("products", {"designation": " "}, {"image": ("", b"")}, 422, "InvalidRow", "at least one of designation"),
        ("housing", {"MedInc": "8"}, {"image": ("a.jpg", CONTENT)}, 422, "InvalidRow", "takes no files"),
    ],
)
def test_a_form_that_does_not_fit_is_refused(
    caller: Person,
    task: str,
    fields: dict[str, str],
    files: dict[str, tuple[str, bytes]],
    status: int,
    error: str,
    told: str,
) -> None:
    answer = caller.http.post(f"/predict/{task}", data=fields, files=files)
    assert_error(answer, status, error)
    assert told in answer.json()["detail"]


def test_a_form_takes_no_more_files_than_the_row_has_images(caller: Person) -> None:
    twice = [("image", ("a.jpg", CONTENT)), ("image", ("b.jpg", CONTENT))]
    assert_error(caller.http.post("/predict/products", files=twice), 422)


def test_a_product_that_says_nothing_is_refused_in_words_that_help(caller: Person) -> None:
    answer = caller.http.post("/predict", json={"task": "products", "inputs": [{"designation": "a"}, {}]})
    assert_error(answer, 422, "InvalidRow")
    assert answer.json()["detail"] == "inputs.1: give at least one of designation, description and image"


def test_the_document_shows_a_picture_as_base64_in_json_and_as_a_file_in_a_form(caller: Person) -> None:
    document = caller.http.get("/openapi.json").json()
    content = document["paths"]["/predict/products"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}

    def image(kind: str) -> dict[str, Any]:
        name = content[kind]["schema"]["$ref"].rpartition("/")[2]
        found: dict[str, Any] = document["components"]["schemas"][name]["properties"]["image"]
        return found

    assert image("application/json")["anyOf"][0]["contentEncoding"] == "base64"
    assert image("multipart/form-data")["format"] == "binary"


def test_nothing_of_an_erased_person_is_left_anywhere(third: Volant) -> None:
    """Neither e-mail nor inputs, in any table, blob, outbox, artifact, export or log."""
    email, secret = f"{MARK.lower()}-erased@example.org", "Le voisin s'appelle Zwiebel"
    picture = draw(5, (130, 110), np.random.default_rng(7))
    ann = sign_up(third, email)
    row = {"designation": secret, "image": base64.b64encode(picture).decode()}
    (prediction,) = ann.http.post("/predict", json={"task": "products", "inputs": row}).json()["predictions"]
    word = {"prediction_id": prediction["prediction_id"], "label": next(iter(KINDS)), "comment": f"{secret}!"}
    assert ann.http.post("/feedback", json=word).status_code == 202
    third.drained()
    until(lambda: secret in corrections(third), "the correction to be exported")
    words = (email.encode(), secret.encode(), picture)
    assert tables_with(third, words[:2]) >= {"users", "predictions", "feedback", "examples"}
    assert files_with(third, words)

    me = httpx.get(f"{third.data_url}/users/me", headers=ann.headers, trust_env=False).json()["id"]
    erase(third, me)
    assert ann.http.post("/predict", json={"task": "products", "inputs": row}).status_code == 401
    assert tables_with(third, words[:2]) == set()
    assert files_with(third, words) == []
    assert secret not in corrections(third)


def corrections(third: Volant) -> str:
    """What the next training reads."""
    address = f"{third.data_url}/tasks/products/corrections"
    return httpx.get(address, headers={"X-API-Key": third.secret("service_key")}, trust_env=False).text


def tables_with(third: Volant, words: Sequence[bytes]) -> set[str]:
    """Tables of both databases in which one of the words stands."""
    found = set()
    for database in ("volant", "queue"):
        with psycopg.connect(third.conninfo.replace("dbname=volant", f"dbname={database}")) as connection:
            query = "select relname from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace"
            for (table,) in connection.execute(query).fetchall():
                look = f"select count(*) from {table} as t where " + " or ".join(
                    ["strpos(t::text, %s) > 0"] * len(words)
                )
                if connection.execute(look, [word.decode() for word in words]).fetchone() != (0,):
                    found.add(table)
    return found


def files_with(third: Volant, words: Sequence[bytes]) -> list[str]:
    """Files of this Volant, but for the inner ones of Postgres, in which one of the words stands."""
    paths = (
        path
        for path in third.root.rglob("*")
        if path.is_file() and "postgres" not in path.relative_to(third.root).parts
    )
    return [str(path) for path in paths if any(word in path.read_bytes() for word in words)]
