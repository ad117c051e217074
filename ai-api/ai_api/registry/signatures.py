"""Signatures of versions (Ed25519): made by trainers and by an admin's promotion, verified before a version is loaded.

A signature covers the task, the digest of the files, the run, the date, and the facts by which the version is served.
Public keys are files in one folder, `<kid>.json` each; removing a file revokes its key.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ai_api.errors import ModelRefused

CONTEXT = b"volant version 1\n"
"""Precedes what is signed, so that no signature made for another purpose is valid here."""


class Facts(Protocol):
    """The facts of a version that change how it is served or shown, as recorded by a training and kept in tags."""

    @property
    def recipe(self) -> str: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...
    @property
    def labels(self) -> tuple[str, ...] | None: ...
    @property
    def synthetic(self) -> bool: ...
    @property
    def row_version(self) -> int: ...
    @property
    def data_hash(self) -> str: ...


@dataclass(frozen=True)
class Statement:
    """What a signature covers. `facts` are those of `Facts`, as JSON."""

    task: str
    digest: str
    run_id: str
    facts: str

    @classmethod
    def of(cls, task: str, digest: str, run_id: str, facts: Facts) -> Statement:
        """The statement about a version of this task, with these files, from this run."""
        values = {
            "recipe": facts.recipe,
            "metrics": dict(facts.metrics),
            "labels": facts.labels,
            "synthetic": facts.synthetic,
            "row_version": facts.row_version,
            "data_hash": facts.data_hash,
        }
        return cls(task, digest, run_id, json.dumps(values, sort_keys=True))

    def content(self, date: str, by: str) -> bytes:
        """The bytes that are signed."""
        return CONTEXT + json.dumps({**asdict(self), "date": date, "by": by}, sort_keys=True).encode()


@dataclass(frozen=True)
class Signature:
    """A signature as it is stored in a tag. `by` says who: trainer, admin:ID or command line."""

    kid: str
    date: str
    by: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Signature | None:
        """From the tag; None when it is missing or malformed."""
        try:
            fields = json.loads(text)
            return cls(**{name: str(fields[name]) for name in ("kid", "date", "by", "value")})
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def text(self) -> str:
        """As the tag stores it."""
        return json.dumps(asdict(self))


class SigningKey:
    """A private key, derived from a secret of any form (HKDF-SHA256)."""

    def __init__(self, secret: str) -> None:
        seed = HKDF(SHA256(), 32, salt=None, info=b"volant version signatures").derive(secret.encode())
        self._private = Ed25519PrivateKey.from_private_bytes(seed)

    @cached_property
    def public(self) -> dict[str, str]:
        """The public key as a JSON Web Key (RFC 8037)."""
        return public_jwk(self._private.public_key().public_bytes_raw())

    def sign(self, statement: Statement, by: str) -> Signature:
        """A signature of this moment."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        value = self._private.sign(statement.content(date, by))
        return Signature(self.public["kid"], date, by, _base64(value))


class PublicKeys:
    """The public keys in a folder. It is read at each use, so that a key that is removed counts no longer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def publish(self, keys: Iterable[SigningKey]) -> None:
        """Adds the public key of each where it is missing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for key in keys:
            path = self._folder / f"{key.public['kid']}.json"
            if not path.exists():
                beside = path.with_suffix(".new")
                beside.write_text(json.dumps(key.public))
                beside.replace(path)

    def known(self) -> list[str]:
        """The ids of all keys, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def revoke(self, kid: str) -> bool:
        """Removes a key; False when there is none of this id. Versions that it signed are not loaded any more."""
        if kid not in self.known():
            return False
        (self._folder / f"{kid}.json").unlink(missing_ok=True)
        return True

    def has_signed(self, signature: Signature | None, statement: Statement) -> bool:
        """Whether a key of the folder made this signature of the statement."""
        if signature is None or (public := self._find(signature.kid)) is None:
            return False
        try:
            value = urlsafe_b64decode(signature.value + "==")
            public.verify(value, statement.content(signature.date, signature.by))
        except (InvalidSignature, ValueError):
            return False
        return True

    def _find(self, kid: str) -> Ed25519PublicKey | None:
        """The key of this id. A file whose key has another id than its name is no key."""
        if kid not in self.known():
            return None
        try:
            raw = urlsafe_b64decode(json.loads((self._folder / f"{kid}.json").read_text())["x"] + "==")
            return Ed25519PublicKey.from_public_bytes(raw) if public_jwk(raw)["kid"] == kid else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def public_jwk(raw: bytes) -> dict[str, str]:
    """The JSON Web Key of a public key of 32 bytes. Its id is the thumbprint (RFC 7638)."""
    x = _base64(raw)
    kid = _base64(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig"}


def unsigned(task: str, number: int) -> ModelRefused:
    """The error for a version without a valid signature; its message says what to do."""
    return ModelRefused(
        f"Version {number} of {task} has no valid signature: none of your trainers made it, or it is older than"
        " signatures. `ai-api versions sign` signs what serves and served; an admin's promotion signs one version."
    )


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
