"""The snapshot by which ai-api recognises callers without data-api."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from data_api.crud.people import api_key, user
from data_api.crud.privacy import erasure, instance, retention
from data_api.http.caller import Service
from data_api.http.context import AppContext
from data_api.http.session import DbSession
from data_api.models.people.api_key import scopes_of
from data_api.models.people.user import Role
from data_api.schemas.people.auth import Jwks
from data_api.schemas.people.snapshot import LiveKey, Snapshot
from data_api.schemas.privacy.erasure import Erased, InstanceName

router = APIRouter(tags=["auth"])

AskingInstance = Annotated[
    InstanceName | None,
    Query(alias="replica", description="Name of the ai-api instance that asks. Erasures wait for its report."),
]
MARGIN = timedelta(minutes=5)
"""How much longer than a token's life the snapshot names a revocation, as the clock of ai-api may differ."""


@router.get("/auth/snapshot")
def snapshot(_: Service, context: AppContext, session: DbSession, instance_name: AskingInstance = None) -> Snapshot:
    """Everything that ai-api needs to recognise callers while data-api is away, and the people whom it has to erase."""
    if instance_name:
        instance.record_seen(session, instance_name)
    window = timedelta(seconds=context.tokens.seconds) + MARGIN
    now = datetime.now(UTC)
    return Snapshot(
        generated_at=now,
        keys=[
            LiveKey.model_validate(
                {"hash": key.hash, "key_id": key.id, "user_id": key.user_id, "role": role}
                | {"scopes": sorted(scopes_of(Role(role)).intersection(key.scopes))}
                | {"expires_at": key.expires_at}
            )
            for key, role in api_key.live(session)
        ],
        disabled_users=user.refused_users(session, window),
        tokens_valid_after={
            user_id: moment.timestamp() for user_id, moment in user.valid_after(session, window).items()
        },
        jwks=Jwks.model_validate(context.tokens.jwks),
        erasures=[Erased(id=one.id, user_id=one.user_id) for one in erasure.in_snapshot(session)],
        kept_days=retention.kept_days(session),
    )
