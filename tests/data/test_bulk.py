"""Rows that come many at a time mean the same whether all are good or one is refused among them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_api.crud.bulk import STORED, Outcome, Values
from data_api.errors import InvalidRequest
from data_api.http.bulk import store_each
from data_api.schemas.bulk import RowParser
from data_api.schemas.openapi_examples import EXAMPLES
from data_api.schemas.predictions.feedback import FEEDBACK
from data_api.schemas.predictions.prediction import PREDICTION
from data_api.schemas.promotions import PROMOTION
from tests.data.world import World, prediction

KINDS: dict[str, RowParser[Any]] = {"PredictionIn": PREDICTION, "FeedbackIn": FEEDBACK, "PromotionIn": PROMOTION}
TEXTS = st.text() | st.sampled_from(["\0", "\ud800", "7", "1.0", "true", "null", str(EXAMPLES["PredictionIn"]["id"])])
NUMBERS = st.integers() | st.floats() | st.sampled_from([True, 10**30, 2**63, -0.0, 1e308, 5e-324, 0.1 + 0.2])
VALUES = st.recursive(
    st.none() | NUMBERS | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)


@st.composite
def rows(draw: st.DrawFn, name: str) -> dict[str, object]:
    """The example of a kind with some of its fields, or of what is in them, left out or anything else."""
    row = deepcopy(EXAMPLES[name])
    for _ in range(draw(st.integers(0, 3))):
        inside = draw(st.sampled_from([row, *(value for value in row.values() if isinstance(value, dict))]))
        field = draw(st.sampled_from([*inside, "xyzzy"]))
        inside.pop(field, None)
        if draw(st.booleans()):
            inside[field] = draw(VALUES)
    return row


def judged(kind: RowParser[Any], content: bytes) -> tuple[list[Outcome], Sequence[Values]] | str:
    """What becomes of the rows of a body and what their table would get, or why it is none."""
    kept: list[Values] = []

    def store(values: Sequence[Values]) -> list[Outcome]:
        kept.extend(values)
        return [STORED] * len(values)

    try:
        return store_each(kind, content, store), kept
    except InvalidRequest as error:
        return str(error)


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data(), ascii_only=st.booleans())
def test_a_refused_row_changes_nothing_about_the_others(name: str, data: st.DataObject, ascii_only: bool) -> None:
    row = data.draw(rows(name))
    texts = [json.dumps({"rows": sent}, ensure_ascii=ascii_only) for sent in ([row], [row, {}])]
    alone, beside = (judged(KINDS[name], text.encode(errors="surrogatepass")) for text in texts)
    if isinstance(beside, str):
        assert alone == beside
    else:
        outcomes, kept = beside
        assert repr(alone) == repr((outcomes[:1], kept))  # by repr: 1 is not 1.0 and not True here, and NaN is NaN
        assert outcomes[1].status == "refused"


@pytest.mark.parametrize("name", KINDS)
def test_the_example_of_a_row_is_one_that_is_taken(name: str) -> None:
    assert KINDS[name].values(EXAMPLES[name])["id"] == UUID(str(EXAMPLES[name]["id"]))


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
@example(b'{"rows": [], "rows": 7}')
def test_whatever_is_no_body_of_rows_is_an_invalid_request(content: bytes) -> None:
    said = judged(PREDICTION, content)
    assert isinstance(said, str) or said == ([], [])
    if isinstance(said, str):
        assert said.startswith("body")


@pytest.mark.parametrize("path", ["/predictions", "/feedback", "/promotions"])
def test_only_a_sender_who_may_send_rows_is_told_what_is_wrong_with_them(world: World, path: str) -> None:
    for headers, status in (({}, 401), (world.person("admin").headers, 403), (world.service, 422)):
        for kind in ("application/json", "text/plain"):
            answer = world.client.post(path, content=b"{", headers={**headers, "Content-Type": kind})
            assert answer.status_code == status, (headers, kind)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream", None])
def test_rows_that_are_not_called_json_are_refused(world: World, task: str, kind: str | None) -> None:
    content = json.dumps({"rows": [prediction(task)]}).encode()
    answer = world.client.post("/predictions", content=content, headers={**world.service, "Content-Type": kind or ""})
    assert answer.status_code == 422
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.volant+json", "Application/JSON"])
def test_every_name_of_json_will_do(world: World, task: str, kind: str) -> None:
    content = json.dumps({"rows": [prediction(task)]}).encode()
    answer = world.client.post("/predictions", content=content, headers={**world.service, "Content-Type": kind})
    assert answer.json() == {"results": [{"status": "stored", "reason": None}]}
