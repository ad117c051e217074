"""The ai-api instances that ask for the snapshot of callers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, Text
from sqlalchemy.orm import Mapped, mapped_column

from data_api.database import Base


class Instance(Base):
    """One running ai-api process, by the name under which it asks for the snapshot."""

    __tablename__ = "replicas"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
