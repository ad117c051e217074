"""What somebody with a shell does to people and signing keys: the first admin, rotation."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from getpass import getpass

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from .crud.people import invitation, user
from .errors import InvalidRequest
from .keyring import Seal
from .main import primary
from .models.people.user import Role
from .routes.people.invitation import link
from .schemas.people.user import Email, Password
from .schemas.validation import describe
from .security import Passwords, digest, new_invitation
from .settings import Settings
from .signing_keys import describe as describe_keys
from .signing_keys import rotate

Say = Callable[[str], None]
EMAIL, PASSWORD = TypeAdapter[str](Email), TypeAdapter[str](Password)


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `admin create`, `keys rotate` and `keys list` to the command line."""
    admin = commands.add_parser("admin", help="make an admin, such as the first one of your own")
    create = admin.add_subparsers(required=True).add_parser(
        "create", help="print a one-time link by which an admin makes their account"
    )
    create.add_argument("--email", required=True, help="whom the account is for")
    create.add_argument("--ask-password", action="store_true", help="make the account now and ask for its password")
    create.set_defaults(run=create_admin)
    keys = commands.add_parser("keys", help="the keys that access tokens are signed with").add_subparsers(required=True)
    next_one = keys.add_parser("rotate", help="make the next key; tokens of the old ones hold until they expire")
    next_one.add_argument("--at-once", action="store_true", help="end the old keys and their tokens now: one leaked")
    next_one.set_defaults(run=rotate_keys)
    keys.add_parser("list", help="every key and what it does now").set_defaults(run=list_keys)


def create_admin(settings: Settings, chosen: argparse.Namespace, say: Say = print) -> None:
    """An invitation as admin, or at once an account whose password is asked for: never one on the command line, where
    other users of the machine and the shell's history see it.
    """
    email = _checked(EMAIL, chosen.email)
    if chosen.ask_password:
        password = _checked(PASSWORD, getpass("Password, of at least 12 characters: "))
        if getpass("The same again: ") != password:
            raise InvalidRequest("The two passwords differ.")
        hashed = Passwords(at_once=1).hash(password)
        with database(settings) as session:
            user.create(session, email, Role.ADMIN, hashed)
        say(f"{email} is an admin now.")
        return
    token, lifetime = new_invitation(), timedelta(seconds=settings.invitation_seconds)
    with database(settings) as session:
        until = invitation.create(session, email, Role.ADMIN, digest(token), None, lifetime).expires_at
    say(f"Whoever opens this link first becomes an admin as {email}. It works once, until {until:%Y-%m-%d %H:%M} UTC:")
    say(link(settings.reached_at, token))


def rotate_keys(settings: Settings, chosen: argparse.Namespace, say: Say = print) -> None:
    """The next signing key."""
    seal = Seal(settings.secret("signing_key"))
    with database(settings) as session:
        rotate(session, seal, timedelta(seconds=settings.access_token_seconds), at_once=chosen.at_once)
    list_keys(settings, chosen, say)


def list_keys(settings: Settings, _: argparse.Namespace, say: Say = print) -> None:
    """A line for each signing key."""
    seal = Seal(settings.secret("signing_key"))
    with database(settings) as session:
        for line in describe_keys(session, seal):
            say(line)


@contextmanager
def database(settings: Settings) -> Iterator[Session]:
    """One transaction with the rights of the service: a command can do no more than the calls could."""
    opened = primary(settings, connections=1)
    try:
        with opened.session() as session:
            yield session
    finally:
        opened.close()


def _checked(kind: TypeAdapter[str], given: str) -> str:
    try:
        return kind.validate_python(given)
    except ValidationError as error:
        raise InvalidRequest(describe(error) + ".") from None
