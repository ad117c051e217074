"""A person takes along what is kept of them, and nobody else's."""

from __future__ import annotations

import io
import json
from typing import Any
from zipfile import ZipFile

import pytest

from data_api.http.zip_stream import archive
from data_api.routes.privacy import own_data
from tests.data.world import Somebody, World, feedback, prediction


def taken(world: World, headers: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    answer = world.client.get("/users/me/data", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with ZipFile(io.BytesIO(answer.content)) as files:
        assert files.testzip() is None
        return {name: [json.loads(line) for line in files.read(name).splitlines()] for name in files.namelist()}


def test_a_person_gets_everything_of_their_own(world: World, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_data, "ROWS", 2)
    somebody, trainer = world.person(), world.person("trainer")
    key_id, key = world.key(somebody, "read")
    mine = [prediction(task, somebody.id) for _ in range(5)]
    others = prediction(task, trainer.id)
    world.send("/predictions", *mine, others)
    world.send("/feedback", feedback(mine[0], somebody.id, comment="no"), feedback(mine[1], trainer.id))
    world.client.patch(f"/users/{somebody.id}", json={"role": "trainer"}, headers=world.admin.headers)
    found = taken(world, world.sign_in(somebody.email, "correct horse battery staple").headers)
    assert set(found) == {
        f"{name}.ndjson" for name in ("profile", "api_keys", "predictions", "feedback", "examples", "history")
    }
    assert [one["email"] for one in found["profile.ndjson"]] == [somebody.email]
    assert [one["id"] for one in found["api_keys.ndjson"]] == [key_id]
    assert {one["id"] for one in found["predictions.ndjson"]} == {one["id"] for one in mine}
    assert len(found["predictions.ndjson"]) == 5
    assert [one["comment"] for one in found["feedback.ndjson"]] == ["no"]
    assert {one["prediction_id"] for one in found["examples.ndjson"]} == {mine[0]["id"], mine[1]["id"]}
    assert any("role" in one["fields"] for one in found["history.ndjson"])
    assert key not in json.dumps(found)
    assert "hash" not in found["api_keys.ndjson"][0]


def test_an_admins_own_history_does_not_carry_what_it_says_of_others(world: World) -> None:
    admin, somebody = world.person("admin"), world.person()
    world.client.patch(f"/users/{somebody.id}", json={"role": "trainer"}, headers=admin.headers)
    history = taken(world, admin.headers)["history.ndjson"]
    changed = next(one for one in history if one["entity_id"] == somebody.id)
    assert (changed["fields"], changed["before"], changed["after"]) != ([], {}, {})
    assert (changed["before"], changed["after"]) == (None, None)


def test_a_person_with_a_key_alone_gets_it_too_and_the_service_has_nothing(world: World) -> None:
    assert taken(world, world.demo)["profile.ndjson"][0]["email"] == "demo@volant.local"
    assert world.client.get("/users/me/data", headers=world.service).status_code == 403


def test_the_zip_is_sent_while_it_is_made() -> None:
    made: list[int] = []

    def parts() -> Any:
        for number in range(100):
            made.append(number)
            yield str(number).encode() * 100_000

    stream = archive([("numbers", parts())])
    next(stream)
    assert made == [0]
    assert len(b"".join(stream)) > 0
    assert len(made) == 100


def test_somebody_without_anything_gets_empty_files(world: World) -> None:
    somebody: Somebody = world.person()
    found = taken(world, somebody.headers)
    assert found["predictions.ndjson"] == []
