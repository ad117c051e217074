"""`Idempotency-Key`: a POST that creates something does so once, however often its answer gets lost on the way."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Annotated, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from fastapi import Depends, Header, Request, Response

from data_api.crud import idempotency
from data_api.errors import KeyReused
from data_api.schemas.base import Schema

from .caller import Caller, Database, Wired, recognise

T = TypeVar("T", bound=Schema)
NONCE_BYTES = 12
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
        wired: Wired,
        database: Database,
        caller: Annotated[Caller, Depends(recognise)],
        key: Key = None,
    ) -> None:
        self._database, self._response = database, response
        self._secret = None
        if key:
            call = f"{caller.role} {caller.user_id} {request.method} {request.url.path}"
            self._secret = hmac.digest(wired.answers_key, f"{call} {key}".encode(), "sha256")

    def once(self, body: Schema, kind: type[T], make: Callable[[], T]) -> T:
        """What `make` gives, or gave when this call came before; KeyReused when it came with another body."""
        if self._secret is None:
            return make()
        digest = hashlib.sha256(self._secret).hexdigest()
        signed = hmac.digest(self._secret, body.model_dump_json().encode(), "sha256").hex()
        earlier = idempotency.begin(self._database, digest, signed)
        cipher = ChaCha20Poly1305(self._secret)
        if earlier is None:
            made, nonce = make(), secrets.token_bytes(NONCE_BYTES)
            sealed = nonce + cipher.encrypt(nonce, made.model_dump_json().encode(), None)
            idempotency.end(self._database, digest, sealed)
            return made
        if earlier.body != signed or earlier.answer is None:
            raise KeyReused
        self._response.headers["Idempotency-Replayed"] = "true"
        return kind.model_validate_json(
            cipher.decrypt(earlier.answer[:NONCE_BYTES], earlier.answer[NONCE_BYTES:], None)
        )


Once = Annotated[Creation, Depends()]
