"""People and their keys: found, changed, ended. By the same rules as over HTTP, as the same functions do it."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from sqladmin.filters import BooleanFilter, StaticValuesFilter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from wtforms import Form, HiddenField, SelectField

from data_api.crud.people import api_key, invitation, user
from data_api.models.people.api_key import APIKey
from data_api.models.people.invitation import Invitation
from data_api.models.people.user import Role, User

from .view import Equals, View, changing, joined, user_link

ASSIGNABLE = [(role.value, role.value) for role in (Role.USER, Role.TRAINER, Role.ADMIN)]


class UserForm(Form):  # type: ignore[misc]  # wtforms tells no types
    """Remembers what it was filled in with: a field that is left as it was undoes no change that was made meanwhile."""

    was_role = HiddenField()
    was_disabled = HiddenField()


class UserAdmin(View, model=User):
    """Users. Passwords are nobody else's to see or set here."""

    icon = "fa-solid fa-user"
    can_edit = True
    can_delete = True
    edit_template = "user_edit.html"
    column_list: ClassVar[list[Any]] = ["email", "name", "role", "disabled", "created_at"]
    column_details_list: ClassVar[list[Any]] = ["id", *column_list, "tokens_valid_after"]
    column_export_list: ClassVar[list[Any]] = ["id", *column_list]
    column_searchable_list: ClassVar[list[Any]] = ["email", "name"]
    column_sortable_list: ClassVar[list[Any]] = ["email", "created_at"]
    column_filters: ClassVar[list[Any]] = [
        StaticValuesFilter("role", ASSIGNABLE, title="Role"),
        BooleanFilter("disabled", title="Disabled"),
    ]
    form_columns: ClassVar[list[Any]] = ["role", "disabled"]
    form_base_class = UserForm
    form_overrides: ClassVar[dict[Any, Any]] = {"role": SelectField}
    form_args: ClassVar[dict[str, Any]] = {"role": {"choices": ASSIGNABLE}}

    async def get_form_data_for_edit(self, obj: Any) -> dict[str, Any]:
        """What the form shows, and remembers."""
        return {**await super().get_form_data_for_edit(obj), "was_role": obj.role, "was_disabled": str(obj.disabled)}

    async def update_model(self, request: Request, pk: str, data: dict[str, Any]) -> User:
        """Changes role and whether they may sign in."""
        role = None if data["role"] == data["was_role"] else Role(data["role"])
        disabled = None if str(data["disabled"]) == data["was_disabled"] else bool(data["disabled"])

        def change() -> User:
            with changing(request) as session:
                return user.change(session, UUID(pk), role=role, disabled=disabled)

        return await run_in_threadpool(change)

    async def delete_model(self, request: Request, pk: Any) -> None:
        """Deletes the user with keys and sign-ins."""

        def delete() -> None:
            with changing(request) as session:
                user.delete(session, UUID(pk))

        await run_in_threadpool(delete)


class KeyAdmin(View, model=APIKey):
    """API keys. Deleting one revokes it: it stays in the list."""

    name = "API key"
    icon = "fa-solid fa-key"
    can_delete = True
    column_list: ClassVar[list[Any]] = ["name", "user_id", "scopes", "created_at", "expires_at", "revoked_at"]
    column_details_list: ClassVar[list[Any]] = ["id", *column_list]
    column_export_list: ClassVar[list[Any]] = ["id", *column_list]
    column_searchable_list: ClassVar[list[Any]] = ["name"]
    column_filters: ClassVar[list[Any]] = [Equals("user_id", title="User")]
    column_formatters: ClassVar[dict[Any, Any]] = {"scopes": joined, "user_id": user_link}
    column_formatters_detail: ClassVar[dict[Any, Any]] = column_formatters

    async def delete_model(self, request: Request, pk: Any) -> None:
        """Revokes the key for good."""

        def revoke() -> None:
            with changing(request) as session:
                api_key.revoke(session, UUID(pk), None)

        await run_in_threadpool(revoke)


class InvitationAdmin(View, model=Invitation):
    """Invitations. Deleting one makes its link useless: it stays in the list."""

    icon = "fa-solid fa-envelope"
    can_delete = True
    column_list: ClassVar[list[Any]] = ["email", "role", "created_at", "expires_at", "accepted_at", "revoked_at"]
    column_details_list: ClassVar[list[Any]] = ["id", *column_list, "invited_by", "user_id"]
    column_export_list: ClassVar[list[Any]] = column_details_list
    column_searchable_list: ClassVar[list[Any]] = ["email"]
    column_formatters_detail: ClassVar[dict[Any, Any]] = {"invited_by": user_link, "user_id": user_link}

    async def delete_model(self, request: Request, pk: Any) -> None:
        """Makes the link useless."""

        def revoke() -> None:
            with changing(request) as session:
                invitation.revoke(session, UUID(pk))

        await run_in_threadpool(revoke)


PEOPLE = (UserAdmin, KeyAdmin, InvitationAdmin)
