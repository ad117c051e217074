"""The export of a person's own data, without data of other people."""

from __future__ import annotations

import io
import json
from typing import Any
from zipfile import ZipFile

import pytest

from data_api.http.zip_stream import zip_stream
from data_api.routes.privacy import own_data
from tests.data.api import ApiClient, SignedInUser, feedback, prediction


def taken(api: ApiClient, headers: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    response = api.client.get("/users/me/data", headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    with ZipFile(io.BytesIO(response.content)) as files:
        assert files.testzip() is None
        return {name: [json.loads(line) for line in files.read(name).splitlines()] for name in files.namelist()}


def test_a_person_gets_all_their_own_data(api: ApiClient, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_data, "PAGE_ROWS", 2)
    user, trainer = api.person(), api.person("trainer")
    key_id, key = api.key(user, "read")
    mine = [prediction(task, user.id) for _ in range(5)]
    others = prediction(task, trainer.id)
    api.send("/predictions", *mine, others)
    api.send("/feedback", feedback(mine[0], user.id, comment="no"), feedback(mine[1], trainer.id))
    api.client.patch(f"/users/{user.id}", json={"role": "trainer"}, headers=api.admin.headers)
    found = taken(api, api.sign_in(user.email, "correct horse battery staple").headers)
    assert set(found) == {
        f"{name}.ndjson" for name in ("profile", "api_keys", "predictions", "feedback", "examples", "history")
    }
    assert [one["email"] for one in found["profile.ndjson"]] == [user.email]
    assert [one["id"] for one in found["api_keys.ndjson"]] == [key_id]
    assert {one["id"] for one in found["predictions.ndjson"]} == {one["id"] for one in mine}
    assert len(found["predictions.ndjson"]) == 5
    assert [one["comment"] for one in found["feedback.ndjson"]] == ["no"]
    assert {one["prediction_id"] for one in found["examples.ndjson"]} == {mine[0]["id"], mine[1]["id"]}
    assert any("role" in one["fields"] for one in found["history.ndjson"])
    assert key not in json.dumps(found)
    assert "hash" not in found["api_keys.ndjson"][0]


def test_an_admins_audit_lines_do_not_hold_values_about_others(api: ApiClient) -> None:
    admin, user = api.person("admin"), api.person()
    api.client.patch(f"/users/{user.id}", json={"role": "trainer"}, headers=admin.headers)
    history = taken(api, admin.headers)["history.ndjson"]
    changed = next(one for one in history if one["entity_id"] == user.id)
    assert (changed["fields"], changed["before"], changed["after"]) != ([], {}, {})
    assert (changed["before"], changed["after"]) == (None, None)


def test_own_data_is_available_by_key_and_refused_to_the_service(api: ApiClient) -> None:
    assert taken(api, api.demo)["profile.ndjson"][0]["email"] == "demo@volant.local"
    assert api.client.get("/users/me/data", headers=api.service).status_code == 403


def test_the_zip_is_sent_while_it_is_made() -> None:
    made: list[int] = []

    def parts() -> Any:
        for number in range(100):
            made.append(number)
            yield str(number).encode() * 100_000

    stream = zip_stream([("numbers", parts())])
    next(stream)
    assert made == [0]
    assert len(b"".join(stream)) > 0
    assert len(made) == 100


def test_a_person_without_data_gets_empty_files(api: ApiClient) -> None:
    user: SignedInUser = api.person()
    found = taken(api, user.headers)
    assert found["predictions.ndjson"] == []
