"""One rule for each field that crosses the services: what ai-api takes, data-api stores; what data-api refuses, ai-api
refuses with 422.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from ai_api.task import LabelName
from data_api.crud.bulk import RowOutcome
from data_api.ids import LATEST, new_id
from data_api.schemas.predictions.feedback import FEEDBACK
from data_api.schemas.promotions import PROMOTION
from tests.ai.routes.test_predict import HOUSE, ROW
from tests.ai.support.app import RunningApp, running

TEXTS: tuple[object, ...] = (
    "", " ", "\t", "\n", "\u00a0\u2003", "\0", "a\0", "\x01", "a\x1fb", "\x7f", "\x85", "a\nb", "\ud800", "a\udfffb",
    "a", " a ", "1", "1_000", "True", "nan", "é", "e\u0301", "\ufdfa", "\U0001f600", "\u200d", "\u2028", "\ufeff",
    "a" * 200, "a" * 201, "\U0001f600" * 200, "\U0001f600" * 201, "a" * 2_000, "a" * 2_001, "a" * 20_000,
    "\n" * 10, "a\tb\r\n", "\x1b[31m", "${x}", "<b>", "'; --",
)  # fmt: skip
NUMBERS: tuple[object, ...] = (
    0, -0.0, 1, -1, 0.5, 5e-324, -5e-324, 1e-308, 1e308, -1.7e308, 2**53, 2**53 + 1, 2**63, 10**308, 10**309, 10**4_299,
    float("nan"), float("inf"), float("-inf"), 1.0, 1e15,
)  # fmt: skip
OTHERS: tuple[object, ...] = (
    True,
    False,
    None,
    [],
    {},
    [1],
    ["a"],
    {"a": 1},
    "1e3",
    "0x1",
    "+1",
    " 1",
    "١",
    "Infinity",
)
VALUES = (*TEXTS, *NUMBERS, *OTHERS)


def id_at(milliseconds: int, version: int = 7, variant: int = 2) -> str:
    return str(UUID(int=milliseconds << 80 | version << 76 | variant << 62 | 1))


IDS: tuple[object, ...] = (
    *(id_at(LATEST + later) for later in (-1, 0, 1)), id_at(2**48 - 1), id_at(0), id_at(1),
    *(id_at(1_764_000_000_000, version) for version in range(16)),
    *(id_at(1_764_000_000_000, variant=variant) for variant in range(4)),
    str(new_id()), str(new_id()).upper(), new_id().hex, f"{{{new_id()}}}", new_id().urn, f" {new_id()}",
    f"{new_id()}\n", f"{new_id()}\0", "0" * 32, "f" * 32,
)  # fmt: skip
FEEDBACKS: list[dict[str, object]] = [
    *({"label": value} for value in VALUES),
    *({"value": value} for value in VALUES),
    *({"label": "a", "comment": value} for value in VALUES),
    *({"label": "a", "prediction_id": value} for value in (*IDS, *VALUES)),
    {"label": "a", "value": 1},
    {},
    {"label": "a", "unknown": 1},
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    with running(tmp_path_factory.mktemp("service")) as started:
        yield started


def is_refused(parser: Any, row: object) -> bool:
    """Whether data-api refuses this row, as it reads it from a request."""
    [outcome] = parser.parse(json.loads(json.dumps({"rows": [row]})))
    return isinstance(outcome, RowOutcome)


def post(service: RunningApp, path: str, body: object, is_trainer: bool = False) -> int:
    client = service.client(service.trainer if is_trainer else service.user)
    response = client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    return response.status_code


def test_ai_api_takes_the_feedback_that_data_api_stores_and_no_other(service: RunningApp) -> None:
    assert len(FEEDBACKS) > 300
    differing = []
    for given in FEEDBACKS:
        body = {"prediction_id": str(new_id()), **given}
        sent = {**body, "id": str(new_id()), "user_id": service.user.id}
        expected = 422 if is_refused(FEEDBACK, sent) else 202
        if (status := post(service, "/feedback", body)) != expected:
            differing.append((given, status, expected))
    assert differing == []
    service.drain()
    stored = service.data_api.sent["feedback"].values()
    assert len(stored) > 80
    assert [row for row in stored if is_refused(FEEDBACK, row)] == []


@pytest.mark.parametrize("field", ["version", "expected", "reason"])
def test_ai_api_refuses_what_data_api_would_refuse_of_a_promotion(service: RunningApp, field: str) -> None:
    """Version 99 does not exist, so nothing is promoted: the body is checked before."""
    differing = []
    for value in (*VALUES, 2**31 - 1, 2**31):
        body = {"version": 99, "expected": 1, "reason": "better", field: value}
        sent = {"id": str(new_id()), "task": "tweets", "action": "promote", "version": body["version"]}
        sent |= {"previous": body["expected"], "reason": body["reason"]}
        status = post(service, "/models/tweets/promote", body, is_trainer=True)
        if status == 500 or (is_refused(PROMOTION, sent) and status != 422):
            differing.append((value, status))
    assert differing == []


@pytest.mark.parametrize("version", [True, False, 1.0, 1.5, [1], {}])
def test_the_version_of_a_prediction_is_a_whole_number_or_a_name(service: RunningApp, version: object) -> None:
    assert post(service, "/predict", {"task": "tweets", "inputs": ROW, "version": version}) == 422


@pytest.mark.parametrize("version", ["1_000", "True", " 1", "+1", "1.0", "١", 0, -1, 2**31, 10**4_000])
def test_a_version_that_does_not_exist_is_not_found(service: RunningApp, version: object) -> None:
    assert post(service, "/predict", {"task": "tweets", "inputs": ROW, "version": version}) == 404


@pytest.mark.parametrize(
    "value", ["a\0b", "\ud800", float("nan"), float("inf"), [[float("nan")]], {"a": {"\0": 1}}, "a" * 20_000]
)
def test_parameters_that_cannot_be_stored_are_refused(service: RunningApp, value: object) -> None:
    body = {"task": "tweets", "params": {"C": value}}
    assert post(service, "/retrain", body, is_trainer=True) == 422


@pytest.mark.parametrize(
    "text", ["1_000", " 1", "1 ", "nan", "inf", "Infinity", "+1", "١", "0x1", "1e", ".5", "01", "True"]
)
def test_a_form_takes_no_number_that_json_refuses(service: RunningApp, text: str) -> None:
    fields = {name: str(value) for name, value in HOUSE.items() if value is not None}
    client = service.client(service.user)
    assert client.post("/predict/housing", data=fields).status_code == 200
    assert client.post("/predict/housing", data={**fields, "HouseAge": text}).status_code == 422


@pytest.mark.parametrize("text", ["1_0", " 1", "+1", "1.0", "1e1", "True", "١", "0x1", "nan"])
@pytest.mark.parametrize("call", ["/jobs?limit=", "/jobs?before=", "/jobs/1/events?after=", "/jobs/"])
def test_an_address_takes_no_number_that_json_refuses(service: RunningApp, call: str, text: str) -> None:
    path, _, name = call.partition("?")
    address = f"{path}{text}" if not name else path
    response = service.client(service.user).get(address, params={name.rstrip("="): text} if name else None)
    assert response.status_code == 422


def test_both_services_read_names_alike() -> None:
    """The labels of a prediction, which ai-api checks before it trains."""
    from pydantic import TypeAdapter, ValidationError

    from data_api.schemas.base import Name as Stored

    def takes(kind: Any, value: object) -> bool:
        try:
            TypeAdapter(kind).validate_python(value)
        except ValidationError:
            return False
        return True

    assert [value for value in VALUES if takes(LabelName, value) != takes(Stored, value)] == []
