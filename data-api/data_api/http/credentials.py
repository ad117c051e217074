"""The credential in the headers of a request. Both services read it by the same rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import Headers

from data_api.errors import NotSignedIn

SEVERAL = "Send one credential: either `Authorization: Bearer <token>` or `X-API-Key: <key>`, once."


@dataclass(frozen=True, slots=True)
class Credential:
    """A key or a token, as it was sent."""

    kind: Literal["key", "token"]
    value: str


def credential_of(headers: Headers) -> Credential:
    """The one credential of a request; NotSignedIn without one, with more than one, and with one that is malformed: an
    empty key, or an `Authorization` other than the word Bearer (in any case) and a token without spaces.

    An empty header counts. Which of two credentials is meant is not guessed.
    """
    keys, authorizations = headers.getlist("x-api-key"), headers.getlist("authorization")
    if len(keys) + len(authorizations) > 1:
        raise NotSignedIn(SEVERAL)
    if keys and keys[0].strip():
        return Credential("key", keys[0].strip())
    scheme, _, token = authorizations[0].strip().partition(" ") if authorizations else ("", "", "")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token.split()) > 1:
        raise NotSignedIn
    return Credential("token", token)
