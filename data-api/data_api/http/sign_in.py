"""Verifies passwords, with the lockout after failures. Every check of a password uses this module, so that none of them
can be guessed at faster.
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


async def _client_address(request: Request) -> str:
    return client_address(request)


ClientAddress = Annotated[str, Depends(_client_address)]


def authenticate(context: Context, session: Session, email: str, password: str, address: str) -> User:
    """The user, locked until the transaction ends. WrongCredentials if e-mail or password are wrong or the account is
    disabled; LockedOut after too many failures.

    An unknown e-mail takes the same statements and hashes as a wrong password. The connection is released while the
    password is hashed, so that none is held while waiting for a slot.
    """
    account, address_key = (
        pseudonym(context.pseudonym_key, text) for text in (f"account {email.lower()}", f"address {address}")
    )
    try:
        user_id, stored_hash = sign_in.look_up(session, email, account, address_key)
        release(session)
        is_right = context.passwords.verify(password, stored_hash)
        locked = sign_in.lock_user(session, user_id, account, address_key) if is_right and user_id else None
        user, failed = locked or (None, False)
        if user is None or user.disabled or user.password_hash != stored_hash:
            sign_in_failure.count(session, account, context.lockout.tries, context.lockout.longest_wait)
            sign_in_failure.count(session, address_key, context.lockout.tries_per_address, context.lockout.longest_wait)
            raise WrongCredentials
    except (LockedOut, WrongCredentials) as error:
        SIGN_INS.labels("locked out" if isinstance(error, LockedOut) else "refused").inc()
        raise
    if failed:
        # Not those of the address: one's own account would reset its lockout for guesses at others.
        sign_in_failure.clear(session, account)
    return user
