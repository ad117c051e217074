"""A client of data-api that calls as the admin, as the service or as new users; and rows to send."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from starlette.testclient import TestClient

from data_api.ids import new_id

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class SignedInUser:
    """A user who is signed in."""

    id: str
    email: str
    token: str
    refresh: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class ApiClient:
    """Calls data-api: creates users as the admin, sends rows as the service."""

    def __init__(self, client: TestClient, secret: Callable[[str], str]) -> None:
        self.client = client
        self.secret = secret
        self.service = {"X-API-Key": secret("service_key")}
        self.demo = {"X-API-Key": secret("demo_api_key")}
        self.admin = self.sign_in("admin@volant.local", secret("admin_password"))

    def sign_in(self, email: str, password: str) -> SignedInUser:
        response = self.client.post("/auth/token", data={"username": email, "password": password})
        assert response.status_code == 200, response.text
        pair = response.json()
        bearer = {"Authorization": f"Bearer {pair['access_token']}"}
        me = self.client.get("/users/me", headers=bearer).json()
        return SignedInUser(me["id"], email, pair["access_token"], pair["refresh_token"])

    def person(self, role: str = "user") -> SignedInUser:
        """A new user with this role, signed in."""
        email = f"{role}-{secrets.token_hex(6)}@example.org"
        body = {"email": email, "password": PASSWORD, "role": role}
        response = self.client.post("/users", json=body, headers=self.admin.headers)
        assert response.status_code == 201, response.text
        return self.sign_in(email, PASSWORD)

    def key(self, user: SignedInUser, *scopes: str, **others: object) -> tuple[str, str]:
        """A new API key: its id, and the key."""
        body = {"name": "test", "scopes": scopes or ["predict", "feedback", "read"], **others}
        response = self.client.post("/api-keys", json=body, headers=user.headers)
        assert response.status_code == 201, response.text
        return response.json()["id"], response.json()["key"]

    def send(self, path: str, *rows: object) -> list[dict[str, Any]]:
        """Sends rows as the service does; the result of each row."""
        response = self.post(path, *rows)
        assert response.status_code == 200, response.text
        results: list[dict[str, Any]] = response.json()["results"]
        return results

    def post(self, path: str, *rows: object) -> Any:
        body = json.dumps({"rows": rows})  # in ASCII, so that lone surrogates can be sent too
        return self.client.post(path, content=body, headers={**self.service, "Content-Type": "application/json"})

    def statuses(self, path: str, *rows: object) -> list[str]:
        return [result["status"] for result in self.send(path, *rows)]

    def corrections(self, task: str, **query: str) -> list[dict[str, Any]]:
        response = self.client.get(f"/tasks/{task}/corrections", params=query, headers=self.service)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in response.iter_lines()]

    def feedback_about(self, prediction: Mapping[str, object]) -> list[dict[str, Any]]:
        """The feedback about a stored prediction."""
        response = self.client.get(f"/predictions/{prediction['id']}", headers=self.service)
        assert response.status_code == 200, response.text
        feedback: list[dict[str, Any]] = response.json()["feedback"]
        return feedback


def prediction(task: str, user: str | None = None, **others: object) -> dict[str, Any]:
    """A classification, as ai-api sends it."""
    return {
        "id": str(new_id()),
        "task": task,
        "version": 3,
        "row": {"text": "late again, thanks"},
        "row_schema": 1,
        "answer": {"label": "positive", "score": 0.7, "probabilities": {"positive": 0.7, "negative": 0.3}},
        "user_id": user,
        "role": "champion",
        "rollout": None,
        "request_id": "r-1",
        "timing": {"queue_ms": 0.4, "compute_ms": 2.5},
        "run_id": "run 3",
        **others,
    }


def regression(task: str, user: str | None = None, **others: object) -> dict[str, Any]:
    """A regression, as ai-api sends it."""
    return prediction(task, user, row={"MedInc": 3.2}, answer={"value": 2.1}, **others)


def feedback(about: Mapping[str, object] | UUID, user: str, **others: object) -> dict[str, Any]:
    """Feedback about a prediction, as ai-api sends it."""
    truth = {} if "value" in others else {"label": "negative"}
    subject = about if isinstance(about, UUID) else about["id"]
    return {
        "id": str(new_id()),
        "prediction_id": str(subject),
        "user_id": user,
        "comment": None,
        "request_id": "r-2",
        **truth,
        **others,
    }


def promotion(task: str, **others: object) -> dict[str, Any]:
    """A change of a champion, as ai-api and trainers send it."""
    return {
        "id": str(new_id()),
        "task": task,
        "version": 4,
        "previous": 3,
        "action": "promote",
        "reason": "better on the held-out rows",
        "metrics": {"f1_macro": 0.71},
        "actor": "gate",
        **others,
    }


def status(api: ApiClient, headers: dict[str, str]) -> int:
    """The status of a call that every signed-in user may make."""
    return api.client.get("/users/me", headers=headers).status_code


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def refresh(api: ApiClient, token: str) -> Any:
    return api.client.post("/auth/refresh", json={"refresh_token": token})


def snapshot(api: ApiClient) -> dict[str, Any]:
    response = api.client.get("/auth/snapshot", headers=api.service)
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def key_hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
