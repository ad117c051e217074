"""UUIDv7 ids. They hold the time of their creation, so one column is the key, the order and the partition key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LATEST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return uuid7()


def time_of(key: UUID) -> datetime:
    """The time in an id, to the millisecond. ValueError when it is no UUIDv7 or its time is past the year 9999."""
    check(key)
    return EPOCH + (key.int >> 80) * MILLISECOND


def check(key: UUID) -> None:
    """ValueError when it is no UUIDv7 or its time is past the year 9999."""
    number = key.int
    if number >> 76 & 0xF != 7 or number >> 62 & 0b11 != 0b10:  # as `version` and `variant` do, in half the time
        raise ValueError("must be a UUID of version 7")
    if number >> 80 > LATEST:
        raise ValueError("must carry a time before the year 10000")


def floor(moment: datetime) -> UUID:
    """The smallest id of a millisecond; ids made at `moment` or later are not below it. Times before 1970 count as
    1970.
    """
    return UUID(int=max((moment - EPOCH) // MILLISECOND, 0) << 80)
