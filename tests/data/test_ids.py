"""UUIDv7 ids: which are valid, and their time."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_api.ids import EPOCH, LATEST, MILLISECOND, check, floor, new_id, time_of
from tests.data.untimed import UNTIMED

IDS = st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number))


def is_one(key: UUID) -> bool:
    try:
        check(key)
    except ValueError:
        return False
    return True


@UNTIMED
@given(IDS)
@example(UUID("0192f0c1-7a5e-7b7e-9d0a-2f6f3c1b8d11"))
@example(UUID("0192f0c1-7a5e-7b7e-1d0a-2f6f3c1b8d11"))
@example(UUID("0192f0c1-7a5e-7b7e-dd0a-2f6f3c1b8d11"))
@example(UUID("0192f0c1-7a5e-4b7e-9d0a-2f6f3c1b8d11"))
@example(UUID("ffffffff-ffff-7b7e-9d0a-2f6f3c1b8d11"))
def test_an_id_is_a_uuid_of_version_7_before_the_year_10000(key: UUID) -> None:
    ends = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert ends == EPOCH + LATEST * MILLISECOND
    assert is_one(key) == (key.version == 7 and key.int >> 80 <= LATEST)


@UNTIMED
@given(st.integers(0, LATEST), IDS)
def test_the_time_of_an_id_is_its_millisecond(millisecond: int, other: UUID) -> None:
    tail = other.int & (2**80 - 1) & ~(0xF << 76) & ~(0b11 << 62) | 7 << 76 | 0b10 << 62
    key = UUID(int=millisecond << 80 | tail)
    assert time_of(key) == EPOCH + millisecond * MILLISECOND
    assert floor(time_of(key)) <= key


def test_new_ids_are_valid_and_increase() -> None:
    made = [new_id() for _ in range(1_000)]
    assert all(map(is_one, made))
    assert made == sorted(made)
    with pytest.raises(ValueError, match="version 7"):
        time_of(UUID(int=0))
