"""The admin page over HTTP: who gets in, from where, and what it never shows or does."""

from __future__ import annotations

import csv
import io
import re
from secrets import token_hex
from typing import Any

import psycopg2
import pytest
from fastapi import FastAPI
from sqladmin import ModelView
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from data_api.admin.people import PEOPLE
from data_api.admin.records import RECORDS
from data_api.admin.session import COOKIE
from data_api.ids import new_id
from data_api.main import create_app
from data_api.security import new_refresh_token
from data_api.settings import Settings
from tests.data.conftest import prepare
from tests.data.world import PASSWORD, Somebody, World, feedback, prediction, promotion

HERE = {"Sec-Fetch-Site": "same-origin"}
VIEWS: tuple[type[ModelView], ...] = (*PEOPLE, *RECORDS)
SECRETS = {"password_hash", "hash", "sealed_seed"}


def open_browser(app: FastAPI) -> TestClient:
    """Cookies and an address of its own, and no redirects that nobody sees."""
    address = (f"2001:db8:{token_hex(2)}:{token_hex(2)}::1", 50_000)
    return TestClient(app, raise_server_exceptions=False, follow_redirects=False, client=address)


@pytest.fixture
def browser(app: FastAPI, client: TestClient) -> TestClient:
    """Nobody is signed in."""
    return open_browser(app)


@pytest.fixture
def admin(world: World, browser: TestClient) -> Somebody:
    """An admin who is signed in with `browser`, for tests that end that."""
    somebody = world.person("admin")
    assert sign_in(browser, somebody.email).status_code == 303
    return somebody


@pytest.fixture(scope="module")
def clerk(world: World) -> Somebody:
    """An admin, for tests that leave them one."""
    return world.person("admin")


@pytest.fixture(scope="module")
def desk(app: FastAPI, client: TestClient, clerk: Somebody) -> TestClient:
    """Where the clerk is signed in."""
    browser = open_browser(app)
    assert sign_in(browser, clerk.email).status_code == 303
    return browser


@pytest.fixture(scope="module")
def other(world: World) -> Somebody:
    """A user whom no test changes."""
    return world.person()


def sign_in(browser: TestClient, email: str, password: str = PASSWORD, **headers: str) -> Any:
    return browser.post("/admin/login", data={"username": email, "password": password}, headers=headers or HERE)


def is_in(browser: TestClient) -> bool:
    return browser.get("/admin/user/list").status_code == 200


def history(world: World, thing: str) -> list[dict[str, Any]]:
    answer = world.client.get("/audit", params={"entity_id": thing}, headers=world.admin.headers)
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_the_address_without_a_slash_leads_to_the_page(browser: TestClient) -> None:
    assert browser.get("/admin").headers["location"] == "http://testserver/admin/"
    assert browser.get("/admin/").headers["location"] == "http://testserver/admin/login"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["user/list", "user/details/x", "user/edit/x", "user/export/csv", "audit/list"])
def test_nobody_sees_a_page_without_signing_in(browser: TestClient, path: str, method: str) -> None:
    answer = browser.request(method, f"/admin/{path}", headers=HERE)
    assert answer.status_code in (302, 405)
    assert method == "POST" or answer.headers["location"].endswith("/admin/login")


def test_an_admin_signs_in_and_out(browser: TestClient, admin: Somebody) -> None:
    assert is_in(browser)
    kept = browser.cookies[COOKIE]
    assert browser.get("/admin/logout").headers["location"].endswith("/admin/login")
    assert COOKIE not in browser.cookies
    browser.cookies.set(COOKIE, kept)
    assert not is_in(browser), "a cookie that was copied lives on after signing out"


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(world: World, browser: TestClient) -> None:
    somebody = world.person("admin")
    cookie = sign_in(browser, somebody.email).headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/admin"} <= {part.strip() for part in cookie.split(";")}
    assert "secure" not in cookie
    browser.base_url = "https://testserver"
    assert "; secure" in sign_in(browser, somebody.email).headers["set-cookie"].lower()


@pytest.mark.parametrize("role", ["user", "trainer"])
def test_who_is_no_admin_is_refused_with_the_right_password(world: World, browser: TestClient, role: str) -> None:
    answer = sign_in(browser, world.person(role).email)
    assert answer.status_code == 403
    assert "Only admins may use this page." in answer.text
    assert "set-cookie" not in answer.headers
    assert not is_in(browser)


@pytest.mark.parametrize(
    "form", [{"username": "nobody@example.org", "password": "x"}, {"username": "\0", "password": "\0"}, {}]
)
def test_a_wrong_sign_in_says_no_more_than_that(browser: TestClient, form: dict[str, str]) -> None:
    answer = browser.post("/admin/login", data=form, headers=HERE)
    assert answer.status_code == 400
    assert "The e-mail or the password is wrong." in answer.text


def test_guessing_at_the_page_locks_the_account(world: World, prepared: Settings) -> None:
    browser = open_browser(create_app(prepared.model_copy(update={"sign_in_tries": 3})))
    somebody = world.person("admin")
    for _ in range(40):
        answer = sign_in(browser, somebody.email, "wrong")
        if answer.status_code == 429:
            break
        assert answer.status_code == 400
    assert (answer.status_code, answer.headers["retry-after"].isdecimal()) == (429, True)


@pytest.mark.parametrize("change", [{"role": "trainer"}, {"disabled": True}, {"password": PASSWORD + "!"}])
def test_a_sign_in_ends_when_its_admin_is_none_any_more(
    world: World, browser: TestClient, admin: Somebody, change: dict[str, object]
) -> None:
    assert is_in(browser)
    changed = world.client.patch(f"/users/{admin.id}", json=change, headers=world.admin.headers)
    assert changed.status_code == 200
    assert not is_in(browser)


def test_a_sign_in_ends_when_its_admin_is_deleted(world: World, browser: TestClient, admin: Somebody) -> None:
    assert world.client.delete(f"/users/{admin.id}", headers=world.admin.headers).status_code == 204
    assert not is_in(browser)


def test_signing_out_everywhere_ends_the_page_too(world: World, browser: TestClient, admin: Somebody) -> None:
    assert world.client.post("/auth/logout-everywhere", headers=admin.headers).status_code == 204
    assert not is_in(browser)


def test_a_sign_in_ends_by_itself(world: World, browser: TestClient, admin: Somebody, as_app: Engine) -> None:
    with as_app.begin() as connection:
        gone = "UPDATE refresh_tokens SET expires_at = now() - interval '1 second' WHERE user_id = :user"
        connection.execute(text(gone), {"user": admin.id})
    assert not is_in(browser)


def test_the_cookie_is_no_refresh_token_and_a_refresh_token_is_no_cookie(
    world: World, browser: TestClient, admin: Somebody
) -> None:
    body = {"refresh_token": browser.cookies[COOKIE]}
    assert world.client.post("/auth/refresh", json=body).status_code == 401
    browser.cookies.set(COOKIE, admin.refresh)
    assert not is_in(browser)
    browser.cookies.set(COOKIE, new_refresh_token())
    assert not is_in(browser)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver:3000"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://testserver:3000"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"X-Nothing": "at all"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_a_change_from_elsewhere_is_refused(
    world: World, desk: TestClient, clerk: Somebody, other: Somebody, headers: dict[str, str]
) -> None:
    form = {"role": "admin", "save": "Save"}
    answer = desk.post(f"/admin/user/edit/{other.id}", data=form, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (403, "NotAllowed")
    assert desk.delete(f"/admin/user/delete?pks={other.id}", headers=headers).status_code == 403
    assert sign_in(desk, clerk.email, **headers).status_code == 403
    assert world.client.get("/users/me", headers=other.headers).json()["role"] == "user"


def test_a_browser_that_says_only_its_origin_is_heard(world: World, desk: TestClient, clerk: Somebody) -> None:
    somebody = world.person()
    form = {"role": "trainer", "save": "Save"}
    headers = {"Origin": "http://testserver"}
    assert desk.post(f"/admin/user/edit/{somebody.id}", data=form, headers=headers).status_code == 302


def test_changing_a_role_is_the_same_change_as_over_http(world: World, desk: TestClient, clerk: Somebody) -> None:
    somebody = world.person()
    form = {"role": "trainer", "save": "Save"}
    answer = desk.post(f"/admin/user/edit/{somebody.id}", data=form, headers={**HERE, "X-Request-ID": "page-1"})
    assert answer.status_code == 302, answer.text
    line = history(world, somebody.id)[0]
    assert (line["actor_id"], line["request_id"], line["fields"]) == (
        clerk.id, "page-1", ["role", "tokens_valid_after"],
    )  # fmt: skip
    assert world.client.get("/users/me", headers=somebody.headers).status_code == 401, "their old token ended"


def test_a_field_that_is_left_as_it_was_undoes_no_change_made_meanwhile(world: World, desk: TestClient) -> None:
    somebody = world.person()
    page = desk.get(f"/admin/user/edit/{somebody.id}").text
    remembered = dict(re.findall(r'name="(was_\w+)" type="hidden" value="(\w+)"', page))
    assert remembered == {"was_role": "user", "was_disabled": "False"}
    world.client.patch(f"/users/{somebody.id}", json={"role": "trainer"}, headers=world.admin.headers)
    form = {**remembered, "role": "user", "disabled": "on", "save": "Save"}
    assert desk.post(f"/admin/user/edit/{somebody.id}", data=form, headers=HERE).status_code == 302
    now = world.client.get(f"/users/{somebody.id}", headers=world.admin.headers).json()
    assert (now["role"], now["disabled"]) == ("trainer", True)


@pytest.mark.parametrize("role", ["service", "root", ""])
def test_only_roles_of_people_can_be_given(world: World, desk: TestClient, other: Somebody, role: str) -> None:
    answer = desk.post(f"/admin/user/edit/{other.id}", data={"role": role, "save": "Save"}, headers=HERE)
    assert answer.status_code == 400
    assert len(history(world, other.id)) == 1


def test_fields_that_the_form_lacks_are_not_taken(world: World, desk: TestClient, other: Somebody) -> None:
    form = {"role": "user", "save": "Save", "password_hash": "x", "id": str(new_id()), "email": "other@example.org"}
    assert desk.post(f"/admin/user/edit/{other.id}", data=form, headers=HERE).status_code == 302
    assert world.client.get("/users/me", headers=other.headers).json()["email"] == other.email
    assert len(history(world, other.id)) == 1


def test_deleting_a_user_ends_what_they_had(world: World, desk: TestClient, clerk: Somebody) -> None:
    somebody = world.person()
    assert desk.delete(f"/admin/user/delete?pks={somebody.id}", headers=HERE).status_code == 200
    assert world.client.get(f"/users/{somebody.id}", headers=world.admin.headers).status_code == 404
    assert world.client.get("/users/me", headers=somebody.headers).status_code == 401
    assert history(world, somebody.id)[0]["action"] == "delete"


def test_deleting_a_key_revokes_it(world: World, desk: TestClient, clerk: Somebody) -> None:
    somebody = world.person()
    key_id, key = world.key(somebody)
    assert desk.delete(f"/admin/api-key/delete?pks={key_id}", headers=HERE).status_code == 200
    assert world.client.get("/users/me", headers={"X-API-Key": key}).status_code == 401
    assert history(world, key_id)[0]["fields"] == ["revoked_at"]


def test_the_last_admin_stays(prepared: Settings) -> None:
    settings = prepared.model_copy(update={"postgres_database": f"alone_{token_hex(4)}"})
    prepare(settings)
    app = create_app(settings)
    with TestClient(app) as client:
        alone, desk = World(client, settings.secret).admin, open_browser(app)
        sign_in(desk, alone.email, settings.secret("admin_password"))
        form = {"role": "user", "save": "Save"}
        answer = desk.post(f"/admin/user/edit/{alone.id}", data=form, headers=HERE)
        assert (answer.status_code, "This is the last admin" in answer.text) == (400, True)
        assert "error=This+is+the+last+admin" in desk.delete(f"/admin/user/delete?pks={alone.id}", headers=HERE).text
        assert is_in(desk)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.identity))
def test_every_list_page_and_export_opens(
    world: World, desk: TestClient, clerk: Somebody, task: str, view: type[ModelView]
) -> None:
    about = prediction(task, clerk.id)
    world.send("/predictions", about)
    world.send("/feedback", feedback(about, clerk.id))
    world.send("/promotions", promotion(task))
    world.key(clerk)
    if view.identity == "invitation":
        invited = {"email": f"{task}@example.org", "role": "user"}
        assert world.client.post("/invitations", json=invited, headers=clerk.headers).status_code == 201
    if view.identity == "retention":
        days = {"predictions_days": 30, "examples_days": 60}
        assert world.client.put(f"/retention/{task}", json=days, headers=clerk.headers).status_code == 200
    if view.identity == "erasure":
        gone = world.person()
        assert world.client.delete(f"/users/{gone.id}/data", headers=clerk.headers).status_code == 202
    page = desk.get(f"/admin/{view.identity}/list")
    assert page.status_code == 200, page.text
    found = re.search(rf"/admin/{view.identity}/details/([\w-]+)", page.text)
    assert found, "the list has no row"
    assert desk.get(f"/admin/{view.identity}/details/{found[1]}").status_code == 200
    assert desk.get(f"/admin/{view.identity}/list?search=x&page=7&pageSize=25").status_code in (200, 302)
    exported = desk.get(f"/admin/{view.identity}/export/csv")
    assert exported.headers["content-type"].startswith("text/csv")
    assert len(list(csv.reader(io.StringIO(exported.text)))) > 1
    assert desk.get(f"/admin/{view.identity}/export/json").status_code == 404


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.identity))
def test_no_view_knows_a_secret(view: type[ModelView]) -> None:
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


def test_nothing_secret_is_on_the_pages(world: World, desk: TestClient, clerk: Somebody, as_owner: Engine) -> None:
    world.key(clerk)
    pages = [
        desk.get(f"/admin/{path}").text
        for path in ("user/list", f"user/details/{clerk.id}", f"user/edit/{clerk.id}", "user/export/csv",
                     "api-key/list", "api-key/export/csv", "audit/list", "audit/export/csv")
    ]  # fmt: skip
    with as_owner.connect() as connection:
        hashes = connection.scalars(text("SELECT hash FROM api_keys UNION SELECT hash FROM refresh_tokens")).all()
    assert not [page for page in pages if "argon2" in page or any(known in page for known in hashes)]


@pytest.mark.parametrize("view", [view for view in VIEWS if not view.can_edit], ids=lambda view: str(view.identity))
def test_what_is_only_looked_at_cannot_be_changed(desk: TestClient, clerk: Somebody, view: type[ModelView]) -> None:
    for path in ("create", f"edit/{new_id()}", "import"):
        assert desk.post(f"/admin/{view.identity}/{path}", headers=HERE).status_code == 403
    if not view.can_delete:
        assert desk.delete(f"/admin/{view.identity}/delete?pks={new_id()}", headers=HERE).status_code == 403


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
def test_a_strange_address_is_refused_and_never_a_5xx(desk: TestClient, clerk: Somebody, path: str) -> None:
    assert 400 <= desk.get(f"/admin/{path}").status_code < 500


def test_filters_and_search_narrow_a_list(
    world: World, desk: TestClient, clerk: Somebody, other: Somebody, task: str
) -> None:
    def people(**query: str) -> str:
        return desk.get("/admin/user/list", params=query).text

    assert f"/admin/user/details/{other.id}" in people(search=other.email[5:12].upper(), role="user")
    assert f"/admin/user/details/{clerk.id}" not in people(search=other.email)
    assert f"/admin/user/details/{other.id}" not in people(search=other.email, role="trainer")
    assert f"/admin/user/details/{other.id}" not in people(search=other.email, disabled="true")
    world.send("/predictions", prediction(task), prediction(f"{task}-other"))
    page = desk.get("/admin/prediction/list", params={"task": task, "task_op": "equals"}).text
    assert "1 to 1 of 1" in " ".join(re.sub("<[^>]+>", " ", page).split())


def test_what_people_wrote_is_text_on_the_page(world: World, desk: TestClient, clerk: Somebody, task: str) -> None:
    about = prediction(task, clerk.id, row={"text": "<script>alert(1)</script>"})
    world.send("/predictions", about)
    world.send("/feedback", feedback(about, clerk.id, comment="=<img src=x onerror=alert(2)>"))
    page = desk.get(f"/admin/prediction/details/{about['id']}").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    rows = list(csv.DictReader(io.StringIO(desk.get("/admin/feedback/export/csv").text)))
    assert [row["comment"] for row in rows if row["task"] == task] == ["'=<img src=x onerror=alert(2)>"]


def test_every_answer_forbids_frames_and_foreign_scripts(desk: TestClient, clerk: Somebody) -> None:
    headers = desk.get("/admin/user/list").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert "cache-control" not in desk.get("/admin/statics/js/main.js").headers


def test_a_postgres_that_is_away_is_a_503(desk: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = app.state.context.database.engine
    engine.dispose()  # so that the next request connects anew
    with monkeypatch.context() as patch:
        patch.setattr(engine.dialect.loaded_dbapi, "connect", unreachable)
        answer = desk.get("/admin/user/list")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert is_in(desk)


def unreachable(*_: object, **__: object) -> None:
    raise psycopg2.OperationalError("connection refused")
