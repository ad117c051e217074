"""Which errors of Postgres refuse one row, and which fail the whole call."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError

from data_api.crud.bulk import ROW_ERRORS, refusal_reason


class PostgresError(Exception):
    """An error with the SQLSTATE that it was made with."""

    def __init__(self, state: str | None) -> None:
        super().__init__()
        self.pgcode = state


def failure(state: str | None, *, is_connection_lost: bool = False) -> DBAPIError:
    return DBAPIError("INSERT", {}, PostgresError(state), connection_invalidated=is_connection_lost)


@pytest.mark.parametrize(("state", "group"), [("22P05", "22"), ("23514", "23"), ("54000", "54")])
def test_errors_about_values_rules_and_size_refuse_the_row(state: str, group: str) -> None:
    assert refusal_reason(failure(state)) == ROW_ERRORS[group]


def test_a_value_that_cannot_be_written_as_json_refuses_the_row() -> None:
    assert refusal_reason(ValueError("surrogates not allowed")) == ROW_ERRORS["22"]


@pytest.mark.parametrize("state", ["08006", "40P01", "53300", "57014", "42501", "", None])
def test_errors_of_the_service_are_raised(state: str | None) -> None:
    with pytest.raises(DBAPIError):
        refusal_reason(failure(state))


def test_an_error_with_a_lost_connection_is_raised_whatever_its_state() -> None:
    with pytest.raises(DBAPIError):
        refusal_reason(failure("22P05", is_connection_lost=True))
