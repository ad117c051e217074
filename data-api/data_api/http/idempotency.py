"""`Idempotency-Key`: a POST that creates something does so once, however often its answer gets lost on the way."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request, Response

from data_api.crud import idempotency
from data_api.errors import KeyReused
from data_api.keyring import Box
from data_api.schemas.base import Schema

from .caller import Caller, recognise
from .context import AppContext
from .session import DbSession

T = TypeVar("T", bound=Schema)
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=200,
        description="Anything unguessable, new for each thing to create. The same call with the same key within a day"
        " is answered as it was the first time.",
    ),
]


class Creation:
    """A call that creates something. What an answer holds may be a secret, so it is kept sealed with the caller's own
    key, of which only a digest is kept: who has the database alone reads nothing.
    """

    def __init__(
        self,
        request: Request,
        response: Response,
        context: AppContext,
        session: DbSession,
        caller: Annotated[Caller, Depends(recognise)],
        key: Key = None,
    ) -> None:
        self._session, self._response = session, response
        self._secret = None
        if key:
            call = f"{caller.role} {caller.user_id} {request.method} {request.url.path}"
            self._secret = hmac.digest(context.responses_key, f"{call} {key}".encode(), "sha256")

    def once(self, body: Schema, kind: type[T], make: Callable[[], T]) -> T:
        """What `make` gives, or gave when this call came before; KeyReused when it came with another body."""
        if self._secret is None:
            return make()
        digest = hashlib.sha256(self._secret).hexdigest()
        signed = hmac.digest(self._secret, body.model_dump_json().encode(), "sha256").hex()
        earlier = idempotency.begin(self._session, digest, signed)
        box = Box(self._secret)
        if earlier is None:
            made = make()
            idempotency.end(self._session, digest, box.close(made.model_dump_json().encode()))
            return made
        if earlier.body != signed or earlier.answer is None:
            raise KeyReused
        self._response.headers["Idempotency-Replayed"] = "true"
        return kind.model_validate_json(box.open(earlier.answer))


Once = Annotated[Creation, Depends()]
