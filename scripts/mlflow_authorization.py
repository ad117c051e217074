"""Who may create what in MLflow: its `authorization_function`, which runs inside MLflow at every request.

MLflow lets every account create models and experiments, also under the name of a task that Volant has not trained yet.
Here only Volant's own account and MLflow's administrator do. Other accounts read, and may move an alias of a model on
which the administrator has given them the permission to edit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask import make_response, request
from mlflow.server.auth import authenticate_request_basic_auth

if TYPE_CHECKING:
    from werkzeug.datastructures import Authorization
    from werkzeug.wrappers import Response

CREATORS = frozenset({"admin", "volant"})
CREATING = re.compile(r".*/mlflow/(registered-models|model-versions|experiments)/(create|rename|restore|delete)/?")
REFUSED = "Only Volant's own account creates models, versions and experiments here."


def authorize() -> Authorization | Response:
    """The account of the request, or the response that refuses it."""
    account = authenticate_request_basic_auth()
    name = getattr(account, "username", None)  # a response has none
    if name is not None and name not in CREATORS and CREATING.fullmatch(request.path):
        return make_response(REFUSED, 403)
    return account
