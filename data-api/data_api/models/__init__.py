"""The tables. Importing this package makes `Base.metadata` whole."""

from .api_key import APIKey, Scope
from .audit import ANONYMOUS, COMMAND, Action, Actor, Audit, AuditDetail, Audited
from .erasure import Erasure, ErasureStatus, Replica
from .example import Example
from .feedback import Feedback, FeedbackStatus
from .history import write as _write_history  # noqa: F401  importing it is what makes sessions keep the audit
from .invitation import Invitation
from .labelling import Assignment, Sample
from .prediction import Prediction
from .promotion import Promotion
from .refresh_token import RefreshToken
from .request import IdempotencyKey, RateLimit
from .retention import Retention
from .sign_in_failure import SignInFailure
from .signing_key import SigningKey
from .user import DeletedUser, Role, User

__all__ = [
    "ANONYMOUS",
    "COMMAND",
    "APIKey",
    "Action",
    "Actor",
    "Assignment",
    "Audit",
    "AuditDetail",
    "Audited",
    "DeletedUser",
    "Erasure",
    "ErasureStatus",
    "Example",
    "Feedback",
    "FeedbackStatus",
    "IdempotencyKey",
    "Invitation",
    "Prediction",
    "Promotion",
    "RateLimit",
    "RefreshToken",
    "Replica",
    "Retention",
    "Role",
    "Sample",
    "Scope",
    "SignInFailure",
    "SigningKey",
    "User",
]
