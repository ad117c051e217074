"""Admin views of users, API keys and invitations. Changes use the same functions in crud/ as the HTTP interface."""

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

from .view import Equals, TableView, admin_transaction, comma_separated, user_link

ASSIGNABLE = [(role.value, role.value) for role in (Role.USER, Role.TRAINER, Role.ADMIN)]


class UserForm(Form):  # type: ignore[misc]  # wtforms has no types
    """Holds the original values: a field that the admin did not change does not overwrite a change made meanwhile."""

    was_role = HiddenField()
    was_disabled = HiddenField()


class UserAdmin(TableView, model=User):
    """Users. Passwords can be neither seen nor set here."""

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
        """The values of the form, with the originals of the fields that can change."""
        return {**await super().get_form_data_for_edit(obj), "was_role": obj.role, "was_disabled": str(obj.disabled)}

    async def update_model(self, request: Request, pk: str, data: dict[str, Any]) -> User:
        """Changes the role and whether the user is disabled."""
        role = None if data["role"] == data["was_role"] else Role(data["role"])
        disabled = None if str(data["disabled"]) == data["was_disabled"] else bool(data["disabled"])

        def change() -> User:
            with admin_transaction(request) as session:
                return user.change(session, UUID(pk), role=role, disabled=disabled)

        return await run_in_threadpool(change)

    async def delete_model(self, request: Request, pk: Any) -> None:
        """Deletes the user with API keys and sign-ins."""

        def delete() -> None:
            with admin_transaction(request) as session:
                user.delete(session, UUID(pk))

        await run_in_threadpool(delete)


class KeyAdmin(TableView, model=APIKey):
    """API keys. Deleting one revokes it; it stays in the list."""

    name = "API key"
    icon = "fa-solid fa-key"
    can_delete = True
    column_list: ClassVar[list[Any]] = ["name", "user_id", "scopes", "created_at", "expires_at", "revoked_at"]
    column_details_list: ClassVar[list[Any]] = ["id", *column_list]
    column_export_list: ClassVar[list[Any]] = ["id", *column_list]
    column_searchable_list: ClassVar[list[Any]] = ["name"]
    column_filters: ClassVar[list[Any]] = [Equals("user_id", title="User")]
    column_formatters: ClassVar[dict[Any, Any]] = {"scopes": comma_separated, "user_id": user_link}
    column_formatters_detail: ClassVar[dict[Any, Any]] = column_formatters

    async def delete_model(self, request: Request, pk: Any) -> None:
        """Revokes the key permanently."""

        def revoke() -> None:
            with admin_transaction(request) as session:
                api_key.revoke(session, UUID(pk), None)

        await run_in_threadpool(revoke)


class InvitationAdmin(TableView, model=Invitation):
    """Invitations. Deleting one revokes it; it stays in the list."""

    icon = "fa-solid fa-envelope"
    can_delete = True
    column_list: ClassVar[list[Any]] = ["email", "role", "created_at", "expires_at", "accepted_at", "revoked_at"]
    column_details_list: ClassVar[list[Any]] = ["id", *column_list, "invited_by", "user_id"]
    column_export_list: ClassVar[list[Any]] = column_details_list
    column_searchable_list: ClassVar[list[Any]] = ["email"]
    column_formatters_detail: ClassVar[dict[Any, Any]] = {"invited_by": user_link, "user_id": user_link}

    async def delete_model(self, request: Request, pk: Any) -> None:
        """Revokes the invitation."""

        def revoke() -> None:
            with admin_transaction(request) as session:
                invitation.revoke(session, UUID(pk))

        await run_in_threadpool(revoke)


PEOPLE = (UserAdmin, KeyAdmin, InvitationAdmin)
