"""The snapshot by which ai-api recognises callers without data-api."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from data_api.crud import audit
from data_api.crud.people import api_key, user
from data_api.crud.privacy import erasure, instance, retention
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import Service
from data_api.http.context import AppContext
from data_api.http.session import DbSession
from data_api.models.people.api_key import scopes_of
from data_api.models.people.user import Role
from data_api.schemas.people.auth import Jwks
from data_api.schemas.people.snapshot import LiveKey, Snapshot
from data_api.schemas.privacy.erasure import Erased, InstanceName

router = APIRouter(route_class=GuardedRoute, tags=["auth"])

AskingInstance = Annotated[
    InstanceName | None,
    Query(alias="replica", description="Name of the ai-api instance that asks. Erasures wait for its report."),
]
KnownRevision = Annotated[
    str | None, Header(alias="If-None-Match", max_length=64, description="`ETag` of a snapshot that is known.")
]
MARGIN = timedelta(minutes=5)
"""How much longer than a token's life the snapshot names a revocation, as the clock of ai-api may differ."""


@router.get("/auth/snapshot", response_model=Snapshot)
def snapshot(
    _: Service,
    context: AppContext,
    session: DbSession,
    response: Response,
    instance_name: AskingInstance = None,
    known_revision: KnownRevision = None,
) -> Snapshot | Response:
    """Everything that ai-api needs to recognise callers while data-api is away, and the people whom it has to erase.

    304 if nothing was changed since the snapshot with the `ETag` in `If-None-Match`: a cheap question that ai-api asks
    every second, so that a key that was revoked or whose owner is erased ends at once. Of two changes at the same
    moment it may miss one, so the whole snapshot is fetched from time to time as well.
    """
    revision = f'"{audit.latest(session)}"'
    if known_revision == revision:
        return Response(status_code=304, headers={"ETag": revision})
    response.headers["ETag"] = revision
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
