"""`Idempotency-Key`: a POST that is repeated with the same key creates its resource once."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request, Response

from data_api.crud import idempotency
from data_api.errors import KeyReused
from data_api.keyring import SecretBox
from data_api.schemas.base import Schema

from .caller import Caller, recognise
from .context import AppContext
from .session import DbSession

T = TypeVar("T", bound=Schema)
KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=200,
        description="Anything unguessable, new for each thing to create. The same request with the same key within a"
        " day gets the response of the first one.",
    ),
]


class IdempotentCreation:
    """A request that creates a resource. Its response may hold a secret, so it is stored encrypted with a key derived
    from the caller's Idempotency-Key, of which only a digest is stored: the database alone does not reveal it.
    """

    def __init__(
        self,
        request: Request,
        response: Response,
        context: AppContext,
        session: DbSession,
        caller: Annotated[Caller, Depends(recognise)],
        key: KeyHeader = None,
    ) -> None:
        self._session, self._response = session, response
        self._secret = None
        if key:
            call = f"{caller.role} {caller.user_id} {request.method} {request.url.path}"
            self._secret = hmac.digest(context.responses_key, f"{call} {key}".encode(), "sha256")

    def run(self, body: Schema, schema: type[T], make: Callable[[], T]) -> T:
        """The result of `make`, or the stored result if this request came before; KeyReused if its body was
        different.
        """
        if self._secret is None:
            return make()
        digest = hashlib.sha256(self._secret).hexdigest()
        signed = hmac.digest(self._secret, body.model_dump_json().encode(), "sha256").hex()
        earlier = idempotency.begin(self._session, digest, signed)
        box = SecretBox(self._secret)
        if earlier is None:
            made = make()
            idempotency.end(self._session, digest, box.encrypt(made.model_dump_json().encode()))
            return made
        if earlier.body != signed or earlier.answer is None:
            raise KeyReused
        self._response.headers["Idempotency-Replayed"] = "true"
        return schema.model_validate_json(box.decrypt(earlier.answer))


Idempotent = Annotated[IdempotentCreation, Depends()]
