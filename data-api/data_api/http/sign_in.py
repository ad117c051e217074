"""Whether somebody knows an account's password. Every place that asks for one asks here, so that none is easier to
guess at than the others.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from data_api.crud.people import sign_in, sign_in_failure
from data_api.database import release
from data_api.errors import LockedOut, WrongCredentials
from data_api.metrics import SIGN_INS
from data_api.models.people.user import User
from data_api.security import pseudonym

from .context import Context


def address(request: Request) -> str:
    """Where a request comes from: of IPv6 the network, as one machine has more addresses than it can be counted by."""
    host = request.client.host if request.client else ""
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))


async def _address(request: Request) -> str:
    return address(request)


Address = Annotated[str, Depends(_address)]


def authenticate(context: Context, session: Session, email: str, password: str, address: str) -> User:
    """The user, held until the transaction ends; WrongCredentials for anybody else, LockedOut after too many of those.

    An account that nobody has behaves and costs the same as one whose password is wrong. The session is rolled back
    while the password is hashed: nobody holds a connection while waiting for a place to hash in.
    """
    account, place = (
        pseudonym(context.pseudonym_key, text) for text in (f"account {email.lower()}", f"address {address}")
    )
    try:
        user_id, kept = sign_in.look_up(session, email, account, place)
        release(session)
        right = context.passwords.verify(password, kept)
        held = sign_in.hold(session, user_id, account, place) if right and user_id else None
        user, failed = held or (None, False)
        if user is None or user.disabled or user.password_hash != kept:
            sign_in_failure.count(session, account, context.lockout.tries, context.lockout.longest_wait)
            sign_in_failure.count(session, place, context.lockout.tries_per_address, context.lockout.longest_wait)
            raise WrongCredentials
    except (LockedOut, WrongCredentials) as error:
        SIGN_INS.labels("locked out" if isinstance(error, LockedOut) else "refused").inc()
        raise
    if failed:
        sign_in_failure.clear(session, account)  # not the address: one good account would open it to all guesses
    return user
