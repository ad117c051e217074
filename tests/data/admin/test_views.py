"""The lists, detail pages and exports of the admin page, and what they never show."""

from __future__ import annotations

import csv
import io
import re

import psycopg2
import pytest
from fastapi import FastAPI
from sqladmin import ModelView
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from data_api.admin.people import PEOPLE
from data_api.admin.records import RECORDS
from data_api.ids import new_id
from tests.data.admin.conftest import HERE, is_in
from tests.data.api import ApiClient, SignedInUser, feedback, prediction, promotion

VIEWS: tuple[type[ModelView], ...] = (*PEOPLE, *RECORDS)
SECRETS = {"password_hash", "hash", "sealed_seed"}


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.identity))
def test_every_list_detail_page_and_export_responds(
    api: ApiClient, admin_browser: TestClient, shared_admin: SignedInUser, task: str, view: type[ModelView]
) -> None:
    about = prediction(task, shared_admin.id)
    api.send("/predictions", about)
    api.send("/feedback", feedback(about, shared_admin.id))
    api.send("/promotions", promotion(task))
    api.key(shared_admin)
    if view.identity == "invitation":
        invited = {"email": f"{task}@example.org", "role": "user"}
        assert api.client.post("/invitations", json=invited, headers=shared_admin.headers).status_code == 201
    if view.identity == "retention":
        days = {"predictions_days": 30, "examples_days": 60}
        assert api.client.put(f"/retention/{task}", json=days, headers=shared_admin.headers).status_code == 200
    if view.identity == "erasure":
        gone = api.person()
        assert api.client.delete(f"/users/{gone.id}/data", headers=shared_admin.headers).status_code == 202
    page = admin_browser.get(f"/admin/{view.identity}/list")
    assert page.status_code == 200, page.text
    found = re.search(rf"/admin/{view.identity}/details/([\w-]+)", page.text)
    assert found, "the list has no row"
    assert admin_browser.get(f"/admin/{view.identity}/details/{found[1]}").status_code == 200
    assert admin_browser.get(f"/admin/{view.identity}/list?search=x&page=7&pageSize=25").status_code in (200, 302)
    exported = admin_browser.get(f"/admin/{view.identity}/export/csv")
    assert exported.headers["content-type"].startswith("text/csv")
    assert len(list(csv.reader(io.StringIO(exported.text)))) > 1
    assert admin_browser.get(f"/admin/{view.identity}/export/json").status_code == 404


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.identity))
def test_no_view_lists_a_secret_column(view: type[ModelView]) -> None:
    made = view()
    shown = {
        name
        for names in (
            made.get_list_columns(), made.get_details_columns(), made.get_export_columns(), made.column_searchable_list,
            made.column_sortable_list, [made_by.parameter_name for made_by in made.get_filters()],
        )
        for name in map(str, names)
    }  # fmt: skip
    assert shown & SECRETS == set()
    assert view.column_details_list, "without a list, details show every column"
    if view.can_edit or view.can_create:
        assert set(made.get_form_columns()) == {"role", "disabled"}


def test_nothing_secret_is_on_the_pages(
    api: ApiClient, admin_browser: TestClient, shared_admin: SignedInUser, as_owner: Engine
) -> None:
    api.key(shared_admin)
    pages = [
        admin_browser.get(f"/admin/{path}").text
        for path in ("user/list", f"user/details/{shared_admin.id}", f"user/edit/{shared_admin.id}", "user/export/csv",
                     "api-key/list", "api-key/export/csv", "audit/list", "audit/export/csv")
    ]  # fmt: skip
    with as_owner.connect() as connection:
        hashes = connection.scalars(text("SELECT hash FROM api_keys UNION SELECT hash FROM refresh_tokens")).all()
    assert not [page for page in pages if "argon2" in page or any(known in page for known in hashes)]


@pytest.mark.parametrize("view", [view for view in VIEWS if not view.can_edit], ids=lambda view: str(view.identity))
def test_read_only_views_refuse_changes(
    admin_browser: TestClient, shared_admin: SignedInUser, view: type[ModelView]
) -> None:
    for path in ("create", f"edit/{new_id()}", "import"):
        assert admin_browser.post(f"/admin/{view.identity}/{path}", headers=HERE).status_code == 403
    if not view.can_delete:
        assert admin_browser.delete(f"/admin/{view.identity}/delete?pks={new_id()}", headers=HERE).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "user/details/no-id",
        "user/edit/no-id",
        "user/list?search=%00",
        "user/list?page=x",
        "user/list?sortBy=password_hash",
        "prediction/list?task=%00&task_op=equals",
        "nothing/list",
        f"user/details/{new_id()}",
    ],
    ids=lambda path: path if "0" not in path else path.partition("?")[2] or "user that is not there",
)
def test_a_malformed_url_is_refused_and_never_a_5xx(
    admin_browser: TestClient, shared_admin: SignedInUser, path: str
) -> None:
    assert 400 <= admin_browser.get(f"/admin/{path}").status_code < 500


@pytest.mark.parametrize(("email", "other", "term"), [("a_b", "axb", "_b@"), ("a%b", "axb", "a%"), ("ab", "a.b", "\\")])
def test_a_search_finds_characters_and_no_patterns(
    api: ApiClient, admin_browser: TestClient, email: str, other: str, term: str
) -> None:
    made = {}
    for part in (email, other):
        body = {"email": f"{part}@{new_id().hex}.example.org", "name": part + ("\\" if part == email == "ab" else "")}
        made[part] = api.client.post("/users", json=body, headers=api.admin.headers).json()["id"]
    page = admin_browser.get("/admin/user/list", params={"search": term, "pageSize": "100"}).text
    assert f"/admin/user/details/{made[email]}" in page
    assert f"/admin/user/details/{made[other]}" not in page


def test_filters_and_search_narrow_a_list(
    api: ApiClient, admin_browser: TestClient, shared_admin: SignedInUser, other: SignedInUser, task: str
) -> None:
    def people(**query: str) -> str:
        return admin_browser.get("/admin/user/list", params=query).text

    assert f"/admin/user/details/{other.id}" in people(search=other.email[5:12].upper(), role="user")
    assert f"/admin/user/details/{shared_admin.id}" not in people(search=other.email)
    assert f"/admin/user/details/{other.id}" not in people(search=other.email, role="trainer")
    assert f"/admin/user/details/{other.id}" not in people(search=other.email, disabled="true")
    api.send("/predictions", prediction(task), prediction(f"{task}-other"))
    page = admin_browser.get("/admin/prediction/list", params={"task": task, "task_op": "equals"}).text
    assert "1 to 1 of 1" in " ".join(re.sub("<[^>]+>", " ", page).split())


def test_user_input_is_escaped_on_the_page(
    api: ApiClient, admin_browser: TestClient, shared_admin: SignedInUser, task: str
) -> None:
    about = prediction(task, shared_admin.id, row={"text": "<script>alert(1)</script>"})
    api.send("/predictions", about)
    api.send("/feedback", feedback(about, shared_admin.id, comment="=<img src=x onerror=alert(2)>"))
    page = admin_browser.get(f"/admin/prediction/details/{about['id']}").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    rows = list(csv.DictReader(io.StringIO(admin_browser.get("/admin/feedback/export/csv").text)))
    assert [row["comment"] for row in rows if row["task"] == task] == ["'=<img src=x onerror=alert(2)>"]


def test_every_response_forbids_frames_and_foreign_scripts(
    admin_browser: TestClient, shared_admin: SignedInUser
) -> None:
    headers = admin_browser.get("/admin/user/list").headers
    assert "default-src 'self'; img-src" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert admin_browser.get("/admin/statics/js/main.js").headers["cache-control"] == "max-age=3600"


def test_an_unavailable_postgres_is_a_503(
    admin_browser: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = app.state.context.database.engine
    engine.dispose()  # so that the next request opens a new connection
    with monkeypatch.context() as patch:
        patch.setattr(engine.dialect.loaded_dbapi, "connect", unreachable)
        response = admin_browser.get("/admin/user/list")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert is_in(admin_browser)


def unreachable(*_: object, **__: object) -> None:
    raise psycopg2.OperationalError("connection refused")
