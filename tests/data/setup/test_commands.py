"""Commands of operators: the first admin, by a link or by a password from the terminal."""

from __future__ import annotations

import argparse

import pytest
from sqlalchemy import Engine, text

from data_api import commands
from data_api.errors import DataAPIError, EmailTaken, InvalidRequest
from data_api.ids import new_id
from data_api.settings import Settings
from tests.data.api import PASSWORD, ApiClient
from tests.data.command import data_api
from tests.data.setup.test_processes import environment


def run(settings: Settings, *arguments: str) -> list[str]:
    """The lines that `data-api …` prints, run in this process."""
    parser = argparse.ArgumentParser()
    commands.add_commands(parser.add_subparsers())
    printed: list[str] = []
    parsed = parser.parse_args(arguments)
    parsed.run(settings, parsed, printed.append)
    return printed


def type_passwords(monkeypatch: pytest.MonkeyPatch, *passwords: str) -> None:
    """Makes getpass return these passwords, one after the other."""
    typed = list(passwords)
    monkeypatch.setattr(commands, "getpass", lambda _: typed.pop(0))


def test_an_admin_is_made_by_a_link_that_works_once(api: ApiClient, prepared: Settings, as_app: Engine) -> None:
    email = f"Root-{new_id()}@Example.org"
    message, link = run(prepared, "admin", "create", "--email", email)
    assert email.lower() in message
    path = link.removeprefix("http://127.0.0.1:8001")
    made = api.client.post(path, json={"password": PASSWORD})
    assert (made.status_code, made.json()["role"]) == (201, "admin")
    admin = api.sign_in(email, PASSWORD)
    assert api.client.get("/users", headers=admin.headers).status_code == 200
    assert api.client.post(path, json={"password": PASSWORD}).status_code == 404
    with as_app.connect() as connection:
        query = text("SELECT actor_kind FROM audit WHERE entity = 'invitations' AND action = 'create' ORDER BY id DESC")
        assert connection.scalars(query).first() == "command"


def test_the_link_uses_the_public_url(prepared: Settings) -> None:
    behind = prepared.model_copy(update={"public_url": "https://people.example.org/volant"})
    _, link = run(behind, "admin", "create", "--email", f"{new_id()}@example.org")
    assert link.startswith("https://people.example.org/volant/invitations/vi_")
    everywhere = prepared.model_copy(update={"host": "0.0.0.0", "port": 9001})
    assert everywhere.effective_public_url == "http://127.0.0.1:9001"


def test_an_admin_is_made_with_a_password_from_the_terminal(
    api: ApiClient, prepared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = f"{new_id()}@example.org"
    type_passwords(monkeypatch, PASSWORD, PASSWORD)
    printed = run(prepared, "admin", "create", "--email", email, "--ask-password")
    assert PASSWORD not in "".join(printed)
    admin = api.sign_in(email, PASSWORD)
    assert api.client.get("/users", headers=admin.headers).status_code == 200


@pytest.mark.parametrize(
    ("email", "typed", "error", "message"),
    [
        ("nobody", (), InvalidRequest, "String should match pattern"),
        (None, ("short", "short"), InvalidRequest, "at least 12 characters"),
        (None, (PASSWORD, PASSWORD + "x"), InvalidRequest, "differ"),
        ("admin@volant.local", (PASSWORD, PASSWORD), EmailTaken, "exists already"),
    ],
)
def test_errors_of_the_command_do_not_hold_the_password(
    prepared: Settings,
    monkeypatch: pytest.MonkeyPatch,
    email: str | None,
    typed: tuple[str, ...],
    error: type[DataAPIError],
    message: str,
) -> None:
    type_passwords(monkeypatch, *typed)
    with pytest.raises(error, match=message) as raised:
        run(prepared, "admin", "create", "--email", email or f"{new_id()}@example.org", "--ask-password")
    assert not [one for one in typed if one in str(raised.value)]


def test_an_e_mail_with_an_account_gets_no_link(prepared: Settings) -> None:
    with pytest.raises(EmailTaken):
        run(prepared, "admin", "create", "--email", "admin@volant.local")


def test_no_command_takes_a_password_as_an_argument(prepared: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--password", PASSWORD], ["--ask-password", PASSWORD], [PASSWORD]):
        with pytest.raises(SystemExit):
            run(prepared, "admin", "create", "--email", "a@example.org", *arguments)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "code", "out"),
    [
        (["admin", "create", "--email", "{email}"], 0, "/invitations/vi_"),
        (["admin", "create", "--email", "admin@volant.local"], 1, "exists already"),
    ],
    ids=["a link", "taken"],
)
def test_the_whole_command_prints_plain_lines(
    api: ApiClient, prepared: Settings, arguments: list[str], code: int, out: str
) -> None:
    filled = [argument.format(email=f"{new_id()}@example.org") for argument in arguments]
    done = data_api(environment(prepared.secrets_dir, prepared.postgres_port), *filled)
    assert done.returncode == code, done.stderr
    assert out in (done.stdout if code == 0 else done.stderr)
    assert len((done.stdout + done.stderr).splitlines()) <= 4
