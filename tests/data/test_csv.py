"""Lists as CSV: whole, in order, by the rights of the caller, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from data_api.crud import audit
from data_api.crud.people import user
from data_api.errors import DatabaseUnavailable
from data_api.http import export
from data_api.main import create_app
from data_api.schemas.audit import AuditOut
from data_api.settings import Settings
from tests.data.world import Somebody, World, estimate, feedback, prediction, promotion

LISTS = ("users", "predictions", "feedback", "promotions", "audit")


@pytest.fixture(autouse=True)
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few rows are several pages."""
    monkeypatch.setattr(export, "ROWS", 2)


@pytest.fixture(scope="module")
def reader(world: World) -> Somebody:
    return world.person("admin")


def table(world: World, somebody: Somebody, path: str, **query: str) -> list[dict[str, str]]:
    answer = world.client.get(path, params={"format": "csv", **query}, headers=somebody.headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


@pytest.mark.parametrize("path", LISTS)
def test_a_list_is_the_same_in_both_forms(world: World, reader: Somebody, task: str, path: str) -> None:
    about = [prediction(task, reader.id) for _ in range(5)]
    world.send("/predictions", *about)
    world.send("/feedback", *[feedback(one, reader.id, comment="fünf, „sechs“\nsieben") for one in about])
    world.send("/promotions", *[promotion(task) for _ in range(5)])
    query = {"task": task} if path in ("predictions", "feedback", "promotions") else {}
    if path == "audit":
        query = {"actor_id": world.admin.id, "entity_id": reader.id}
    if path == "users":
        query = {"search": reader.email}
    shown = world.client.get(f"/{path}", params=query, headers=reader.headers).json()["items"]
    rows = table(world, reader, f"/{path}", **query)
    assert rows
    assert [list(row) for row in rows] == [list(item) for item in shown]
    assert [list(row.values()) for row in rows] == [[cell(value) for value in item.values()] for item in shown]


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def test_a_whole_list_comes_whatever_the_limit_of_a_page(world: World, reader: Somebody, task: str) -> None:
    ids = [row["id"] for row in (prediction(task) for _ in range(7)) if world.send("/predictions", row)]
    rows = table(world, reader, "/predictions", task=task, limit="1")
    assert [row["id"] for row in rows] == ids[::-1]


def test_a_list_may_be_continued_as_csv(world: World, reader: Somebody, task: str) -> None:
    ids = [row["id"] for row in (prediction(task) for _ in range(5)) if world.send("/predictions", row)]
    query = {"task": task, "limit": "2"}
    page = world.client.get("/predictions", params=query, headers=reader.headers).json()
    rest = table(world, reader, "/predictions", task=task, cursor=page["next"])
    assert [row["id"] for row in rest] == ids[2::-1]


def test_an_empty_list_is_a_header_line(world: World, reader: Somebody, task: str) -> None:
    query = {"task": task, "format": "csv"}
    answer = world.client.get("/feedback", params=query, headers=reader.headers)
    assert answer.text.startswith("id,created_at,prediction_id,")
    assert answer.text.count("\r\n") == 1


def test_a_user_gets_their_own_rows_only(world: World, task: str) -> None:
    somebody, other = world.person(), world.person()
    mine = prediction(task, somebody.id)
    world.send("/predictions", mine, prediction(task, other.id))
    assert [row["id"] for row in table(world, somebody, "/predictions", task=task)] == [mine["id"]]
    for path in ("/users", "/audit"):
        answer = world.client.get(path, params={"format": "csv"}, headers=somebody.headers)
        assert (answer.status_code, answer.json()["error"]) == (403, "NotAllowed")


@pytest.mark.parametrize(
    ("accept", "form", "kind"),
    [
        ("text/csv", None, "text/csv"),
        ("TEXT/CSV; q=0.9, application/json;q=0.1", None, "text/csv"),
        ("application/json, text/csv", None, "application/json"),
        ("*/*", None, "application/json"),
        ("text/html", None, "application/json"),
        ("", None, "application/json"),
        ("text/csv", "json", "application/json"),
        ("application/json", "csv", "text/csv"),
    ],
)
def test_the_caller_chooses_the_form(
    world: World, reader: Somebody, task: str, accept: str, form: str | None, kind: str
) -> None:
    query = {"task": task, **({"format": form} if form else {})}
    answer = world.client.get("/predictions", params=query, headers={**reader.headers, "Accept": accept})
    assert answer.headers["content-type"].split(";")[0] == kind


def test_an_unknown_form_is_refused(world: World, reader: Somebody) -> None:
    answer = world.client.get("/users", params={"format": "xlsx"}, headers=reader.headers)
    assert (answer.status_code, answer.json()["error"]) == (422, "InvalidRequest")


def test_a_browser_keeps_the_file_under_its_name(world: World, reader: Somebody) -> None:
    headers = world.client.get("/users", params={"format": "csv", "limit": 1}, headers=reader.headers).headers
    assert headers["content-disposition"] == 'attachment; filename="users.csv"'
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "comment", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠x"]
)
def test_what_a_spreadsheet_would_run_is_made_harmless(world: World, reader: Somebody, task: str, comment: str) -> None:
    about = prediction(task, reader.id)
    world.send("/predictions", about)
    world.send("/feedback", feedback(about, reader.id, comment=comment))
    assert [row["comment"] for row in table(world, reader, "/feedback", task=task)] == [f"'{comment}"]


def test_a_negative_number_stays_a_number(world: World, reader: Somebody, task: str) -> None:
    world.send("/predictions", estimate(task))
    about = estimate(task, reader.id)
    world.send("/predictions", about)
    world.send("/feedback", feedback(about, reader.id, value=-2.5))
    assert [row["value"] for row in table(world, reader, "/feedback", task=task)] == ["-2.5"]


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5))
def test_any_text_comes_back_and_begins_no_formula(row: list[str]) -> None:
    text = export.lines([row]).decode()
    [read] = csv.reader(io.StringIO(text, newline=""))
    assert [value.removeprefix("'") for value in read] == [value.removeprefix("'") for value in row]
    assert not [value for value in read if value.startswith(export.FORMULA)]


def test_a_postgres_that_is_away_is_a_503_and_not_half_a_file(
    world: World, reader: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> Iterator[object]:
        raise DatabaseUnavailable

    monkeypatch.setattr(user, "find", away)
    answer = world.client.get("/users", params={"format": "csv"}, headers=reader.headers)
    assert (answer.status_code, answer.json()["error"]) == (503, "DatabaseUnavailable")


def test_more_exports_than_connections_do_not_wait_for_each_other(
    world: World, reader: Somebody, prepared: Settings
) -> None:
    narrow = prepared.model_copy(update={"pool_size": 1, "pool_wait_seconds": 0.2})
    with TestClient(create_app(narrow)) as client:
        query = {"format": "csv", "actor_id": world.admin.id}
        assert client.get("/audit", params=query, headers=reader.headers).status_code == 200


def test_no_connection_is_held_between_pages(world: World, app: FastAPI) -> None:
    pool = app.state.context.database
    pages = export._pages(pool, AuditOut, partial(audit.find, wanted=audit.Filter()), None)
    assert [next(pages), next(pages)]
    assert pool.engine.pool.checkedout() == 0
