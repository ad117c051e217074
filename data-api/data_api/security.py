"""Password hashes, tokens and keys. It knows no tables: what it is given, it checks."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import BoundedSemaphore
from uuid import UUID

import jwt
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from .errors import NotSignedIn, Overloaded
from .ids import new_id
from .keyring import ALGORITHM, Keyring
from .metrics import PASSWORD_SECONDS, PASSWORD_WAIT_SECONDS

ISSUER = AUDIENCE = "volant"
CLAIMS = ("iss", "aud", "sub", "role", "iat", "nbf", "exp", "jti")


class Passwords:
    """argon2id, as much of it at once as memory allows."""

    def __init__(self, at_once: int, wait_seconds: float = 5) -> None:
        self._hash = PasswordHash([Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1)])
        self._places = BoundedSemaphore(at_once)
        self._wait_seconds = wait_seconds
        self._decoy = self._hash.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        """A hash to keep."""
        with self._place():
            return self._hash.hash(password)

    def verify(self, password: str, kept: str | None) -> bool:
        """Whether the password is the one behind `kept`. None takes as long as any other wrong answer."""
        with self._place():
            right = self._hash.verify(password, kept or self._decoy)
        return right and kept is not None

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places for hashing; Overloaded when none becomes free in time."""
        with PASSWORD_WAIT_SECONDS.time():
            if not self._places.acquire(timeout=self._wait_seconds):
                raise Overloaded
        try:
            with PASSWORD_SECONDS.time():
                yield
        finally:
            self._places.release()


@dataclass(frozen=True)
class Claims:
    """What a valid access token says. The role in it is a hint: the users table has the last word."""

    user_id: UUID
    issued_at: datetime


class Tokens:
    """Signs access tokens and reads them back, with whatever keys the keyring holds at that moment."""

    def __init__(self, keyring: Keyring, seconds: int) -> None:
        self._keyring = keyring
        self.seconds = seconds

    @property
    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys that tokens verify with."""
        return self._keyring.jwks

    def issue(self, user_id: UUID, role: str) -> str:
        """An access token. Its `iat` has a fraction, so that a revocation in the same second parts before and after."""
        now = time.time()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "role": role,
            "iat": now,
            "nbf": int(now),
            "exp": int(now) + self.seconds,
            "jti": str(new_id()),
        }
        key = self._keyring.signing()
        return jwt.encode(claims, key.private, ALGORITHM, headers={"kid": key.kid})

    def read(self, token: str) -> Claims:
        """What the token says; NotSignedIn unless every claim is there and holds now."""
        try:
            key = self._keyring.named(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise NotSignedIn
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": list(CLAIMS), "strict_aud": True},
            )
            return Claims(UUID(claims["sub"]), datetime.fromtimestamp(float(claims["iat"]), UTC))
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            raise NotSignedIn from None


def digest(secret: str) -> str:
    """What is kept of a key or refresh token. They are random and long, so one fast hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def pseudonym(key: bytes, text: str) -> str:
    """The same for the same text, and nothing that tells the text to somebody without the key."""
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def new_api_key() -> str:
    """A key to show once."""
    return f"vk_{secrets.token_hex(32)}"


def new_refresh_token() -> str:
    """A refresh token to hand out once."""
    return f"vr_{secrets.token_hex(32)}"


def new_invitation() -> str:
    """What makes the link of an invitation, to show once."""
    return f"vi_{secrets.token_hex(32)}"


def same(a: str, b: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell how far they agree."""
    return secrets.compare_digest(digest(a), digest(b))
