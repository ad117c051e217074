"""Bodies over HTTP: nothing is read before the caller is known and allowed; every call reads bodies alike."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from ai_api.http import context
from ai_api.http.body.guarded_route import GuardedRoute
from tests.ai.routes.http_errors import MARK, assert_error
from tests.ai.routes.test_predict import HOUSE, ROW
from tests.ai.support.app import RunningApp
from tests.asgi import exchange

OPEN = {"/health/live", "/health/ready", "/docs", "/openapi.json"}
UNKNOWN = [("POST", "/nowhere"), ("PUT", "/predict"), ("POST", "/health/live"), ("POST", "/openapi.json")]
FORM = "application/x-www-form-urlencoded"
LARGE = {"content-type": "application/json", "content-length": str(16 * 2**20)}


def calls(service: RunningApp) -> Iterator[tuple[str, str]]:
    """Every call of the OpenAPI document and those that it leaves out."""
    for path, methods in service.app.openapi()["paths"].items():
        yield from ((method.upper(), path.replace("{job_id}", "1")) for method in methods)
    yield from [("POST", "/predict/unknown"), ("GET", "/docs"), ("GET", "/openapi.json")]


def test_no_byte_of_a_body_is_read_before_an_anonymous_caller_is_refused(service: RunningApp) -> None:
    for method, path in [*calls(service), *UNKNOWN]:
        for headers in (LARGE, {**LARGE, "content-type": "multipart/form-data; boundary=x", "x-api-key": MARK}):
            result = asyncio.run(exchange(service.app, method, path, headers))
            refused = {404, 405} if (method, path) in UNKNOWN else {200, 503} if path in OPEN else {401}
            assert result.status in refused, (method, path)
            assert result.sent_before_reading is None or result.sent_before_reading > 1, (method, path)


def test_no_byte_of_a_body_is_read_before_a_caller_without_the_scope_is_refused(service: RunningApp) -> None:
    headers = {**LARGE, "x-api-key": service.add_user("trainer", "read").key}
    for method, path in calls(service):
        if method == "POST":
            result = asyncio.run(exchange(service.app, method, path, headers))
            assert (result.status, result.json["error"]) == (403, "NotAllowed"), path
            assert result.sent_before_reading is not None
            assert result.sent_before_reading > 1, path


def test_a_caller_whose_key_ends_while_the_body_arrives_is_refused(
    service: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "CHECK_SECONDS", 0.0)
    user = service.add_user()

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"task": "tweets", '
        service.context.callers._keys.pop(hashlib.sha256(user.key.encode()).hexdigest())
        yield b'"inputs": {"text": "a"}}'

    headers = {"content-type": "application/json", "transfer-encoding": "chunked", "x-api-key": user.key}
    result = asyncio.run(exchange(service.app, "POST", "/predict", headers, parts()))
    assert (result.status, result.json["error"]) == (401, "NotSignedIn")


def test_every_route_is_a_guarded_one(service: RunningApp) -> None:
    routes = [found.original_route for found in iter_route_contexts(service.app.routes)]
    ours = [route for route in routes if isinstance(route, APIRoute)]
    assert len(ours) >= len(service.app.openapi()["paths"])
    assert [route.path for route in ours if not isinstance(route, GuardedRoute)] == []


def bodies(client: httpx.Client) -> list[str]:
    """The calls that take JSON."""
    document = client.get("/openapi.json").json()["paths"]
    return [
        path.replace("{task}", "tweets") for path, call in document.items() if "requestBody" in call.get("post", {})
    ]


@pytest.mark.parametrize(
    ("content", "headers", "status", "detail"),
    [
        (b"caf\xe9", {}, 422, "body: not UTF-8"),
        (b"[" * 100, {}, 422, "body: nested deeper than 32 levels"),
        (b'{"a": 1, "a": 2}', {}, 422, "body: a name occurs twice in one object"),
        (b"{}", {"Content-Type": "application/json; charset=utf-16"}, 422, "body: must be UTF-8"),
        (b"{}", {"Content-Type": "text/html"}, 422, "body: must be JSON"),
        (b"{}", {"Content-Encoding": "br"}, 415, "The only Content-Encoding that is read is gzip."),
        (b"{}", {"Content-Encoding": "gzip"}, 422, "body: not valid gzip"),
        (
            gzip.compress(bytes(17 * 2**20), mtime=0),
            {"Content-Encoding": "gzip"},
            413,
            "The request body is larger than",
        ),
    ],
)
def test_every_call_refuses_a_body_that_cannot_be_read_in_the_same_words(
    trainer: httpx.Client, content: bytes, headers: dict[str, str], status: int, detail: str
) -> None:
    paths = bodies(trainer)
    assert len(paths) >= 8
    for path in paths:
        response = trainer.post(path, content=content, headers={"Content-Type": "application/json", **headers})
        assert_error(response, status)
        assert response.json()["detail"].startswith(detail), path


def test_json_without_a_content_type_and_json_in_gzip_are_read(trainer: httpx.Client) -> None:
    for path, value in (("/predict", {"task": "tweets", "inputs": ROW}), ("/predict/tweets", ROW)):
        content = json.dumps(value).encode()
        assert trainer.post(path, content=content).status_code == 200
        packed = gzip.compress(content)
        assert trainer.post(path, content=packed, headers={"Content-Encoding": "gzip"}).status_code == 200


def test_a_form_reads_utf8_raw_or_escaped_and_guesses_nothing(trainer: httpx.Client) -> None:
    def sent(content: bytes, kind: str = FORM) -> httpx.Response:
        return trainer.post("/predict/tweets", content=content, headers={"Content-Type": kind})

    expected = trainer.post("/predict/tweets", json={"text": "déjà vu"}).json()["predictions"][0]["probabilities"]
    multipart = '--x\r\nContent-Disposition: form-data; name="text"\r\n\r\ndéjà vu\r\n--x--'.encode()
    for response in (
        sent("text=déjà vu".encode()),
        sent(b"text=d%C3%A9j%C3%A0+vu", f"{FORM}; charset=UTF-8"),
        sent(multipart, "multipart/form-data; boundary=x"),
    ):
        assert response.json()["predictions"][0]["probabilities"] == expected
    for refused in (
        sent(f"text={MARK}é".encode("cp1252")),
        sent(b"text=%E9"),
        sent(b"text=a", f"{FORM}; charset=no-such"),
        sent(b"text=a", f"{FORM}; charset="),
        sent(b"text=a&text=b"),
        sent(multipart[:-2], "multipart/form-data; boundary=x"),
        sent(multipart, "multipart/form-data"),
        sent(multipart, "multipart/form-data; boundary=y"),
        sent(b"text=" + b"a&" * 200),
    ):
        assert_error(refused, 422, "InvalidRequest")


def test_an_empty_optional_field_of_a_form_is_a_missing_one(service: RunningApp, trainer: httpx.Client) -> None:
    fields = {name: str(value) for name, value in HOUSE.items()}
    response = trainer.post("/predict/housing", data={**fields, "AveBedrms": ""})
    assert response.status_code == 200, response.text
    service.drain()
    (prediction,) = response.json()["predictions"]
    assert service.data_api.sent["predictions"][prediction["prediction_id"]]["row"]["AveBedrms"] is None
    assert_error(trainer.post("/predict/housing", data={**fields, "MedInc": ""}), 422, "InvalidRow")
