"""The session listener that writes the audit: every flushed change of an audited object adds a line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, UpdateBase, event, inspect
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, Session, UOWTransaction

from data_api.database import Base
from data_api.ids import new_id, time_of

from .audit import COMMAND, Action, Actor, Audit, AuditDetail, Audited

ColumnValues = dict[str, object]


class Unaudited(RuntimeError):
    """A bulk statement would change an audited table without an audit line."""


def write_audit(session: Session, _: UOWTransaction, __: object) -> None:
    """Adds the audit lines to the flush that makes the changes, in the same transaction."""
    for changed, action in list(_changed(session)):
        state: InstanceState[Audited] = inspect(changed)
        before, after = _values(state, action)
        fields = sorted((before.keys() | after.keys()) - changed.__quiet__)
        if fields:
            line = _line(session, changed, action, fields)
            line.detail = _detail(changed, before, after, fields)
            session.add(line)


def _changed(session: Session) -> Iterator[tuple[Audited, Action]]:
    for objects, action in (
        (session.new, Action.CREATE),
        (session.dirty, Action.CHANGE),
        (session.deleted, Action.DELETE),
    ):
        yield from ((one, action) for one in objects if isinstance(one, Audited))


def _values(state: InstanceState[Audited], action: Action) -> tuple[ColumnValues, ColumnValues]:
    """Values before and after: all that are set when a row is created or deleted, else those that differ."""
    before: ColumnValues = {}
    after: ColumnValues = {}
    for name in state.mapper.column_attrs.keys():  # noqa: SIM118  iterating itself gives the attributes
        if action is Action.CHANGE:
            history = state.attrs[name].load_history()
            if history.has_changes():
                before[name] = history.deleted[0] if history.deleted else None
                after[name] = history.added[0] if history.added else None
        elif (value := getattr(state.object, name)) is not None:
            (after if action is Action.CREATE else before)[name] = value
    return before, after


def _line(session: Session, changed: Audited, action: Action, fields: list[str]) -> Audit:
    key = new_id()
    mapper: Mapper[Audited] = inspect(type(changed))
    actor: Actor = session.info.get("actor", COMMAND)
    return Audit(
        id=key,
        created_at=time_of(key),
        actor_kind=actor.kind,
        actor_id=actor.id,
        action=action,
        entity=_table(mapper),
        entity_id=" ".join(str(part) for part in mapper.primary_key_from_instance(changed)),
        fields=fields,
        request_id=session.info.get("request_id"),
    )


def _detail(changed: Audited, before: ColumnValues, after: ColumnValues, fields: list[str]) -> AuditDetail | None:
    shown = [name for name in fields if name not in changed.__secret__]
    if not shown:
        return None
    return AuditDetail(
        user_id=changed.subject_id(),
        before={name: _plain(before[name]) for name in shown if name in before} or None,
        after={name: _plain(after[name]) for name in shown if name in after} or None,
    )


def _plain(value: object) -> object:
    """The value in a form that JSON can hold."""
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)


def refuse_bulk_changes(state: ORMExecuteState) -> None:
    """Raises Unaudited for bulk statements on audited tables. The execution option `quiet` allows one on quiet
    columns.
    """
    if isinstance(state.statement, UpdateBase) and not state.execution_options.get("quiet"):
        name = getattr(state.statement.table, "name", None)
        if any(_table(mapper) == name for mapper in Base.registry.mappers if issubclass(mapper.class_, Audited)):
            raise Unaudited(f"{name} is audited: change it through objects.")


def _table(mapper: Mapper[Any]) -> str:
    return cast("Table", mapper.local_table).name


event.listen(Session, "before_flush", write_audit)
event.listen(Session, "do_orm_execute", refuse_bulk_changes)
