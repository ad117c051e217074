"""Every error has one status, and a message that names what happened or what to do."""

from __future__ import annotations

import pytest

from ai_api import errors
from ai_api.errors import AIError, JobRunning
from ai_api.http.error_responses import STATUS


def kinds(root: type[AIError]) -> list[type[AIError]]:
    """Every error of errors.py. A private subclass in another module has the status of its base class."""
    below = [kind for kind in root.__subclasses__() if kind.__module__ == errors.__name__]
    return below + [deeper for kind in below for deeper in kinds(kind)]


@pytest.mark.parametrize("kind", kinds(AIError), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_a_message(kind: type[AIError]) -> None:
    assert 400 <= STATUS[kind] < 600
    error = kind(7) if kind is JobRunning else kind()
    assert str(error).endswith((".", "`."))
    assert "\n" not in str(error)
    assert kind.__name__ in str(errors.__doc__), "errors.py opens with the whole tree"


def test_422_means_a_malformed_input_and_nothing_else() -> None:
    assert {kind.__name__ for kind, status in STATUS.items() if status == 422} == {
        "InvalidRequest",
        "InvalidRow",
        "InvalidFeedback",
        "InvalidParams",
        "NoFinitePrediction",
    }


def test_the_table_names_no_error_that_does_not_exist() -> None:
    assert set(STATUS) == set(kinds(AIError))
