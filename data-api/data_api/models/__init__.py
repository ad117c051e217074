"""The tables. Importing this package fills `Base.metadata` and registers the listener that writes the audit.

Import a class from the module that defines it.
"""

from . import audit, audit_listener, idempotency, promotions, rate_limit
from .people import api_key, invitation, known_address, refresh_token, sign_in_failure, signing_key, user
from .predictions import example, feedback, labelling, prediction
from .privacy import erasure, instance, retention

__all__ = [
    "api_key",
    "audit",
    "audit_listener",
    "erasure",
    "example",
    "feedback",
    "idempotency",
    "instance",
    "invitation",
    "known_address",
    "labelling",
    "prediction",
    "promotions",
    "rate_limit",
    "refresh_token",
    "retention",
    "sign_in_failure",
    "signing_key",
    "user",
]
