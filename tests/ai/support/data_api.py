"""data-api in memory, with its wire format: callers, their keys and tokens, and the rows that ai-api sends."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ai_api.data_client import DataClient

SCOPES = ("predict", "feedback", "read", "train")
KEY_ID = "k1"


Handler = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


def client_of(handler: Handler, key: str = "key") -> DataClient:
    """A client whose requests go to `handler`, without a network."""
    made = DataClient("http://data", key)
    made._opened = httpx.AsyncClient(base_url="http://data", transport=httpx.MockTransport(handler))
    return made


async def no_jobs(_: str) -> int:
    """For erasers: nobody asked for a training job."""
    return 0


@dataclass(frozen=True)
class User:
    """A person with an API key."""

    id: str
    role: str
    key: str


class MemoryDataAPI:
    """The calls of data-api that ai-api makes. `is_away`: it does not respond. `sent`: the rows that it has stored, by
    kind and id.
    """

    def __init__(self) -> None:
        self.is_away = False
        self.sent: dict[str, dict[str, dict[str, Any]]] = {"predictions": {}, "feedback": {}, "promotions": {}}
        self.requests: list[tuple[str, str]] = []
        self._signing = Ed25519PrivateKey.generate()
        self._keys: list[dict[str, object]] = []
        self._erasures: list[dict[str, str]] = []

    def client(self) -> DataClient:
        """A client of ai-api that reaches this."""
        return client_of(self, "service key")

    def add_user(self, role: str = "user", scopes: Sequence[str] = SCOPES) -> User:
        """A person whose key is in the next snapshot."""
        user = User(str(uuid4()), role, f"vk_{secrets.token_hex(8)}")
        entry = {"hash": hashlib.sha256(user.key.encode()).hexdigest(), "key_id": uuid4().hex, "user_id": user.id}
        self._keys.append({**entry, "role": role, "scopes": list(scopes), "expires_at": None})
        return user

    def erase(self, user: User) -> None:
        """The next snapshot asks for the erasure of this person."""
        self._erasures.append({"id": str(uuid4()), "user_id": user.id})

    def token(self, user: User, signing: Ed25519PrivateKey | None = None, **changes: object) -> str:
        """A token as data-api makes it, but for `changes` of its claims and the signing key."""
        now = int(time.time())
        claims = {"sub": user.id, "role": user.role, "iss": "volant", "aud": "volant", "iat": now, "nbf": now}
        claims |= {"exp": now + 60, **changes}
        return jwt.encode(claims, signing or self._signing, algorithm="EdDSA", headers={"kid": KEY_ID})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        method, path = request.method, request.url.path
        self.requests.append((method, path))
        if self.is_away:
            raise httpx.ConnectError("away")
        kind, _, id_ = path.strip("/").partition("/")
        if path == "/auth/snapshot":
            return httpx.Response(200, json=self._snapshot())
        if method == "POST" and kind in self.sent and not id_:
            return self._store(kind, json.loads(request.content)["rows"])
        if method == "GET" and kind in self.sent:
            row = self.sent[kind].get(id_)
            return httpx.Response(404, json={}) if row is None else httpx.Response(200, json=row)
        return httpx.Response(204)

    def _store(self, kind: str, rows: Sequence[dict[str, Any]]) -> httpx.Response:
        stored = self.sent[kind]
        statuses = ["duplicate" if row["id"] in stored else "stored" for row in rows]
        stored.update({row["id"]: row for row in rows})
        return httpx.Response(200, json={"results": [{"status": status, "reason": None} for status in statuses]})

    def _snapshot(self) -> dict[str, object]:
        public = base64.urlsafe_b64encode(self._signing.public_key().public_bytes_raw()).rstrip(b"=").decode()
        key = {"kty": "OKP", "crv": "Ed25519", "x": public, "kid": KEY_ID, "alg": "EdDSA", "use": "sig"}
        return {
            "generated_at": "2026-11-01T00:00:00Z",
            "keys": self._keys,
            "disabled_users": [],
            "tokens_valid_after": {},
            "jwks": {"keys": [key]},
            "erasures": self._erasures,
            "kept_days": {},
        }
