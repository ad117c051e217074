"""Invitations: created by admins, accepted by the person who has the link."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path as FilePath
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, Response

from data_api.crud.people import invitation
from data_api.database import release
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import Admin
from data_api.http.context import AppContext
from data_api.http.idempotency import Idempotent
from data_api.http.paging import Cursor, Limit, decode_cursor, page_of
from data_api.http.session import DbSession
from data_api.models.people.user import Role
from data_api.schemas.base import NoNul, Page
from data_api.schemas.people.invitation import Acceptance, InvitationIn, InvitationOut, NewInvitation, Welcome
from data_api.schemas.people.user import UserOut
from data_api.security import digest, new_invitation

router = APIRouter(route_class=GuardedRoute, prefix="/invitations", tags=["invitations"])

PAGE = (FilePath(__file__).parents[2] / "page" / "invitation.html").read_text()
CONTENT_HASHES = {
    f"{kind}-src": f"'sha256-{b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
    for kind, inline in (
        ("script", PAGE.partition("<script>")[2].partition("</script>")[0]),
        ("style", PAGE.partition("<style>")[2].partition("</style>")[0]),
    )
}
PAGE_HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
            *(f"{kind} {hashes}" for kind, hashes in CONTENT_HASHES.items()),
        ]
    ),
    "Referrer-Policy": "no-referrer",
}
"""The URL of this page is a secret: it must not reach other sites by requests or links from the page."""
Token = Annotated[str, Path(max_length=200, description="The last part of the link."), NoNul]


@router.post("", status_code=201)
def create(
    body: InvitationIn, caller: Admin, context: AppContext, session: DbSession, creation: Idempotent
) -> NewInvitation:
    """Invites a person. The link is in this response only: send it in a way that only this person can read. Earlier
    invitations of the same e-mail are revoked.
    """

    def make() -> NewInvitation:
        token, role = new_invitation(), Role(body.role)
        made = invitation.create(session, body.email, role, digest(token), caller.user_id, context.invitation_lifetime)
        return NewInvitation(**InvitationOut.model_validate(made).model_dump(), link=link(context.public_url, token))

    return creation.run(body, NewInvitation, make)


@router.get("")
def find(
    _: Admin,
    session: DbSession,
    open_only: Annotated[bool, Query(alias="open", description="Leave out those that cannot be accepted.")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[InvitationOut]:
    """Lists invitations, newest first."""
    return page_of(InvitationOut, *invitation.find(session, open_only, limit, decode_cursor(cursor)))


@router.get(
    "/{invitation}",
    response_model=Welcome,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "A page, for browsers."}},
)
def look(token: Annotated[Token, Path(alias="invitation")], request: Request, session: DbSession) -> Response | Welcome:
    """The invitation of a link; a browser gets a page on which to accept it. This does not use the link up."""
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(PAGE, headers={**PAGE_HEADERS, "Vary": "Accept"})
    return Welcome.model_validate(invitation.find_open(session, digest(token)))


@router.post("/{invitation}", status_code=201)
def accept(
    token: Annotated[Token, Path(alias="invitation")], body: Acceptance, context: AppContext, session: DbSession
) -> UserOut:
    """Creates the account with the password that the person chose. A link works once."""
    invitation.find_open(session, digest(token))
    release(session)  # holds no connection while waiting for a slot to hash in
    password_hash = context.passwords.hash(body.password)
    return UserOut.model_validate(invitation.accept(session, digest(token), password_hash, body.name))


@router.delete("/{invitation}", status_code=204)
def revoke(invitation_id: Annotated[UUID, Path(alias="invitation")], _: Admin, session: DbSession) -> None:
    """Revokes an invitation by its id."""
    invitation.revoke(session, invitation_id)


def link(public_url: str, token: str) -> str:
    """The URL that the invited person opens."""
    return f"{public_url}/invitations/{token}"
