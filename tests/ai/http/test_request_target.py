"""The host, path, method and query of a request, the headers of every response, and requests from other origins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from ai_api.http.request_target import host_name
from ai_api.settings import Settings
from tests.ai.routes.http_errors import MARK, assert_error
from tests.ai.support.app import RunningApp, running, settings_for

ORIGIN = "https://shop.example.org"
BODY = {"task": "tweets", "inputs": {"text": "late again, thanks"}}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app, which pages of one origin may call."""
    with running(tmp_path_factory.mktemp("target"), cors_origins=ORIGIN) as started:
        yield started


@pytest.fixture(scope="module")
def trainer(service: RunningApp) -> httpx.Client:
    return service.client(service.trainer)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]", "volant."])
def test_the_hosts_of_the_loopback_and_of_the_settings_are_known(trainer: httpx.Client, host: str) -> None:
    assert trainer.get("/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", [MARK, f"{MARK}:8000", "", "0.0.0.0", "127.0.0.1.nip.io", "localhost@evil", "localhost:80:80", "::1:8000"]
)
@pytest.mark.parametrize("path", ["/models", "/health/live", "/docs", "/models/"])
def test_a_request_for_another_host_is_a_421(trainer: httpx.Client, host: str, path: str) -> None:
    response = trainer.get(path, headers={"Host": host})
    assert_error(response, 421, "UnknownHost")
    assert "VOLANT_NAMES" in response.json()["detail"]
    assert "location" not in response.headers


def test_a_request_with_two_hosts_is_a_421(trainer: httpx.Client) -> None:
    request = trainer.build_request("GET", "/models", headers=[("Host", "volant"), ("Host", "volant")])
    assert_error(trainer.send(request), 421, "UnknownHost")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Volant.Example.org:8000", "volant.example.org"),
        ("volant.example.org.", "volant.example.org"),
        ("::1", "[::1]"),
        ("[2001:DB8::1]:80", "[2001:db8::1]"),
        (" 10.0.0.1 ", "10.0.0.1"),
        ("a:b", "a:b"),
    ],
)
def test_names_of_hosts_are_compared_without_port_and_case(value: str, name: str) -> None:
    assert host_name(value) == name


def test_the_address_that_is_listened_on_is_known_unless_it_stands_for_all(tmp_path: Path) -> None:
    assert settings_for(tmp_path, host="10.1.2.3", allowed_hosts="a, b:80,").hosts == ["10.1.2.3", "a", "b:80"]
    assert settings_for(tmp_path, host="0.0.0.0", allowed_hosts="0.0.0.0,c").hosts == ["c"]


def test_an_asterisk_makes_every_host_known(tmp_path: Path) -> None:
    with running(tmp_path, allowed_hosts="*") as service:
        assert service.client(service.user).get("/models", headers={"Host": "anything"}).status_code == 200


@pytest.mark.parametrize("path", ["/models", "/models/tweets", "/health/live", "/docs", "/openapi.json"])
def test_a_trailing_slash_is_ignored(trainer: httpx.Client, path: str) -> None:
    with_slash = trainer.get(f"{path}/")
    assert with_slash.status_code == 200
    assert with_slash.content == trainer.get(path).content


def test_a_trailing_slash_is_ignored_by_calls_with_a_body(trainer: httpx.Client) -> None:
    assert trainer.post("/predict/", json=BODY).status_code == 200
    assert trainer.post("/predict/tweets/", json=BODY["inputs"]).status_code == 200


def test_an_encoded_slash_belongs_to_the_parameter(trainer: httpx.Client) -> None:
    assert_error(trainer.get("/models/tweets%2F"), 404, "NotFound")
    assert_error(trainer.get("/models/tweets//"), 404, "NotFound")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/models", "/docs", f"/models/{MARK}"])
def test_head_has_the_status_and_headers_of_get_and_no_body(trainer: httpx.Client, path: str) -> None:
    head, get = trainer.head(path), trainer.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == str(len(get.content))


def test_head_of_a_call_that_is_not_get_is_a_405(trainer: httpx.Client) -> None:
    response = trainer.head("/predict")
    assert (response.status_code, response.content) == (405, b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health/live"),
        ("GET", "/models"),
        ("GET", f"/{MARK}"),
        ("PUT", "/models"),
        ("GET", f"/models?{MARK}=1"),
        ("POST", "/predict"),
        ("GET", "/openapi.json"),
        ("OPTIONS", "/models"),
    ],
)
def test_no_response_is_stored_or_guessed_at(service: RunningApp, method: str, path: str) -> None:
    for client in (service.client(), service.client(service.trainer)):
        headers = client.request(method, path).headers
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_every_call_refuses_unknown_parameters_with_the_known_ones(service: RunningApp, trainer: httpx.Client) -> None:
    document = trainer.get("/openapi.json").json()
    calls = 0
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            known = sorted(one["name"] for one in call.get("parameters", []) if one["in"] == "query")
            filled = path.replace("{job_id}", "1").replace("{name}", "0" * 64).replace("{task}", "tweets")
            response = trainer.request(method, filled, params={MARK: "1"}, json={})
            assert_error(response, 422, "InvalidRequest")
            named = f"There are: {', '.join(known)}." if known else "this call has no parameters."
            assert response.json()["detail"].endswith(named), (method, path)
            calls += 1
    assert calls >= 14


def test_a_parameter_that_is_given_twice_is_refused(trainer: httpx.Client) -> None:
    assert_error(trainer.get("/jobs?limit=1&limit=2"), 422, "InvalidRequest")
    assert_error(trainer.get(f"/jobs?limit=1&status={MARK}"), 422, "InvalidRequest")


def test_pages_of_the_allowed_origin_may_call_and_others_may_not(service: RunningApp) -> None:
    client = service.client(service.user)
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key, content-type"}
    allowed = client.options("/predict", headers={"Origin": ORIGIN, **asked})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    called = client.post("/predict", json=BODY, headers={"Origin": ORIGIN})
    assert (called.status_code, called.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "access-control-allow-credentials" not in called.headers
    for origin in ("https://evil.example.org", f"{ORIGIN}.evil.org", ORIGIN.replace("https", "http"), "null"):
        assert client.options("/predict", headers={"Origin": origin, **asked}).status_code == 400
        other = client.post("/predict", json=BODY, headers={"Origin": origin})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    "origins", ["*", "shop.example.org", f"{ORIGIN}/", f"{ORIGIN}/path", "null", f"{ORIGIN} {ORIGIN}"]
)
def test_an_origin_that_is_not_exact_is_refused_at_the_start(origins: str) -> None:
    with pytest.raises(ValidationError):
        Settings(cors_origins=origins)
    assert Settings(cors_origins=f"{ORIGIN}, http://localhost:3000").origins == [ORIGIN, "http://localhost:3000"]
