"""Password hashes, tokens and keys. It knows no tables: what it is given, it checks."""

from __future__ import annotations

import hashlib
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import BoundedSemaphore
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from .errors import MisSet, NotSignedIn, Overloaded
from .ids import new_id

ISSUER = AUDIENCE = "volant"
ALGORITHM = "EdDSA"
CLAIMS = ("iss", "aud", "sub", "role", "iat", "nbf", "exp", "jti")


class Passwords:
    """argon2id, as much of it at once as memory allows."""

    def __init__(self, at_once: int, wait_seconds: float = 5) -> None:
        self._hash = PasswordHash([Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1)])
        self._turn = BoundedSemaphore(at_once)
        self._wait_seconds = wait_seconds
        self._decoy = self._hash.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        """A hash to keep."""
        with _Turn(self):
            return self._hash.hash(password)

    def verify(self, password: str, kept: str | None) -> bool:
        """Whether the password is the one behind `kept`. None takes as long as any other wrong answer."""
        with _Turn(self):
            right = self._hash.verify(password, kept or self._decoy)
        return right and kept is not None


class _Turn:
    """One of the places for hashing; Overloaded when none becomes free in time."""

    def __init__(self, passwords: Passwords) -> None:
        self._passwords = passwords

    def __enter__(self) -> None:
        if not self._passwords._turn.acquire(timeout=self._passwords._wait_seconds):
            raise Overloaded

    def __exit__(self, *_: object) -> None:
        self._passwords._turn.release()


@dataclass(frozen=True)
class Claims:
    """What a valid access token says. The role in it is a hint: the users table has the last word."""

    user_id: UUID
    issued_at: datetime


class Tokens:
    """Signs access tokens with one Ed25519 key and reads them back."""

    def __init__(self, seed: str, seconds: int) -> None:
        try:
            self._private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
        except ValueError:
            raise MisSet(
                "The secret signing_key must be 32 bytes in hex. Delete it: the next start makes one"
            ) from None
        self._public = self._private.public_key()
        self.seconds = seconds
        x = _base64(self._public.public_bytes(Encoding.Raw, PublicFormat.Raw))
        thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()  # RFC 7638
        self.kid = _base64(thumbprint)
        self.jwks: dict[str, list[dict[str, str]]] = {
            "keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "alg": ALGORITHM, "use": "sig"}]
        }

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
        return jwt.encode(claims, self._private, ALGORITHM, headers={"kid": self.kid})

    def read(self, token: str) -> Claims:
        """What the token says; NotSignedIn unless every claim is there and holds now."""
        try:
            if jwt.get_unverified_header(token).get("kid") != self.kid:
                raise NotSignedIn
            claims = jwt.decode(
                token,
                self._public,
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


def new_api_key() -> str:
    """A key to show once."""
    return f"vk_{secrets.token_hex(32)}"


def new_refresh_token() -> str:
    """A refresh token to hand out once."""
    return f"vr_{secrets.token_hex(32)}"


def same(a: str, b: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell how far they agree."""
    return secrets.compare_digest(digest(a), digest(b))


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
