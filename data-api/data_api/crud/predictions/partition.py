"""Partitions of the predictions, one per UTC month. Only setup and maintenance use this, as the owner of the tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, text

from data_api.ids import floor, time_of

OLDEST_YEAR = 2020
NAME = re.compile(r"predictions_(\d{4})_(\d{2})")


@dataclass(frozen=True, order=True)
class Month:
    """A month in UTC."""

    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime) -> Month:
        """The UTC month of a datetime."""
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    @property
    def next(self) -> Month:
        """The following month."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def start(self) -> UUID:
        """The smallest id of the month."""
        return floor(datetime(self.year, self.month, 1, tzinfo=UTC))

    @property
    def table(self) -> str:
        """The name of its partition."""
        return f"predictions_{self.year:04}_{self.month:02}"


def make(connection: Connection, now: datetime, ahead: int) -> list[Month]:
    """Makes the missing partitions of this month and `ahead` more, and of months that have rows in the default
    partition. Returns the months made.
    """
    last = Month.of(now)
    wanted = [last]
    for _ in range(ahead):
        last = last.next
        wanted.append(last)
    wanted += [month for month in _months_in_default(connection, last) if month not in wanted]
    made = [month for month in sorted(wanted) if not _exists(connection, month)]
    for month in made:
        _attach(connection, month)
    return made


def expired(connection: Connection, before: Mapping[str, UUID]) -> list[Month]:
    """The months in which every task's predictions are past their retention; `before` is the first id to keep,
    by task.
    """
    if not before:
        return []
    latest = max(before.values())
    return [month for month in months(connection) if month.next.start <= latest and _is_past(connection, month, before)]


def drop(connection: Connection, month: Month, before: Mapping[str, UUID]) -> bool:
    """Drops a month if every task's predictions in it are past their retention; whether it did. The lock is waited for
    at most 1 second: requests queued behind it would wait as long.
    """
    connection.execute(text("SET LOCAL lock_timeout = '1s'"))
    connection.execute(text(f"LOCK TABLE {month.table} IN ACCESS EXCLUSIVE MODE"))
    if not _is_past(connection, month, before):
        return False
    connection.execute(text(f"DROP TABLE {month.table}"))
    return True


def months(connection: Connection) -> list[Month]:
    """The months that have a partition, oldest first."""
    names = connection.scalars(
        text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'predictions'::regclass")
    )
    return sorted(Month(int(found[1]), int(found[2])) for name in names if (found := NAME.fullmatch(name)))


def _is_past(connection: Connection, month: Month, before: Mapping[str, UUID]) -> bool:
    return all(task in before and month.next.start <= before[task] for task in _tasks(connection, month))


def _tasks(connection: Connection, month: Month) -> Iterator[str]:
    """The tasks with rows in a month, with one index lookup per task."""
    query = f"SELECT task FROM {month.table} WHERE task > :after ORDER BY task LIMIT 1"  # noqa: S608
    task = ""
    while (found := connection.scalar(text(query), {"after": task})) is not None:
        task = found
        yield task


def _exists(connection: Connection, month: Month) -> bool:
    return connection.scalar(text("SELECT to_regclass(:name)"), {"name": month.table}) is not None


def _months_in_default(connection: Connection, last: Month) -> Iterator[Month]:
    """Months up to `last` that have rows in the default partition, with one index lookup per month."""
    query = text("SELECT id FROM predictions_default WHERE id >= :start ORDER BY id LIMIT 1")
    month = Month(OLDEST_YEAR, 1)
    while (key := connection.scalar(query, {"start": month.start})) and (found := Month.of(time_of(key))) <= last:
        yield found
        month = found.next


def _attach(connection: Connection, month: Month) -> None:
    """Moves the rows of a month from the default partition into a new one. Inserts wait meanwhile."""
    name, start, end = month.table, month.start, month.next.start
    inside = f"id >= '{start}' AND id < '{end}'"
    bounds = f"FROM ('{start}') TO ('{end}')"
    for statement in (
        "LOCK TABLE predictions_default IN ACCESS EXCLUSIVE MODE",
        f"CREATE TABLE {name} (LIKE predictions INCLUDING ALL)",
        f"INSERT INTO {name} SELECT * FROM predictions_default WHERE {inside}",  # noqa: S608
        f"DELETE FROM predictions_default WHERE {inside}",  # noqa: S608
        f"ALTER TABLE predictions ATTACH PARTITION {name} FOR VALUES {bounds}",
    ):
        connection.execute(text(statement))
