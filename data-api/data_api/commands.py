"""Commands for operators: create an admin, end the waits of an account, rotate and list signing keys."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from getpass import getpass

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from .crud.people import invitation, sign_in_failure, user
from .errors import InvalidRequest, UnknownUser
from .http.sign_in import account_subject
from .keyring import KeySeal
from .main import primary, pseudonym_key
from .models.people.user import Role
from .routes.people.invitation import link
from .schemas.people.user import Email, Password
from .schemas.validation import describe
from .security import Passwords, digest, new_invitation
from .settings import Settings
from .signing_keys import describe as describe_keys
from .signing_keys import rotate

Print = Callable[[str], None]
EMAIL, PASSWORD = TypeAdapter[str](Email), TypeAdapter[str](Password)


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `admin create`, `admin unlock`, `keys rotate` and `keys list` to the command line."""
    admin = commands.add_parser("admin", help="make an admin account, or end the waits of an account")
    admin_commands = admin.add_subparsers(required=True)
    create = admin_commands.add_parser("create", help="print a one-time link on which the admin makes the account")
    create.add_argument("--email", required=True, help="e-mail of the account")
    create.add_argument("--ask-password", action="store_true", help="make the account now and ask for its password")
    create.set_defaults(run=create_admin)
    unlock = admin_commands.add_parser(
        "unlock", help="forget the failed sign-ins of an account, so that nobody has to wait to sign in to it"
    )
    unlock.add_argument("email", help="e-mail of the account, of any role")
    unlock.set_defaults(run=unlock_account)
    keys = commands.add_parser("keys", help="the keys that access tokens are signed with").add_subparsers(required=True)
    rotate_command = keys.add_parser(
        "rotate", help="make the next key; tokens of the old ones stay valid until they expire"
    )
    rotate_command.add_argument(
        "--at-once", action="store_true", help="retire the old keys and end their tokens now, because a key leaked"
    )
    rotate_command.set_defaults(run=rotate_keys)
    keys.add_parser("list", help="list every key and its state").set_defaults(run=list_keys)


def create_admin(settings: Settings, arguments: argparse.Namespace, write: Print = print) -> None:
    """Prints an invitation link for an admin, or makes the account with a password from the terminal. The password is
    never an argument: other users of the machine and the shell's history could see it.
    """
    email = _validated(EMAIL, arguments.email)
    if arguments.ask_password:
        password = _validated(PASSWORD, getpass("Password, of at least 12 characters: "))
        if getpass("The same again: ") != password:
            raise InvalidRequest("The two passwords differ.")
        password_hash = Passwords(at_once=1).hash(password)
        with service_session(settings) as session:
            user.create(session, email, Role.ADMIN, password_hash)
        write(f"{email} is an admin now.")
        return
    token, lifetime = new_invitation(), timedelta(seconds=settings.invitation_seconds)
    with service_session(settings) as session:
        until = invitation.create(session, email, Role.ADMIN, digest(token), None, lifetime).expires_at
    write(
        f"The first person to open this link becomes an admin as {email}. It works once, until"
        f" {until:%Y-%m-%d %H:%M} UTC:"
    )
    write(link(settings.effective_public_url, token))


def unlock_account(settings: Settings, arguments: argparse.Namespace, write: Print = print) -> None:
    """Forgets the failed sign-ins of an account; UnknownUser if there is none with this e-mail."""
    email = _validated(EMAIL, arguments.email)
    key = pseudonym_key(KeySeal(settings.secret("signing_key")))
    with service_session(settings) as session:
        if user.by_email(session, email) is None:
            raise UnknownUser
        sign_in_failure.unlock(session, account_subject(key, email))
    write(f"The failed sign-ins of {email} are forgotten: everybody may try again at once.")


def rotate_keys(settings: Settings, arguments: argparse.Namespace, write: Print = print) -> None:
    """Makes the next signing key and lists all of them."""
    seal = KeySeal(settings.secret("signing_key"))
    with service_session(settings) as session:
        rotate(session, seal, timedelta(seconds=settings.access_token_seconds), at_once=arguments.at_once)
    list_keys(settings, arguments, write)


def list_keys(settings: Settings, _: argparse.Namespace, write: Print = print) -> None:
    """Prints one line for each signing key."""
    seal = KeySeal(settings.secret("signing_key"))
    with service_session(settings) as session:
        for line in describe_keys(session, seal):
            write(line)


@contextmanager
def service_session(settings: Settings) -> Iterator[Session]:
    """One transaction with the service's database role, so that a command can do no more than the HTTP interface."""
    database = primary(settings, connections=1)
    try:
        with database.session() as session:
            yield session
    finally:
        database.close()


def _validated(adapter: TypeAdapter[str], text: str) -> str:
    try:
        return adapter.validate_python(text)
    except ValidationError as error:
        raise InvalidRequest(describe(error) + ".") from None
