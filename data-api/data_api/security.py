"""Password hashing, access tokens, and random keys. It does not read the database."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
import unicodedata
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
    """Password hashes (argon2id, 19 MiB each), at most `at_once` at a time."""

    def __init__(self, at_once: int, wait_seconds: float = 5) -> None:
        self._hash = PasswordHash([Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1)])
        self._slots = BoundedSemaphore(at_once)
        self._wait_seconds = wait_seconds
        self._decoy_hash = self._hash.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        """The hash to store, of the password in NFC: the same password typed on another system has the same hash."""
        with self._slot():
            return self._hash.hash(unicodedata.normalize("NFC", password))

    def verify(self, password: str, stored_hash: str | None) -> bool:
        """Whether the password matches in NFC or, as earlier releases stored it, as it was typed (here, or in NFD). A
        `stored_hash` of None is never matched and takes as long as a wrong password.
        """
        with self._slot():
            is_right = any(self._hash.verify(form, stored_hash or self._decoy_hash) for form in _forms(password))
        return is_right and stored_hash is not None

    def updated_hash(self, password: str, stored_hash: str) -> str | None:
        """The hash to store instead of one that this password matches in another form than NFC; None if it need not be
        replaced.
        """
        composed = unicodedata.normalize("NFC", password)
        if password.isascii():
            return None
        with self._slot():
            return None if self._hash.verify(composed, stored_hash) else self._hash.hash(composed)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """One of the slots for hashing; Overloaded when none becomes free in time."""
        with PASSWORD_WAIT_SECONDS.time():
            if not self._slots.acquire(timeout=self._wait_seconds):
                raise Overloaded
        try:
            with PASSWORD_SECONDS.time():
                yield
        finally:
            self._slots.release()


def _forms(password: str) -> list[str]:
    """The password in NFC, as it was typed, and in NFD, where they differ."""
    composed, decomposed = (unicodedata.normalize(form, password) for form in ("NFC", "NFD"))
    return list(dict.fromkeys((composed, password, decomposed)))


@dataclass(frozen=True)
class Claims:
    """The claims of a valid access token that are used. Its role is not: the role in the table of users counts."""

    user_id: UUID
    issued_at: datetime


class Tokens:
    """Issues and verifies access tokens with the keys of the keyring."""

    def __init__(self, keyring: Keyring, seconds: int) -> None:
        self._keyring = keyring
        self.seconds = seconds

    @property
    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The JWKS of the keyring."""
        return self._keyring.jwks

    def issue(self, user_id: UUID, role: str) -> str:
        """An access token. Its `iat` has a fraction, so that a revocation in the same second is ordered before or after
        it.
        """
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
        """The claims of a token; NotSignedIn unless its signature and every required claim are valid now."""
        try:
            key = self._keyring.verifying(jwt.get_unverified_header(token).get("kid"))
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
    """SHA-256 of a key or refresh token, for the database. They are random and long, so a slow hash is not needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def pseudonym(key: bytes, text: str) -> str:
    """HMAC-SHA256 of a text: equal for equal texts, and not invertible without the key."""
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def new_api_key() -> str:
    """A new API key, with 256 random bits."""
    return f"vk_{secrets.token_hex(32)}"


def new_refresh_token() -> str:
    """A new refresh token, with 256 random bits."""
    return f"vr_{secrets.token_hex(32)}"


def new_invitation() -> str:
    """The token in the link of a new invitation, with 256 random bits."""
    return f"vi_{secrets.token_hex(32)}"


def constant_time_equal(a: str, b: str) -> bool:
    """Whether two secrets are equal, in a time that does not depend on where they differ."""
    return secrets.compare_digest(digest(a), digest(b))
