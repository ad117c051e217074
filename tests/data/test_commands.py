"""What operators do with a shell: the first admin, by a link or a password that is asked for."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from data_api import commands
from data_api.errors import DataAPIError, EmailTaken, InvalidRequest
from data_api.ids import new_id
from data_api.settings import Settings
from tests.data.test_command_line import environment
from tests.data.world import PASSWORD, World


def run(settings: Settings, *words: str) -> list[str]:
    """What `data-api …` says, in this process."""
    parser = argparse.ArgumentParser()
    commands.add_to(parser.add_subparsers())
    said: list[str] = []
    chosen = parser.parse_args(words)
    chosen.run(settings, chosen, said.append)
    return said


def answers(monkeypatch: pytest.MonkeyPatch, *given: str) -> None:
    """What somebody types when they are asked for a password."""
    typed = list(given)
    monkeypatch.setattr(commands, "getpass", lambda _: typed.pop(0))


def test_an_admin_is_made_by_a_link_that_works_once(world: World, prepared: Settings, as_app: Engine) -> None:
    email = f"Root-{new_id()}@Example.org"
    words, link = run(prepared, "admin", "create", "--email", email)
    assert email.lower() in words
    path = link.removeprefix("http://127.0.0.1:8001")
    made = world.client.post(path, json={"password": PASSWORD})
    assert (made.status_code, made.json()["role"]) == (201, "admin")
    admin = world.sign_in(email, PASSWORD)
    assert world.client.get("/users", headers=admin.headers).status_code == 200
    assert world.client.post(path, json={"password": PASSWORD}).status_code == 404
    with as_app.connect() as connection:
        query = text("SELECT actor_kind FROM audit WHERE entity = 'invitations' AND action = 'create' ORDER BY id DESC")
        assert connection.scalars(query).first() == "command"


def test_the_link_says_where_people_reach_the_service(prepared: Settings) -> None:
    behind = prepared.model_copy(update={"public_url": "https://people.example.org/volant"})
    _, link = run(behind, "admin", "create", "--email", f"{new_id()}@example.org")
    assert link.startswith("https://people.example.org/volant/invitations/vi_")
    everywhere = prepared.model_copy(update={"host": "0.0.0.0", "port": 9001})
    assert everywhere.reached_at == "http://127.0.0.1:9001"


def test_an_admin_is_made_with_a_password_that_is_asked_for(
    world: World, prepared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = f"{new_id()}@example.org"
    answers(monkeypatch, PASSWORD, PASSWORD)
    said = run(prepared, "admin", "create", "--email", email, "--ask-password")
    assert PASSWORD not in "".join(said)
    admin = world.sign_in(email, PASSWORD)
    assert world.client.get("/users", headers=admin.headers).status_code == 200


@pytest.mark.parametrize(
    ("email", "typed", "error", "words"),
    [
        ("nobody", (), InvalidRequest, "String should match pattern"),
        (None, ("short", "short"), InvalidRequest, "at least 12 characters"),
        (None, (PASSWORD, PASSWORD + "x"), InvalidRequest, "differ"),
        ("admin@volant.local", (PASSWORD, PASSWORD), EmailTaken, "exists already"),
    ],
)
def test_what_cannot_be_is_said_in_words_without_the_password(
    prepared: Settings,
    monkeypatch: pytest.MonkeyPatch,
    email: str | None,
    typed: tuple[str, ...],
    error: type[DataAPIError],
    words: str,
) -> None:
    answers(monkeypatch, *typed)
    with pytest.raises(error, match=words) as raised:
        run(prepared, "admin", "create", "--email", email or f"{new_id()}@example.org", "--ask-password")
    assert not [one for one in typed if one in str(raised.value)]


def test_whoever_has_an_account_gets_no_link(prepared: Settings) -> None:
    with pytest.raises(EmailTaken):
        run(prepared, "admin", "create", "--email", "admin@volant.local")


def test_no_command_takes_a_password_as_an_argument(prepared: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--password", PASSWORD], ["--ask-password", PASSWORD], [PASSWORD]):
        with pytest.raises(SystemExit):
            run(prepared, "admin", "create", "--email", "a@example.org", *words)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "code", "out"),
    [
        (["admin", "create", "--email", "{email}"], 0, "/invitations/vi_"),
        (["admin", "create", "--email", "admin@volant.local"], 1, "exists already"),
    ],
    ids=["a link", "taken"],
)
def test_the_real_process_says_it_in_plain_lines(
    world: World, prepared: Settings, words: list[str], code: int, out: str, tmp_path: Path
) -> None:
    filled = [word.format(email=f"{new_id()}@example.org") for word in words]
    env: dict[str, Any] = environment(prepared.secrets_dir, prepared.postgres_port)
    done = subprocess.run(
        [sys.executable, "-m", "data_api", *filled],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert out in (done.stdout if code == 0 else done.stderr)
    assert len((done.stdout + done.stderr).splitlines()) <= 4
