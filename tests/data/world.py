"""People to call as, and rows to send: what most tests of data-api begin with."""

from __future__ import annotations

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
class Somebody:
    """A user who is signed in."""

    id: str
    email: str
    token: str
    refresh: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class World:
    """Makes people as the admin, and speaks for the service."""

    def __init__(self, client: TestClient, secret: Callable[[str], str]) -> None:
        self.client = client
        self.secret = secret
        self.service = {"X-API-Key": secret("service_key")}
        self.demo = {"X-API-Key": secret("demo_api_key")}
        self.admin = self.sign_in("admin@volant.local", secret("admin_password"))

    def sign_in(self, email: str, password: str) -> Somebody:
        answer = self.client.post("/auth/token", data={"username": email, "password": password})
        assert answer.status_code == 200, answer.text
        pair = answer.json()
        bearer = {"Authorization": f"Bearer {pair['access_token']}"}
        me = self.client.get("/users/me", headers=bearer).json()
        return Somebody(me["id"], email, pair["access_token"], pair["refresh_token"])

    def person(self, role: str = "user") -> Somebody:
        """A new user with this role, signed in."""
        email = f"{role}-{secrets.token_hex(6)}@example.org"
        body = {"email": email, "password": PASSWORD, "role": role}
        answer = self.client.post("/users", json=body, headers=self.admin.headers)
        assert answer.status_code == 201, answer.text
        return self.sign_in(email, PASSWORD)

    def key(self, somebody: Somebody, *scopes: str, **others: object) -> tuple[str, str]:
        """A new API key: its id, and the key."""
        body = {"name": "test", "scopes": scopes or ["predict", "feedback", "read", "train"], **others}
        answer = self.client.post("/api-keys", json=body, headers=somebody.headers)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"], answer.json()["key"]

    def send(self, path: str, *rows: object) -> list[dict[str, Any]]:
        """Rows in bulk, as the service sends them; their results."""
        answer = self.post(path, *rows)
        assert answer.status_code == 200, answer.text
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def post(self, path: str, *rows: object) -> Any:
        body = json.dumps({"rows": rows})  # in ASCII, so that a lone surrogate travels too
        return self.client.post(path, content=body, headers={**self.service, "Content-Type": "application/json"})

    def statuses(self, path: str, *rows: object) -> list[str]:
        return [result["status"] for result in self.send(path, *rows)]

    def corrections(self, task: str, **query: str) -> list[dict[str, Any]]:
        answer = self.client.get(f"/tasks/{task}/corrections", params=query, headers=self.service)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.iter_lines()]

    def said(self, prediction: Mapping[str, object]) -> list[dict[str, Any]]:
        """The feedback about a prediction that is there."""
        answer = self.client.get(f"/predictions/{prediction['id']}", headers=self.service)
        assert answer.status_code == 200, answer.text
        feedback: list[dict[str, Any]] = answer.json()["feedback"]
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
        **others,
    }


def estimate(task: str, user: str | None = None, **others: object) -> dict[str, Any]:
    """A regression, as ai-api sends it."""
    return prediction(task, user, row={"MedInc": 3.2}, answer={"value": 2.1}, **others)


def feedback(about: Mapping[str, object] | UUID, user: str, **others: object) -> dict[str, Any]:
    """A word on a prediction, as ai-api sends it."""
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
