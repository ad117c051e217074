"""Ed25519 signing keys: encryption of their seeds for the database, and the keyring that selects which key signs or
verifies at a moment.
"""

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
"""Age at which the keys in memory are read again."""
UNKNOWN_SECONDS = 1.0
"""Age at which they are read again when a token names a key that is not among them."""
NONCE_BYTES = 12


@dataclass(frozen=True)
class KeyPair:
    """A decrypted signing key. It signs from `signs_from` on; from `retires_at` on its tokens are refused."""

    private: Ed25519PrivateKey
    signs_from: datetime
    retires_at: datetime | None = None

    @cached_property
    def public(self) -> Ed25519PublicKey:
        """The public key, which verifies."""
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
        """The public key as a JSON Web Key."""
        return {"kty": "OKP", "crv": "Ed25519", "x": self.x, "kid": self.kid, "alg": ALGORITHM, "use": "sig"}

    def is_retired(self, moment: datetime) -> bool:
        """Whether its tokens are refused at this moment."""
        return self.retires_at is not None and self.retires_at <= moment


class SecretBox:
    """Encrypts and decrypts bytes with a 32-byte key (ChaCha20-Poly1305; the random nonce is stored before each)."""

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)

    def encrypt(self, content: bytes, associated_data: bytes | None = None) -> bytes:
        """The encrypted content. Decrypting it takes the same key and the same `associated_data`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, associated_data)

    def decrypt(self, encrypted: bytes, associated_data: bytes | None = None) -> bytes:
        """The content; InvalidTag or ValueError if key or `associated_data` differ."""
        return self._cipher.decrypt(encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:], associated_data)


class KeySeal:
    """Encrypts the seeds of signing keys for the database, with a key derived from the secret `signing_key`. That
    secret is also the seed of the first signing key.
    """

    def __init__(self, secret: str) -> None:
        try:
            self._seed = bytes.fromhex(secret)
            self.first = Ed25519PrivateKey.from_private_bytes(self._seed)
        except ValueError:
            raise ConfigurationError(
                "The secret signing_key must be 32 bytes in hex. Delete it: the next start makes one"
            ) from None
        self._box = SecretBox(self.derive("seal signing keys"))

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for a purpose (HKDF-SHA256). The secret cannot be computed from it."""
        return HKDF(SHA256(), length=32, salt=None, info=f"volant: {purpose}".encode()).derive(self._seed)

    def seal(self, key_pair: KeyPair) -> bytes:
        """The encrypted seed, for the database; bound to its `kid`, so that seeds cannot be swapped between rows."""
        return self._box.encrypt(key_pair.private.private_bytes_raw(), key_pair.kid.encode())

    def unseal(self, kid: str, sealed: bytes) -> Ed25519PrivateKey | None:
        """The private key; None if the seed was not encrypted with this secret for this `kid`."""
        try:
            seed = self._box.decrypt(sealed, kid.encode())
        except (InvalidTag, ValueError):
            return None
        return Ed25519PrivateKey.from_private_bytes(seed)


class Keyring:
    """The signing keys in memory. `load` reads them from the database; while it is unavailable, the last ones stay in
    use.
    """

    def __init__(self, load: Callable[[], Sequence[KeyPair]]) -> None:
        self._load = load
        self._keys: Sequence[KeyPair] = ()
        self._read_at = 0.0
        self._reading = Lock()

    def signing(self) -> KeyPair:
        """The key that signs now: the newest whose `signs_from` has passed."""
        now = datetime.now(UTC)
        keys = sorted(
            (key for key in self._fresh(REFRESH_SECONDS) if not key.is_retired(now)), key=lambda key: key.signs_from
        )
        begun = [key for key in keys if key.signs_from <= now]
        return begun[-1] if begun else keys[0]  # no key signs yet: this clock is behind that of Postgres

    def verifying(self, kid: object) -> KeyPair | None:
        """The key that verifies tokens of this `kid` now; None if it is unknown or retired."""
        for seconds in (REFRESH_SECONDS, UNKNOWN_SECONDS):
            for key in self._fresh(seconds):
                if key.kid == kid:
                    return None if key.is_retired(datetime.now(UTC)) else key
        return None

    @property
    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The JWKS: every public key that verifies tokens now or will soon."""
        now = datetime.now(UTC)
        return {"keys": [key.jwk for key in self._fresh(REFRESH_SECONDS) if not key.is_retired(now)]}

    def _fresh(self, seconds: float) -> Sequence[KeyPair]:
        """The keys. When they are older than `seconds`, one thread reads them again; others use the old ones
        meanwhile.
        """
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
