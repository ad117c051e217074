"""Which migration the database stands at, and whether it answers at all."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session


def revision(session: Session) -> str | None:
    """The migration that was applied last, None when none was."""
    try:
        found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError:
        return None
    return found
