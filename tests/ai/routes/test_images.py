"""Images: sent as base64 or as files, stored by hash, and shown to their sender and to trainers."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from ai_api.images.reference import MAX_BYTES, ImageRef
from tests.ai.routes.http_errors import MARK, assert_error
from tests.ai.support.app import RunningApp
from tests.ai.support.drawn import encoded, plain

CONTENT = plain("olive", (120, 120), "JPEG")
IMAGE = ImageRef.of_bytes(CONTENT)
BASE64 = base64.b64encode(CONTENT).decode()
TITLE = "Console rétro"


def stored_row(service: RunningApp, response: httpx.Response) -> dict[str, Any]:
    """The row of a prediction as data-api has it."""
    assert response.status_code == 200, response.text
    service.drain()
    id_ = response.json()["predictions"][0]["prediction_id"]
    row: dict[str, Any] = service.data_api.sent["predictions"][id_]["row"]
    return row


def test_an_image_is_sent_as_base64_or_as_a_file_and_stored_as_its_hash(
    service: RunningApp, trainer: httpx.Client
) -> None:
    row = {"designation": TITLE, "image": BASE64}
    responses = [
        trainer.post("/predict", json={"task": "products", "inputs": row}),
        trainer.post("/predict", json={"task": "products", "inputs": [row]}),
        trainer.post("/predict/products", json={**row, "image": f"data:image/jpeg;base64,{BASE64}"}),
        trainer.post("/predict/products", data={"designation": TITLE}, files={"image": ("a.jpg", CONTENT)}),
    ]
    predictions = [response.json()["predictions"][0] for response in responses]
    assert len({prediction["label"] for prediction in predictions}) == 1
    for response in responses:
        assert stored_row(service, response) == {
            "designation": TITLE,
            "description": None,
            "image": f"sha256:{IMAGE.digest}",
        }
    blobs = service.folder / "state" / "blobs"
    assert (blobs / "bytes" / IMAGE.digest[:2] / IMAGE.digest).read_bytes() == CONTENT
    assert len(list(blobs.glob(f"owners/*/products/{IMAGE.digest}"))) == 1


@pytest.mark.parametrize(
    "sent",
    [
        base64.urlsafe_b64encode(CONTENT).decode(),
        base64.urlsafe_b64encode(CONTENT).decode().rstrip("="),
        f"\n{base64.encodebytes(CONTENT).decode()}",
        f"data:;base64,{BASE64}",
        f"DATA:application/octet-stream;name=a.jpg;BASE64,{BASE64}",
        f"data:image/jpeg;base64,{quote(BASE64, safe='')}",
        f"data:image/jpeg,{quote(CONTENT)}",
    ],
    ids=["url-safe", "unpadded", "lines", "no type", "parameters", "escaped base64", "escaped bytes"],
)
def test_every_kind_of_base64_and_of_data_uri_is_read(sent: str) -> None:
    assert ImageRef.parse(sent) == IMAGE


def test_an_image_may_come_in_a_field_without_a_file_name(trainer: httpx.Client) -> None:
    for content in (CONTENT, BASE64.encode()):
        response = trainer.post("/predict/products", files={"image": (None, content), "designation": (None, TITLE)})
        assert response.status_code == 200, response.text


def test_an_image_is_shown_to_the_person_who_sent_it_and_to_trainers(
    service: RunningApp, trainer: httpx.Client
) -> None:
    ann, bob = (service.client(service.add_user()) for _ in range(2))
    content = plain("green")
    reference = stored_row(service, ann.post("/predict/products", files={"image": ("a.png", content)}))["image"]
    for person in (ann, trainer):
        response = person.get(f"/pictures/{reference}")
        assert (response.status_code, response.content) == (200, content)
        assert response.headers["content-type"] == "image/png"
        assert response.headers["x-content-type-options"] == "nosniff"
    assert trainer.get(f"/pictures/{reference.removeprefix('sha256:')}").content == content
    assert_error(bob.get(f"/pictures/{reference}"), 404, "UnknownPicture")
    assert_error(trainer.get(f"/pictures/sha256:{'0' * 64}"), 404, "UnknownPicture")
    assert_error(trainer.get("/pictures/..%2fcallers.json"), 404, "NotFound")
    assert_error(trainer.get("/pictures/callers.json"), 422, "InvalidRequest")
    assert_error(service.client().get(f"/pictures/{reference}"), 401, "NotSignedIn")


def test_an_image_alone_or_a_title_alone_is_predicted(service: RunningApp, trainer: httpx.Client) -> None:
    image_only = trainer.post("/predict/products", files={"image": ("a.png", plain("navy"), "image/png")})
    assert stored_row(service, image_only)["designation"] is None
    title_only = trainer.post("/predict/products", data={"designation": TITLE}, files={"image": ("", b"")})
    assert stored_row(service, title_only)["image"] is None


@pytest.mark.parametrize(
    ("image", "detail"),
    [
        (f"sha256:{IMAGE.digest}", "must be the base64 of an image"),
        (f"{MARK}.", "must be the base64 of an image"),
        (f"data:image/png;base64{MARK}", "must be the base64 of an image"),
        (f"data:{MARK},{MARK}", "must be a whole image"),
        (f"https://example.org/{MARK}.png", "must be the base64 of an image"),
        (BASE64[: len(BASE64) // 8 * 4], "must be a whole image"),
        (base64.b64encode(MARK.encode()).decode(), "must be a whole image"),
        ("A" * (MAX_BYTES * 3 // 2), "must have at most 8 MiB"),
        (5, "must be an image"),
        ({"digest": MARK}, "must be an image"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(trainer: httpx.Client, image: object, detail: str) -> None:
    for response in (
        trainer.post("/predict", json={"task": "products", "inputs": {"image": image}}),
        trainer.post("/predict/products", json={"designation": "a", "image": image}),
    ):
        assert_error(response, 422, "InvalidRow")
        assert f"image: {detail}" in response.json()["detail"]


def test_a_decompression_bomb_is_refused_before_it_is_decoded(trainer: httpx.Client) -> None:
    bomb = encoded(Image.new("1", (8_000, 8_000)))
    assert len(bomb) < 100_000
    response = trainer.post("/predict/products", files={"image": ("bomb.png", bomb)})
    assert_error(response, 422, "InvalidRow")
    assert "at most 25 million pixels" in response.json()["detail"]


@pytest.mark.parametrize(
    ("task", "fields", "files", "status", "error", "detail"),
    [
        ("products", {}, {"image": ("a.jpg", bytes(MAX_BYTES + 1))}, 422, "InvalidRow", "at most 8 MiB"),
        ("products", {}, {"image": ("a.jpg", bytes(17 * 2**20))}, 413, "TooLarge", "AI_MAX_BODY_BYTES"),
        ("products", {}, {"image": (f"{MARK}.jpg", MARK.encode())}, 422, "InvalidRow", "a whole image"),
        ("products", {}, {"designation": ("a.txt", b"a title")}, 422, "InvalidRow", "Files: image."),
        ("products", {}, {MARK: ("a.jpg", CONTENT)}, 422, "InvalidRow", "Files: image."),
        ("products", {"designation": " "}, {"image": ("", b"")}, 422, "InvalidRow", "at least one of designation"),
        ("housing", {"MedInc": "8"}, {"image": ("a.jpg", CONTENT)}, 422, "InvalidRow", "takes no files"),
    ],
)
def test_a_form_that_does_not_fit_is_refused(
    trainer: httpx.Client,
    task: str,
    fields: dict[str, str],
    files: dict[str, tuple[str, bytes]],
    status: int,
    error: str,
    detail: str,
) -> None:
    response = trainer.post(f"/predict/{task}", data=fields, files=files)
    assert_error(response, status, error)
    assert detail in response.json()["detail"]


def test_a_form_takes_no_more_files_than_the_row_has_images(trainer: httpx.Client) -> None:
    twice = [("image", ("a.jpg", CONTENT)), ("image", ("b.jpg", CONTENT))]
    assert_error(trainer.post("/predict/products", files=twice), 422)


def test_an_empty_product_is_refused_and_its_place_is_named(trainer: httpx.Client) -> None:
    response = trainer.post("/predict", json={"task": "products", "inputs": [{"designation": "a"}, {}]})
    assert_error(response, 422, "InvalidRow")
    assert response.json()["detail"] == "inputs.1: give at least one of designation, description and image"


def test_the_openapi_document_shows_an_image_as_base64_in_json_and_as_a_file_in_a_form(trainer: httpx.Client) -> None:
    document = trainer.get("/openapi.json").json()
    content = document["paths"]["/predict/products"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}

    def image(kind: str) -> dict[str, Any]:
        name = content[kind]["schema"]["$ref"].rpartition("/")[2]
        schema: dict[str, Any] = document["components"]["schemas"][name]["properties"]["image"]
        return schema

    assert image("application/json")["anyOf"][0]["contentEncoding"] == "base64"
    assert image("multipart/form-data")["format"] == "binary"


def test_an_image_store_that_is_full_stores_no_prediction(fresh: RunningApp) -> None:
    blobs = fresh.folder / "state" / "blobs"
    blobs.parent.mkdir(exist_ok=True)
    blobs.write_bytes(b"a file where the folder should be")
    client = fresh.client(fresh.user)
    response = client.post("/predict/products", files={"image": ("a.png", plain("navy"))})
    assert_error(response, 503, "BlobsUnavailable")
    assert len(fresh.context.outbox) == 0
    assert fresh.data_api.sent["predictions"] == {}
