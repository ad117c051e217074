"""Whether Postgres responds, and at which migration its tables are."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session


def revision(session: Session) -> str | None:
    """The migration that was applied last; None without tables."""
    try:
        found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError:
        return None
    return found
