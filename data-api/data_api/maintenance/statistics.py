"""The statistics that Postgres keeps of the values of each column (`pg_stats`), without those of deleted rows."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Engine, text

COLUMNS = text(
    "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(:table)"
    " AND attname IN (SELECT attname FROM pg_stats WHERE schemaname = 'public' AND tablename = :table)"
    " AND NOT attnum = ANY (SELECT unnest(partattrs) FROM pg_partitioned_table WHERE partrelid = to_regclass(:table))"
)
"""Columns that have statistics, with their types. Those of a partition key, whose type cannot be set, hold ids only."""
PARTITIONS = text(
    "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_inherits JOIN pg_class ON oid = inhrelid"
    " WHERE inhparent = to_regclass(:table)"
)


def renew(engine: Engine, tables: Iterable[str]) -> None:
    """Removes the deleted rows of these tables, and their values from the statistics. Needs the owner's rights."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in sorted(tables):
            connection.execute(text(f"VACUUM (ANALYZE) {table}"))
            if _is_stale(connection, table):
                with engine.begin() as transaction:
                    _drop(transaction, table)
            for name, bounds in connection.execute(PARTITIONS, {"table": table}).all():
                if _is_stale(connection, name):
                    with engine.begin() as transaction:
                        _drop_of_partition(transaction, table, name, bounds)


def _is_stale(connection: Connection, table: str) -> bool:
    """Whether an empty table has statistics: ANALYZE keeps those of its last rows."""
    has_rows = connection.scalar(text(f"SELECT EXISTS (SELECT FROM {table})"))  # noqa: S608
    return not has_rows and bool(connection.execute(COLUMNS, {"table": table}).all())


def _drop(connection: Connection, table: str) -> None:
    """Removes all statistics of a table: Postgres drops those of a column whose type is set, also to the same one."""
    for name, type_name in connection.execute(COLUMNS, {"table": table}).all():
        connection.execute(text(f'ALTER TABLE {table} ALTER COLUMN "{name}" TYPE {type_name}'))


def _drop_of_partition(connection: Connection, table: str, name: str, bounds: str) -> None:
    """The same for a partition, which has to be detached for it: nothing can be stored in `table` meanwhile."""
    connection.execute(text(f"ALTER TABLE {table} DETACH PARTITION {name}"))
    _drop(connection, name)
    connection.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} {bounds}"))
