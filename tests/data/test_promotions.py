"""Promotions: an append-only table."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from data_api.ids import new_id
from tests.data.api import ApiClient, promotion


def test_promotions_are_stored_once_and_readable_by_every_signed_in_user(api: ApiClient, task: str) -> None:
    first, back = promotion(task), promotion(task, action="rollback", version=3, previous=4, actor=None)
    assert api.statuses("/promotions", first, back, first) == ["stored", "stored", "duplicate"]
    page = api.client.get("/promotions", params={"task": task}, headers=api.person().headers).json()
    assert [item["id"] for item in page["items"]] == [back["id"], first["id"]]
    stored = page["items"][1]
    assert {name: stored[name] for name in first} == first


@pytest.mark.parametrize(("role", "shows"), [("user", False), ("trainer", True), ("admin", True)])
@pytest.mark.parametrize("form", ["json", "csv"])
def test_users_do_not_see_who_promoted(api: ApiClient, task: str, role: str, shows: bool, form: str) -> None:
    someone = str(new_id())
    api.send("/promotions", promotion(task, actor=someone), promotion(task, actor="gate"))
    page = api.client.get("/promotions", params={"task": task, "format": form}, headers=api.person(role).headers).text
    assert "gate" in page
    assert (someone in page) == shows


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"action": "explode"}, "action: Input should be 'promote', 'rollback' or 'remove'"),
        ({"metrics": {"f1": "\0"}}, "metrics: must not hold NUL characters"),
        ({"previous": -1}, "previous: Input should be greater than or equal to 1"),
        ({"created_at": "2020-01-01T00:00:00Z"}, "has an unknown field"),
    ],
)
def test_a_malformed_promotion_is_refused_alone(
    api: ApiClient, task: str, change: dict[str, object], reason: str
) -> None:
    results = api.send("/promotions", promotion(task, **change), promotion(task, previous=None))
    assert results == [{"status": "refused", "reason": reason}, {"status": "stored", "reason": None}]


@pytest.mark.parametrize("statement", ["UPDATE promotions SET reason = ''", "DELETE FROM promotions"])
def test_the_service_role_cannot_change_promotions(as_app: Engine, statement: str) -> None:
    with as_app.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text(statement))
