"""The admin page at /admin (sqladmin), with the same passwords, rules and audit as the HTTP interface."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import cast

from fastapi import FastAPI
from sqladmin import Admin
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import sessionmaker
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from data_api.database import unavailable
from data_api.errors import DataAPIError, DatabaseUnavailable, InvalidRequest
from data_api.http.context import Context

from .guard import SameOriginGuard
from .people import PEOPLE
from .records import RECORDS
from .session import PATH, AdminSession

TEMPLATES = Path(__file__).parent / "templates"


def mount(app: FastAPI, context: Context, lifetime: timedelta, status: Mapping[type[DataAPIError], int]) -> None:
    """Adds the page to the app."""
    logging.getLogger("sqladmin").setLevel(
        logging.CRITICAL
    )  # its log of refused changes holds values; view.py's does not
    admin = Admin(
        app,
        session_maker=sessionmaker(context.database.engine),
        base_url=PATH,
        title="Volant",
        templates_dir=str(TEMPLATES),
        middlewares=[Middleware(SameOriginGuard, path=PATH)],
        authentication_backend=AdminSession(context, lifetime),
    )
    admin.admin.state.context = context
    for view in (*PEOPLE, *RECORDS):
        admin.add_view(type(view.__name__, (view,), {}))  # sqladmin binds a view class to one app and database

    async def on_error(request: Request, error: Exception) -> Response:
        known = _known_error(error)
        code = status[type(known)]
        shown = {"status_code": code, "message": str(known)}
        page = await admin.templates.TemplateResponse(request, "sqladmin/error.html", shown, status_code=code)
        if code in (429, 503):
            page.headers["Retry-After"] = str(getattr(known, "retry_after", 1))
        return page

    for kind in (DataAPIError, SQLAlchemyError, ValueError):
        admin.admin.add_exception_handler(kind, on_error)
    admin.admin.router.redirect_slashes = False  # RequestTarget ignores a trailing slash


def _known_error(error: Exception) -> DataAPIError:
    """The error as a DataAPIError. A ValueError is a path without a valid id, or text that Postgres cannot store."""
    if isinstance(error, DataAPIError):
        return error
    if isinstance(error, ValueError):
        return InvalidRequest("The address holds something that no table can.")
    try:
        with unavailable():
            raise error
    except DatabaseUnavailable as unavailable_error:
        return cast("DataAPIError", unavailable_error)
