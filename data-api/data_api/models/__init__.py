"""The tables. Importing this package makes `Base.metadata` whole."""

from .api_key import APIKey, Scope
from .example import Example
from .feedback import Feedback, FeedbackStatus
from .prediction import Prediction
from .promotion import Promotion
from .refresh_token import RefreshToken
from .user import DeletedUser, Role, User

__all__ = [
    "APIKey",
    "DeletedUser",
    "Example",
    "Feedback",
    "FeedbackStatus",
    "Prediction",
    "Promotion",
    "RefreshToken",
    "Role",
    "Scope",
    "User",
]
