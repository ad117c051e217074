"""Bodies of erasures."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from data_api.models.privacy.erasure import ErasureStatus
from data_api.schemas.base import Moment, NoNul, Schema

InstanceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]


class ErasureOut(Schema):
    """The state of an erasure: what was deleted, by the part of Volant that held it, and which parts have yet to
    report.
    """

    id: UUID
    user_id: UUID
    requested_at: Moment
    requested_by: UUID | None
    status: ErasureStatus
    erased_at: Moment | None
    finished_at: Moment | None
    removed: dict[str, dict[str, int]]
    awaited: list[str]


class ErasureIn(Schema):
    """The password of the caller, for people who erase themselves."""

    password: Annotated[str, Field(max_length=256), NoNul] | None = None


class PartIn(Schema):
    """What one ai-api instance has deleted of a person. It may report more than once: the counts are added."""

    replica: InstanceName
    removed: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z_]{1,32}$")], Count], Field(max_length=16)]


class Erased(Schema):
    """A person whose data ai-api must delete."""

    id: UUID
    user_id: UUID
