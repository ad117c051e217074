"""Lists as CSV: complete, in order, by the rights of the caller, and without spreadsheet formulas."""

from __future__ import annotations

import csv
import io
import json
import re
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
from tests.data.api import ApiClient, SignedInUser, feedback, prediction, promotion, regression
from tests.data.untimed import UNTIMED

TEXTS = st.text(st.one_of(st.sampled_from("=+-@＝;,|\t\r\n\"' \xa0"), st.characters(codec="utf-8")))
LISTS = ("users", "predictions", "feedback", "promotions", "audit")


@pytest.fixture(autouse=True)
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pages, so that a few rows are several pages."""
    monkeypatch.setattr(export, "PAGE_ROWS", 2)


@pytest.fixture(scope="module")
def reader(api: ApiClient) -> SignedInUser:
    return api.person("admin")


def table(api: ApiClient, user: SignedInUser, path: str, **query: str) -> list[dict[str, str]]:
    response = api.client.get(path, params={"format": "csv", **query}, headers=user.headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    return list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("path", LISTS)
def test_a_list_is_the_same_as_json_and_csv(api: ApiClient, reader: SignedInUser, task: str, path: str) -> None:
    about = [prediction(task, reader.id) for _ in range(5)]
    api.send("/predictions", *about)
    api.send("/feedback", *[feedback(one, reader.id, comment="fünf, „sechs“\nsieben") for one in about])
    api.send("/promotions", *[promotion(task) for _ in range(5)])
    query = {"task": task} if path in ("predictions", "feedback", "promotions") else {}
    if path == "audit":
        query = {"actor_id": api.admin.id, "entity_id": reader.id}
    if path == "users":
        query = {"search": reader.email}
    shown = api.client.get(f"/{path}", params=query, headers=reader.headers).json()["items"]
    rows = table(api, reader, f"/{path}", **query)
    assert rows
    assert [list(row) for row in rows] == [list(item) for item in shown]
    assert [list(row.values()) for row in rows] == [[cell(value) for value in item.values()] for item in shown]


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def test_csv_holds_the_whole_list_whatever_the_limit(api: ApiClient, reader: SignedInUser, task: str) -> None:
    ids = [row["id"] for row in (prediction(task) for _ in range(7)) if api.send("/predictions", row)]
    rows = table(api, reader, "/predictions", task=task, limit="1")
    assert [row["id"] for row in rows] == ids[::-1]


def test_csv_can_start_at_a_cursor(api: ApiClient, reader: SignedInUser, task: str) -> None:
    ids = [row["id"] for row in (prediction(task) for _ in range(5)) if api.send("/predictions", row)]
    query = {"task": task, "limit": "2"}
    page = api.client.get("/predictions", params=query, headers=reader.headers).json()
    rest = table(api, reader, "/predictions", task=task, cursor=page["next"])
    assert [row["id"] for row in rest] == ids[2::-1]


def test_an_empty_list_is_a_header_line(api: ApiClient, reader: SignedInUser, task: str) -> None:
    query = {"task": task, "format": "csv"}
    response = api.client.get("/feedback", params=query, headers=reader.headers)
    assert response.text.startswith("\ufeffid,created_at,prediction_id,"), "with a byte order mark"
    assert response.text.count("\r\n") == 1


def test_a_user_gets_their_own_rows_only(api: ApiClient, task: str) -> None:
    user, other = api.person(), api.person()
    mine = prediction(task, user.id)
    api.send("/predictions", mine, prediction(task, other.id))
    assert [row["id"] for row in table(api, user, "/predictions", task=task)] == [mine["id"]]
    for path in ("/users", "/audit"):
        response = api.client.get(path, params={"format": "csv"}, headers=user.headers)
        assert (response.status_code, response.json()["error"]) == (403, "NotAllowed")


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
def test_the_caller_chooses_json_or_csv(
    api: ApiClient, reader: SignedInUser, task: str, accept: str, form: str | None, kind: str
) -> None:
    query = {"task": task, **({"format": form} if form else {})}
    response = api.client.get("/predictions", params=query, headers={**reader.headers, "Accept": accept})
    assert response.headers["content-type"].split(";")[0] == kind


def test_an_unknown_format_is_refused(api: ApiClient, reader: SignedInUser) -> None:
    response = api.client.get("/users", params={"format": "xlsx"}, headers=reader.headers)
    assert (response.status_code, response.json()["error"]) == (422, "InvalidRequest")


def test_csv_is_sent_as_a_file_with_a_name(api: ApiClient, reader: SignedInUser) -> None:
    headers = api.client.get("/users", params={"format": "csv", "limit": 1}, headers=reader.headers).headers
    assert headers["content-disposition"] == 'attachment; filename="users.csv"'
    assert headers["cache-control"] == "no-store"


FORMULAS = {
    **{text: f"'{text}" for text in ("=1+1", "+1", "-1", "@SUM(A1)", "＝1", "＋1", "－1", "＠x", "'=1", "\tx", "\rx")},
    "\t=1": "'\t'=1",
    "x;=1+1": "x;'=1+1",
    "x\t@a": "x\t'@a",
    "x|=cmd|' /C calc'!A0": "x|'=cmd|' /C calc'!A0",
    'x";"=1': 'x";"\'=1',
    "x\n =1": "x\n '=1",
    "x\r\n=1": "x\r\n'=1",
    ' "=1': " \"'=1",
    "a, -5": "a, '-5",
    "a=1; b-c": "a=1; b-c",
    "1 + 1": "1 + 1",
}


@pytest.mark.parametrize("comment", FORMULAS)
def test_spreadsheet_formulas_are_quoted_whatever_separates_cells(
    api: ApiClient, reader: SignedInUser, task: str, comment: str
) -> None:
    about = prediction(task, reader.id)
    api.send("/predictions", about)
    api.send("/feedback", feedback(about, reader.id, comment=comment))
    assert [row["comment"] for row in table(api, reader, "/feedback", task=task)] == [FORMULAS[comment]]


def test_formulas_in_json_cells_are_quoted_and_the_json_stays_valid(
    api: ApiClient, reader: SignedInUser, task: str
) -> None:
    about = prediction(task, reader.id) | {"row": {"text": "late;=1+1", "n": [1, -2], "other": "a, -b|\t@x"}}
    api.send("/predictions", about)
    [row] = table(api, reader, "/predictions", task=task)
    assert json.loads(row["row"]) == about["row"] | {"text": "late;'=1+1"}


def test_a_negative_number_stays_a_number(api: ApiClient, reader: SignedInUser, task: str) -> None:
    api.send("/predictions", regression(task))
    about = regression(task, reader.id)
    api.send("/predictions", about)
    api.send("/feedback", feedback(about, reader.id, value=-2.5))
    assert [row["value"] for row in table(api, reader, "/feedback", task=task)] == ["-2.5"]


@UNTIMED
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_any_text_is_preserved_and_starts_no_formula(row: list[str]) -> None:
    text = export.csv_lines([row]).decode()
    [read] = csv.reader(io.StringIO(text, newline=""))
    assert [restored(value) for value in read] == row
    for separator in ",;|\t\r\n":
        parts = [part.lstrip(' "\xa0') for value in read for part in value.split(separator)]
        assert not [part for part in parts if part.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))]


def restored(cell: str) -> str:
    """The text of a cell, as docs/calls.md says."""
    return re.sub(r"""^'(?='*[\t\r\n])|(^|[,;|\t\r\n])([ "\xa0]*)'(?='*[=+\-@＝＋－＠])""", r"\1\2", cell)


def test_an_unavailable_postgres_is_a_503_and_not_a_partial_file(
    api: ApiClient, reader: SignedInUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> Iterator[object]:
        raise DatabaseUnavailable

    monkeypatch.setattr(user, "find", away)
    response = api.client.get("/users", params={"format": "csv"}, headers=reader.headers)
    assert (response.status_code, response.json()["error"]) == (503, "DatabaseUnavailable")


def test_more_exports_than_connections_do_not_deadlock(
    api: ApiClient, reader: SignedInUser, prepared: Settings
) -> None:
    narrow = prepared.model_copy(update={"pool_size": 1, "pool_wait_seconds": 0.2})
    with TestClient(create_app(narrow)) as client:
        query = {"format": "csv", "actor_id": api.admin.id}
        assert client.get("/audit", params=query, headers=reader.headers).status_code == 200


def test_no_connection_is_held_between_pages(api: ApiClient, app: FastAPI) -> None:
    pool = app.state.context.database
    pages = export._pages(pool, AuditOut, partial(audit.find, wanted=audit.AuditFilter()), None)
    assert [next(pages), next(pages)]
    assert pool.engine.pool.checkedout() == 0
