"""Users of a whole Volant: an admin creates them, and they sign in."""

from __future__ import annotations

import httpx

from scripts.dev.stack import Stack
from tests.waiting import until

PASSWORD = "a long enough passphrase"


clients: list[httpx.Client] = []
"""Every client that was opened; a fixture closes them at the end."""


class Person:
    """A user with a client for ai-api (`http`) and headers for either service."""

    def __init__(self, stack: Stack, *, token: str | None = None, api_key: str | None = None) -> None:
        self.headers = {"Authorization": f"Bearer {token}"} if token else {"X-API-Key": api_key or ""}
        self.http = httpx.Client(base_url=stack.url, headers=self.headers, timeout=60, trust_env=False)
        clients.append(self.http)


def token(stack: Stack, email: str, password: str) -> str:
    """An access token of data-api."""
    response = httpx.post(
        f"{stack.data_url}/auth/token", data={"username": email, "password": password}, trust_env=False
    )
    assert response.status_code == 200, response.text
    access_token: str = response.json()["access_token"]
    return access_token


def admin(stack: Stack) -> Person:
    return Person(stack, token=token(stack, "admin@volant.local", stack.secret("admin_password")))


def sign_up(stack: Stack, email: str, role: str = "user") -> Person:
    """A new user, created by the admin and signed in."""
    body = {"email": email, "password": PASSWORD, "role": role}
    response = httpx.post(f"{stack.data_url}/users", json=body, headers=admin(stack).headers, trust_env=False)
    assert response.status_code == 201, response.text
    return Person(stack, token=token(stack, email, PASSWORD))


def erase(stack: Stack, user_id: str) -> None:
    """Erases a user's data; returns when every instance has reported."""
    headers = admin(stack).headers
    response = httpx.delete(f"{stack.data_url}/users/{user_id}/data", headers=headers, trust_env=False)
    assert response.status_code == 202, response.text

    def is_finished() -> bool:
        path = f"{stack.data_url}/erasures/{response.json()['id']}"
        return bool(httpx.get(path, headers=headers, trust_env=False).json()["status"] == "finished")

    until(is_finished, "the erasure to be finished")
