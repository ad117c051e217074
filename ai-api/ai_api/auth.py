"""Identify callers by a snapshot from data-api, so that no request waits for a call to another service."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jwt
from jwt.algorithms import OKPAlgorithm
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers

from .data_client import DataClient
from .errors import DataUnavailable, IdentityUnavailable, NotAllowed, NotSignedIn
from .http.credentials import credential_of
from .metrics import SNAPSHOT_AGE

log = logging.getLogger(__name__)

ISSUER = AUDIENCE = "volant"
SCOPES = frozenset({"predict", "feedback", "read", "train"})
SCOPES_OF = {"user": SCOPES - {"train"}, "trainer": SCOPES, "admin": SCOPES}
"""By role. A key has those of its scopes that its owner's role has now."""
CHANGE_SECONDS = 1.0
"""How often data-api is asked whether the snapshot has changed: a key that was revoked is refused from then on."""
REPORT_SECONDS = 60.0
TRAINERS = frozenset({"trainer", "admin"})


@dataclass(frozen=True, slots=True)
class Caller:
    """An identified person or program. `scopes` are those of the API key; a token has all scopes of its role."""

    user_id: str
    role: str
    scopes: frozenset[str]

    @property
    def is_trainer(self) -> bool:
        return self.role in TRAINERS

    def may_see(self, user_id: str | None) -> bool:
        """Whether this caller may see who did something: trainers may, others see themselves only."""
        return self.is_trainer or user_id == self.user_id

    def require(self, scope: str) -> Caller:
        """This caller, if it has `scope` (and, for `train`, the role); else NotAllowed."""
        if scope == "train" and not self.is_trainer:
            raise NotAllowed("Training and promoting take the role `trainer` or `admin`.")
        if scope not in self.scopes:
            raise NotAllowed(f"This key does not have the scope `{scope}`.")
        return self


class KeyEntry(BaseModel):
    """A valid API key; only its hash is known here."""

    hash: str
    key_id: str = ""
    user_id: str
    role: str
    scopes: frozenset[str]
    expires_at: datetime | None = None


class ErasedUser(BaseModel):
    """A person of whom nothing may be kept, and the id of the erasure."""

    id: str
    user_id: str


class Snapshot(BaseModel):
    """The response of data-api's `GET /auth/snapshot`."""

    generated_at: datetime
    keys: list[KeyEntry]
    disabled_users: frozenset[str]
    tokens_valid_after: dict[str, float]
    jwks: dict[str, list[dict[str, object]]]
    erasures: list[ErasedUser] = []
    kept_days: dict[str, int] = {}


class Callers:
    """The snapshot in memory and on disk, refreshed in the background, and the check of one request against it."""

    def __init__(
        self, client: DataClient, path: Path, *, refresh_seconds: float, stale_seconds: float, instance: str = ""
    ) -> None:
        self.erased: dict[str, str] = {}
        """By user id, the erasure of each person of whom nothing may be kept."""
        self.kept_days: dict[str, int] = {}
        """By task, how many days a row is kept at most; rows of other tasks are kept without limit."""
        self._client = client
        self._instance = instance
        self._path = path
        self._refresh_seconds = refresh_seconds
        self._stale_seconds = stale_seconds
        self._keys: dict[str, KeyEntry] = {}
        self._public: dict[str, object] = {}
        self._snapshot: Snapshot | None = None
        self._revision = ""
        self._as_of = 0.0
        self._used: dict[str, float] = {}
        self._report_at = 0.0

    @property
    def age_seconds(self) -> float | None:
        """Age of the snapshot; None while there is none."""
        return None if self._snapshot is None else time.time() - self._as_of

    @property
    def are_known(self) -> bool:
        """Whether callers can be identified: there is a snapshot, and it is not too old."""
        age = self.age_seconds
        return age is not None and age <= self._stale_seconds

    async def run(self) -> None:
        """Refreshes until cancelled; in between, every CHANGE_SECONDS, if something has changed. Until the first
        snapshot arrives it is requested every half second.
        """
        SNAPSHOT_AGE.set_function(lambda: self.age_seconds or 0.0)
        failed, refresh_at = False, 0.0
        while True:
            try:
                if time.monotonic() >= refresh_at:
                    await self.refresh()
                    refresh_at = time.monotonic() + self._refresh_seconds
                    await self.report()
                elif self._revision:  # data-api before this release has none
                    await self.refresh(known=self._revision)
                if failed:
                    log.info("the snapshot of callers is refreshed again")
                failed = False
            except DataUnavailable as error:
                if not failed:
                    log.warning("the snapshot of callers could not be refreshed: %s", error)
                failed = True
            pause = min(self._refresh_seconds, CHANGE_SECONDS) if self._revision else self._refresh_seconds
            await asyncio.sleep(0.5 if self._snapshot is None else pause)

    async def refresh(self, known: str = "") -> None:
        """Fetches the snapshot now, unless its revision is still `known`, and writes it to disk; DataUnavailable when
        it cannot be fetched.
        """
        fetched = await self._client.snapshot(self._instance, known)
        if fetched is None:
            return
        body, self._revision = fetched
        try:
            snapshot = Snapshot.model_validate(body)
        except ValidationError as error:
            raise DataUnavailable("data-api sent a snapshot of callers that this version cannot read.") from error
        self._use(snapshot, time.time())
        await asyncio.to_thread(self._write, snapshot)

    async def report(self) -> None:
        """Reports to data-api, once a minute at most, when each key was used last. A process that is killed loses the
        uses not yet reported, which is acceptable: they only help people to find unused keys.
        """
        if not self._used or time.monotonic() < self._report_at:
            return
        used, self._used = self._used, {}
        try:
            await self._client.report_uses(used)
        except DataUnavailable:
            self._used = used | self._used
            raise
        self._report_at = time.monotonic() + REPORT_SECONDS

    def restore(self) -> None:
        """Reads the snapshot of an earlier process from disk, if there is one; its age counts on."""
        try:
            self._use(Snapshot.model_validate_json(self._path.read_bytes()), self._path.stat().st_mtime)
        except FileNotFoundError:
            return
        except (OSError, ValidationError):
            log.warning("the snapshot of callers on disk cannot be read; waiting for data-api")

    def identify(self, headers: Headers) -> Caller:
        """The caller of a request; NotSignedIn, or IdentityUnavailable when there is no fresh snapshot."""
        sent = credential_of(headers)
        if self._snapshot is None or not self.are_known:
            raise IdentityUnavailable
        return self._by_key(sent.value) if sent.kind == "key" else self._by_token(sent.value, self._snapshot)

    def _by_key(self, key: str) -> Caller:
        entry = self._keys.get(hashlib.sha256(key.encode("utf-8", "replace")).hexdigest())
        if entry is None or (entry.expires_at is not None and entry.expires_at.timestamp() <= time.time()):
            raise NotSignedIn
        if entry.key_id:  # a snapshot written by an earlier release has none
            self._used[entry.key_id] = time.time()
        return Caller(entry.user_id, entry.role, entry.scopes & SCOPES_OF.get(entry.role, frozenset()))

    def _by_token(self, token: str, snapshot: Snapshot) -> Caller:
        try:
            public = self._public[str(jwt.get_unverified_header(token).get("kid"))]
            claims = jwt.decode(
                token,
                public,  # type: ignore[arg-type]
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["exp", "iat", "nbf", "sub", "aud", "iss"]},
            )
        except (jwt.PyJWTError, KeyError, ValueError):
            raise NotSignedIn from None
        user_id, role = str(claims["sub"]), str(claims.get("role", ""))
        if user_id in self.erased:
            raise NotSignedIn
        if user_id in snapshot.disabled_users or float(claims["iat"]) < snapshot.tokens_valid_after.get(user_id, 0.0):
            raise NotSignedIn
        if role not in SCOPES_OF:
            raise NotAllowed
        return Caller(user_id, role, SCOPES_OF[role])

    def _use(self, snapshot: Snapshot, as_of: float) -> None:
        erased = {erased.user_id: erased.id for erased in snapshot.erasures}
        # an erasure may be newer than the keys of the same snapshot
        self._keys = {entry.hash: entry for entry in snapshot.keys if entry.user_id not in erased}
        self._public = {
            str(key["kid"]): OKPAlgorithm.from_jwk(json.dumps(key)) for key in snapshot.jwks.get("keys", [])
        }
        self.erased = erased
        self.kept_days = snapshot.kept_days
        self._snapshot, self._as_of = snapshot, as_of

    def _write(self, snapshot: Snapshot) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        beside.touch(0o600)
        beside.write_text(snapshot.model_dump_json())
        beside.replace(self._path)
