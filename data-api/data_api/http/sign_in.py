"""Verifies passwords, with a wait after failures. Every check of a password uses this module, so that none of them can
be guessed at faster.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated

from fastapi import Depends, Request, Response
from sqlalchemy.orm import Session

from data_api.crud.people import sign_in, sign_in_failure, user
from data_api.crud.people.sign_in_failure import Subjects
from data_api.database import release
from data_api.errors import LockedOut, WrongCredentials
from data_api.metrics import SIGN_INS
from data_api.models.people.user import User
from data_api.security import constant_time_equal, pseudonym

from .context import Context

DEVICE_COOKIE = "volant_device"
DEVICE_COOKIE_VALUE = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})")
DEVICE_LIFETIME = timedelta(days=180)


@dataclass(frozen=True)
class SignInSource:
    """Where a sign-in comes from: an address, and the cookie of the device if it has one."""

    address: str
    device_cookie: str = ""


def client_address(request: Request) -> str:
    """The client's address; of IPv6 its /64 network, as one machine can use all addresses of one."""
    host = request.client.host if request.client else ""
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))


def sign_in_source(request: Request) -> SignInSource:
    """Where a request to sign in comes from."""
    return SignInSource(client_address(request), request.cookies.get(DEVICE_COOKIE, ""))


async def _client_address(request: Request) -> str:
    return client_address(request)


async def _sign_in_source(request: Request) -> SignInSource:
    return sign_in_source(request)


ClientAddress = Annotated[str, Depends(_client_address)]
Source = Annotated[SignInSource, Depends(_sign_in_source)]


def authenticate(context: Context, session: Session, email: str, password: str, source: SignInSource) -> User:
    """The user, locked until the transaction ends. WrongCredentials if e-mail or password are wrong or the account is
    disabled; LockedOut while the source has to wait after too many failures.

    A source that has signed in to the account before, by its device or its address, has a count of its own; the others
    share those of the account and of the address too. An unknown e-mail takes the same statements and hashes as a wrong
    password.
    """
    key = context.pseudonym_key
    known_as = pseudonym(key, f"account {email} address {source.address}")
    device = _device(key, email, source.device_cookie)
    subjects = Subjects(
        source=pseudonym(key, f"account {email} device {device}") if device else known_as,
        account=account_subject(key, email),
        address=pseudonym(key, f"address {source.address}"),
    )
    found, is_address_noted = _verified(context, session, email, password, subjects, known_as, device is not None)
    if not is_address_noted:
        sign_in.note_address(session, found.id, known_as)
    return found


def confirm_password(context: Context, session: Session, person: User, password: str) -> User:
    """The same for a person who is signed in and gives the password again. Failures are counted apart from those of
    sign-ins, so that strangers do not delay it and a stolen token gives no more guesses.
    """
    key = context.pseudonym_key
    account = account_subject(key, person.email)
    subjects = Subjects(pseudonym(key, f"account {person.email} signed in"), account, account)
    return _verified(context, session, person.email, password, subjects, subjects.source, is_known=True)[0]


def account_subject(key: bytes, email: str) -> str:
    """The subject of an account in the counts of failures."""
    return pseudonym(key, f"account {email}")


def remember_device(context: Context, request: Request, response: Response, email: str) -> None:
    """Sets the cookie by which the next sign-in to this account proves that this device has signed in to it before."""
    if _device(context.pseudonym_key, email, request.cookies.get(DEVICE_COOKIE, "")):
        return
    nonce = secrets.token_hex(16)
    response.set_cookie(
        DEVICE_COOKIE,
        f"{nonce}.{_device_signature(context.pseudonym_key, email, nonce)}",
        max_age=int(DEVICE_LIFETIME.total_seconds()),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _device(key: bytes, email: str, cookie: str) -> str | None:
    """The name of the device, if its cookie was made for this account."""
    parts = DEVICE_COOKIE_VALUE.fullmatch(cookie)
    is_ours = parts and constant_time_equal(parts[2], _device_signature(key, email, parts[1]))
    return parts[1] if parts and is_ours else None


def _device_signature(key: bytes, email: str, nonce: str) -> str:
    return pseudonym(key, f"device cookie of {email}: {nonce}")


def _verified(
    context: Context,
    session: Session,
    email: str,
    password: str,
    subjects: Subjects,
    known_as: str,
    is_known: bool,
) -> tuple[User, bool]:
    """The user, and whether the address was noted lately. The connection is released while the password is hashed, so
    that none is held while waiting for a slot.
    """
    passwords = context.passwords
    try:
        found = sign_in.look_up(session, email, subjects, known_as, is_known)
        release(session)
        is_right = passwords.verify(password, found.password_hash)
        new_hash = passwords.updated_hash(password, found.password_hash) if is_right and found.password_hash else None
        locked = None
        if is_right and found.user_id:
            locked = sign_in.lock_user(session, found.user_id, subjects, found.is_known, exclusive=new_hash is not None)
        person, failed = locked or (None, False)
        if person is None or person.disabled or person.password_hash != found.password_hash:
            _count_failure(context, session, subjects, found.is_known)
            raise WrongCredentials
    except (LockedOut, WrongCredentials) as error:
        SIGN_INS.labels("locked out" if isinstance(error, LockedOut) else "refused").inc()
        raise
    if failed:
        # Not those that are shared: one's own account would reset them for guesses at others.
        sign_in_failure.clear(session, subjects.source)
    if new_hash:
        user.replace_hash(session, person, new_hash)
    return person, found.is_address_noted


def _count_failure(context: Context, session: Session, subjects: Subjects, is_known: bool) -> None:
    """In this order, so that failures at once cannot deadlock."""
    lockout = context.lockout
    sign_in_failure.count(session, subjects.source, lockout.source, subjects.account)
    if not is_known:
        sign_in_failure.count(session, subjects.account, lockout.account)
        sign_in_failure.count(session, subjects.address, lockout.address)
