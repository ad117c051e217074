"""Which erasures the snapshot names to ai-api, and which instances are awaited before one is finished."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from data_api.crud.privacy import erasure
from data_api.ids import new_id
from data_api.models.privacy.erasure import Erasure, ErasureStatus


@pytest.fixture
def session(as_owner: Engine) -> Iterator[Session]:
    """A transaction that is rolled back."""
    with Session(as_owner) as session:
        yield session
        session.rollback()


def add(session: Session, status: ErasureStatus, finished: timedelta | None = None) -> UUID:
    """An erasure that was finished this long ago."""
    finished_at = None if finished is None else session.scalar(select(func.now() - finished))
    made = Erasure(id=new_id(), user_id=new_id(), status=status, finished_at=finished_at, removed={})
    session.add(made)
    session.flush()
    return made.id


def test_open_erasures_and_those_finished_within_a_month_are_in_the_snapshot(session: Session) -> None:
    requested, awaiting = add(session, ErasureStatus.REQUESTED), add(session, ErasureStatus.AWAITING)
    recent = add(session, ErasureStatus.FINISHED, timedelta(days=29))
    old = add(session, ErasureStatus.FINISHED, timedelta(days=31))
    named = {found.id for found in erasure.in_snapshot(session)}
    assert {requested, awaiting, recent} <= named
    assert old not in named


def test_the_age_of_open_erasures_alone_is_measured(session: Session) -> None:
    before = len(erasure.open_ages(session))
    add(session, ErasureStatus.REQUESTED)
    add(session, ErasureStatus.AWAITING)
    add(session, ErasureStatus.FINISHED, timedelta(days=1))
    assert len(erasure.open_ages(session)) == before + 2


def test_erasures_are_found_by_their_status_oldest_first(session: Session) -> None:
    first, second = add(session, ErasureStatus.AWAITING), add(session, ErasureStatus.AWAITING)
    requested = add(session, ErasureStatus.REQUESTED)
    found = [key for key in erasure.with_status(session, ErasureStatus.AWAITING) if key in {first, second, requested}]
    assert found == [first, second]


def test_an_erasure_is_finished_when_every_present_instance_has_reported(session: Session) -> None:
    key = add(session, ErasureStatus.AWAITING)
    erasure.report(session, key, "r1", {"outbox": 2})
    assert not erasure.finish(session, key, {"r1", "r2"})
    assert erasure.awaited(erasure.get(session, key), {"r1", "r2"}) == ["ai-api r2"]
    erasure.report(session, key, "r2", {})
    assert erasure.finish(session, key, {"r1", "r2"})
    found = erasure.get(session, key)
    assert (found.status, found.finished_at is not None) == (ErasureStatus.FINISHED, True)
    assert erasure.awaited(found, {"r3"}) == []


def test_an_erasure_awaits_a_first_report_while_no_instance_is_known(session: Session) -> None:
    key = add(session, ErasureStatus.AWAITING)
    assert erasure.awaited(erasure.get(session, key), set()) == ["ai-api"]
    assert not erasure.finish(session, key, set())
    erasure.report(session, key, "r1", {})
    assert erasure.finish(session, key, set())


def test_counts_of_repeated_reports_of_an_instance_are_added_up(session: Session) -> None:
    key = add(session, ErasureStatus.AWAITING)
    erasure.report(session, key, "r1", {"outbox": 2, "pictures": 1})
    erasure.report(session, key, "r1", {"outbox": 3})
    erasure.report(session, key, "r2", {"outbox": 5})
    assert erasure.get(session, key).removed == {
        "ai-api r1": {"outbox": 5, "pictures": 1},
        "ai-api r2": {"outbox": 5},
    }


def test_a_repeated_erasure_starts_again_without_counts(session: Session) -> None:
    key = add(session, ErasureStatus.FINISHED, timedelta(days=40))
    assert erasure.repeat(session) >= 1
    session.expire_all()
    found = erasure.get(session, key)
    assert (found.status, found.finished_at, found.removed) == (ErasureStatus.REQUESTED, None, {})
