"""Ed25519 keys: made, sealed for the database, and which of them signs and verifies at a moment."""

from __future__ import annotations

import hashlib
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from threading import Lock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import ConfigurationError, DatabaseUnavailable

ALGORITHM = "EdDSA"
REFRESH_SECONDS = 10.0
"""How old the keys in memory may get before they are read again."""
UNKNOWN_SECONDS = 1.0
"""How old they may be when a token names a key that is not among them."""
NONCE_BYTES = 12


@dataclass(frozen=True)
class Key:
    """A key that is open. It signs from `signs_from` on; from `retires_at` on nothing that it signed holds."""

    private: Ed25519PrivateKey
    signs_from: datetime
    retires_at: datetime | None = None

    @cached_property
    def public(self) -> Ed25519PublicKey:
        """What verifies."""
        return self.private.public_key()

    @cached_property
    def x(self) -> str:
        """The public key as JWKS shows it."""
        return _base64(self.public.public_bytes_raw())

    @cached_property
    def kid(self) -> str:
        """The thumbprint of the public key (RFC 7638)."""
        return _base64(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{self.x}"}}'.encode()).digest())

    @property
    def jwk(self) -> dict[str, str]:
        """What others verify with."""
        return {"kty": "OKP", "crv": "Ed25519", "x": self.x, "kid": self.kid, "alg": ALGORITHM, "use": "sig"}

    def is_retired(self, moment: datetime) -> bool:
        """Whether nothing that it signed holds any more."""
        return self.retires_at is not None and self.retires_at <= moment


class Box:
    """Closes bytes with a key of 32 bytes and opens them again (ChaCha20-Poly1305, a random nonce before each)."""

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)

    def close(self, content: bytes, bound_to: bytes | None = None) -> bytes:
        """The content, to be opened with the same key and the same `bound_to` only."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, bound_to)

    def open(self, closed: bytes, bound_to: bytes | None = None) -> bytes:
        """The content. InvalidTag or ValueError when it was closed otherwise."""
        return self._cipher.decrypt(closed[:NONCE_BYTES], closed[NONCE_BYTES:], bound_to)


class Seal:
    """Closes seeds for the database and opens them again, by the secret `signing_key`, itself the first seed."""

    def __init__(self, secret: str) -> None:
        try:
            self._seed = bytes.fromhex(secret)
            self.first = Ed25519PrivateKey.from_private_bytes(self._seed)
        except ValueError:
            raise ConfigurationError(
                "The secret signing_key must be 32 bytes in hex. Delete it: the next start makes one"
            ) from None
        self._box = Box(self.derive("seal signing keys"))

    def derive(self, purpose: str) -> bytes:
        """A key for another purpose, from which nobody finds the way back to the secret."""
        return HKDF(SHA256(), length=32, salt=None, info=f"volant: {purpose}".encode()).derive(self._seed)

    def close(self, key: Key) -> bytes:
        """The key's seed, for the database; bound to its `kid`, so that rows cannot be exchanged."""
        return self._box.close(key.private.private_bytes_raw(), key.kid.encode())

    def open(self, kid: str, sealed: bytes) -> Ed25519PrivateKey | None:
        """The private key, or None when this secret did not seal it for this `kid`."""
        try:
            seed = self._box.open(sealed, kid.encode())
        except (InvalidTag, ValueError):
            return None
        return Ed25519PrivateKey.from_private_bytes(seed)


class Keyring:
    """The keys in memory. `load` reads them from where they are kept; while that is away, the last ones go on."""

    def __init__(self, load: Callable[[], Sequence[Key]]) -> None:
        self._load = load
        self._keys: Sequence[Key] = ()
        self._read_at = 0.0
        self._reading = Lock()

    def signing(self) -> Key:
        """The key that signs now: of those whose time has come the newest."""
        now = datetime.now(UTC)
        keys = sorted(
            (key for key in self._fresh(REFRESH_SECONDS) if not key.is_retired(now)), key=lambda key: key.signs_from
        )
        begun = [key for key in keys if key.signs_from <= now]
        return begun[-1] if begun else keys[0]  # none has begun: this clock is behind the one of Postgres

    def named(self, kid: object) -> Key | None:
        """The key that verifies tokens of this `kid` now."""
        for seconds in (REFRESH_SECONDS, UNKNOWN_SECONDS):
            for key in self._fresh(seconds):
                if key.kid == kid:
                    return None if key.is_retired(datetime.now(UTC)) else key
        return None

    @property
    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Every public key that may verify a token now or soon."""
        now = datetime.now(UTC)
        return {"keys": [key.jwk for key in self._fresh(REFRESH_SECONDS) if not key.is_retired(now)]}

    def _fresh(self, seconds: float) -> Sequence[Key]:
        """The keys, read again when they are older than `seconds`, by one thread while others take the old ones."""
        if self._keys and time.monotonic() - self._read_at < seconds:
            return self._keys
        if self._reading.acquire(blocking=not self._keys):
            try:
                if not self._keys or time.monotonic() - self._read_at >= seconds:
                    self._keys = self._load()
            except DatabaseUnavailable:
                if not self._keys:
                    raise
            finally:
                self._read_at = time.monotonic()
                self._reading.release()
        return self._keys


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
