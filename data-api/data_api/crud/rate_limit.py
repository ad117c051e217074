"""Rate-limit counters in Postgres, shared by several data-api processes."""

from __future__ import annotations

from datetime import timedelta

from limits.storage import Storage
from sqlalchemy import case, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from data_api.database import Database
from data_api.errors import DatabaseUnavailable
from data_api.models.rate_limit import RateLimit


class PostgresStorage(Storage):
    """A storage of the library `limits`. Each count is a transaction of its own, so that failed requests count too."""

    STORAGE_SCHEME = ["volant-postgres"]  # noqa: RUF012 (as the library has it)

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    @property
    def base_exceptions(self) -> type[Exception]:
        """What counting may raise."""
        return DatabaseUnavailable

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Adds `amount` and returns the count of the window; after its end a new window begins."""
        ended = RateLimit.ends_at <= func.now()
        ends_at = func.now() + timedelta(seconds=expiry)
        counted = insert(RateLimit).values(key=key, requests=amount, ends_at=ends_at)
        counted = counted.on_conflict_do_update(
            index_elements=["key"],
            set_={
                "requests": case((ended, amount), else_=RateLimit.requests + amount),
                "ends_at": case((ended, ends_at), else_=RateLimit.ends_at),
            },
        )
        with self._database.session() as session:
            return session.scalars(counted.returning(RateLimit.requests)).one()

    def get(self, key: str) -> int:
        """The count of the window."""
        with self._database.session() as session:
            live = select(RateLimit.requests).where(RateLimit.key == key, RateLimit.ends_at > func.now())
            return session.scalar(live) or 0

    def get_expiry(self, key: str) -> float:
        """When the window ends, in unix seconds."""
        with self._database.session() as session:
            ends_at = session.scalar(select(RateLimit.ends_at).where(RateLimit.key == key))
            return (ends_at or session.scalars(select(func.now())).one()).timestamp()

    def check(self) -> bool:
        """Whether Postgres responds."""
        try:
            self.get("")
        except DatabaseUnavailable:
            return False
        return True

    def reset(self) -> int | None:
        """Deletes all counts."""
        with self._database.session() as session:
            session.execute(delete(RateLimit))
        return None

    def clear(self, key: str) -> None:
        """Deletes one count."""
        with self._database.session() as session:
            session.execute(delete(RateLimit).where(RateLimit.key == key))
