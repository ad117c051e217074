"""Bulk requests: a row has the same outcome whether or not another one is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_api.crud.bulk import STORED, RowOutcome, Values
from data_api.errors import InvalidRequest
from data_api.http.body.json_reading import JsonBounds, parse_json
from data_api.http.bulk import MAX_VALUES, store_each
from data_api.schemas.bulk import RowParser
from data_api.schemas.openapi_examples import EXAMPLES
from data_api.schemas.predictions.feedback import FEEDBACK
from data_api.schemas.predictions.prediction import PREDICTION
from data_api.schemas.promotions import PROMOTION
from tests.data.api import ApiClient, prediction
from tests.data.untimed import UNTIMED

KINDS: dict[str, RowParser[Any]] = {"PredictionIn": PREDICTION, "FeedbackIn": FEEDBACK, "PromotionIn": PROMOTION}
TEXTS = st.text() | st.sampled_from(["\0", "\ud800", "7", "1.0", "true", "null", str(EXAMPLES["PredictionIn"]["id"])])
NUMBERS = st.integers() | st.floats() | st.sampled_from([True, 10**30, 2**63, -0.0, 1e308, 5e-324, 0.1 + 0.2])
VALUES = st.recursive(
    st.none() | NUMBERS | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)


@st.composite
def rows(draw: st.DrawFn, name: str) -> dict[str, object]:
    """The OpenAPI example of a row, with some fields removed or replaced by any value."""
    row = deepcopy(EXAMPLES[name])
    for _ in range(draw(st.integers(0, 3))):
        inside = draw(st.sampled_from([row, *(value for value in row.values() if isinstance(value, dict))]))
        field = draw(st.sampled_from([*inside, "xyzzy"]))
        inside.pop(field, None)
        if draw(st.booleans()):
            inside[field] = draw(VALUES)
    return row


def parse_and_store(parser: RowParser[Any], content: bytes) -> tuple[list[RowOutcome], Sequence[Values]] | str:
    """The outcomes of the rows of a body and the values for the table, or the error of the body."""
    stored: list[Values] = []

    def store(values: Sequence[Values]) -> list[RowOutcome]:
        stored.extend(values)
        return [STORED] * len(values)

    bounds = JsonBounds(MAX_VALUES)
    try:
        bounds.feed(content)
        return store_each(parser, parse_json(bytearray(content), bounds.names), store), stored
    except InvalidRequest as error:
        return str(error)


@pytest.mark.parametrize("name", KINDS)
@UNTIMED
@given(data=st.data(), ascii_only=st.booleans())
def test_a_refused_row_changes_nothing_about_the_others(name: str, data: st.DataObject, ascii_only: bool) -> None:
    row = data.draw(rows(name))
    texts = [json.dumps({"rows": sent}, ensure_ascii=ascii_only) for sent in ([row], [row, {}])]
    alone, beside = (parse_and_store(KINDS[name], text.encode(errors="surrogatepass")) for text in texts)
    if isinstance(beside, str):
        assert alone == beside
    else:
        outcomes, stored = beside
        assert repr(alone) == repr((outcomes[:1], stored))  # by repr: 1 is not 1.0 and not True here, and NaN is NaN
        assert outcomes[1].status == "refused"


@pytest.mark.parametrize("name", KINDS)
def test_the_openapi_example_of_a_row_is_valid(name: str) -> None:
    assert KINDS[name].values(EXAMPLES[name])["id"] == UUID(str(EXAMPLES[name]["id"]))


@UNTIMED
@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
@example(b'{"rows": [], "rows": 7}')
def test_a_body_without_rows_is_an_invalid_request(content: bytes) -> None:
    outcome = parse_and_store(PREDICTION, content)
    assert isinstance(outcome, str) or outcome == ([], [])
    if isinstance(outcome, str):
        assert outcome.startswith("body")


@pytest.mark.parametrize("path", ["/predictions", "/feedback", "/promotions"])
def test_only_the_service_gets_validation_errors_of_rows(api: ApiClient, path: str) -> None:
    for headers, status in (({}, 401), (api.person("admin").headers, 403), (api.service, 422)):
        for kind in ("application/json", "text/plain"):
            response = api.client.post(path, content=b"{", headers={**headers, "Content-Type": kind})
            assert response.status_code == status, (headers, kind)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream"])
def test_rows_of_another_content_type_than_json_are_refused(api: ApiClient, task: str, kind: str) -> None:
    content = json.dumps({"rows": [prediction(task)]}).encode()
    response = api.client.post("/predictions", content=content, headers={**api.service, "Content-Type": kind})
    assert response.status_code == 422
    assert "application/json" in response.json()["detail"]


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "application/vnd.volant+json", "Application/JSON", ""]
)
def test_no_content_type_and_every_json_content_type_is_accepted(api: ApiClient, task: str, kind: str) -> None:
    content = json.dumps({"rows": [prediction(task)]}).encode()
    response = api.client.post("/predictions", content=content, headers={**api.service, "Content-Type": kind})
    assert response.json() == {"results": [{"status": "stored", "reason": None}]}
