"""Feedback without HTTP: checked against its prediction where that can be read, and stored in the outbox."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from ai_api.data_client import DataClient
from ai_api.errors import (
    AIError,
    DataUnavailable,
    InvalidFeedback,
    LimitReached,
    NotAllowed,
    NotSignedIn,
    UnknownPrediction,
)
from ai_api.images.blobs import Blobs
from ai_api.outbox.outbox import Outbox
from ai_api.privacy.eraser import Eraser
from ai_api.serving.feedback import Feedback, FeedbackRecorder, check_feedback
from ai_api.serving.limits import CallerLimit
from ai_api.serving.predictor import Origin
from tests.ai.support.data_api import no_jobs

pytestmark = pytest.mark.anyio

ANN = Origin("ann", "request 1")
ID = UUID("0199aa31-7e4c-7d11-9c43-000000000001")
RANDOM_ID = UUID("0199aa31-7e4c-4d11-9c43-000000000001")
CLASSIFIED: dict[str, object] = {"user_id": "ann", "answer": {"label": "a", "probabilities": {"a": 0.9, "b": 0.1}}}
ESTIMATED: dict[str, object] = {"user_id": "ann", "answer": {"value": 2.0}}


class DataAPI:
    """Has the predictions in `predictions`, unless it fails."""

    def __init__(self) -> None:
        self.predictions: dict[str, dict[str, object]] = {}
        self.error: Exception | None = None
        self.calls = 0

    async def prediction(self, id_: str) -> dict[str, object]:
        self.calls += 1
        if self.error:
            raise self.error
        if id_ not in self.predictions:
            raise UnknownPrediction
        return self.predictions[id_]


class Recording:
    """A recorder with its outbox, data-api and the people to erase."""

    def __init__(self, folder: Path) -> None:
        self.data_api = DataAPI()
        self.outbox = Outbox(folder / "outbox", max_rows=10)
        self.erased: dict[str, str] = {}
        client = cast("DataClient", self.data_api)
        eraser = Eraser(self.outbox, Blobs(str(folder / "blobs")), client, lambda: self.erased, no_jobs)
        self.limit = CallerLimit("feedback", "feedback an hour", 20, 3_600)
        self.recorder = FeedbackRecorder(self.outbox, client, eraser, self.limit)

    async def stored(self) -> list[dict[str, object]]:
        return [event.body for event in await self.outbox.oldest(100) if event.kind == "feedback"]


@pytest.fixture
async def recording(tmp_path: Path) -> AsyncIterator[Recording]:
    made = Recording(tmp_path)
    yield made
    made.outbox.close()


def label(text: str | None, prediction_id: UUID = ID, comment: str | None = None) -> Feedback:
    return Feedback(prediction_id, text, None, comment)


def value(number: float | None) -> Feedback:
    return Feedback(ID, None, number, None)


async def test_feedback_about_a_prediction_in_the_outbox_is_checked_without_data_api(recording: Recording) -> None:
    await recording.outbox.put("prediction", [{"id": str(ID), **CLASSIFIED}])
    stored = await recording.recorder.record(label("b", comment="why"), ANN, is_trainer=False)
    assert stored.checked
    assert await recording.stored() == [
        {
            "id": stored.id,
            "prediction_id": str(ID),
            "label": "b",
            "value": None,
            "comment": "why",
            "user_id": "ann",
            "request_id": "request 1",
        }
    ]
    assert UUID(stored.id).version == 7
    assert recording.data_api.calls == 0


async def test_feedback_about_a_prediction_of_data_api_is_checked(recording: Recording) -> None:
    recording.data_api.predictions[str(ID)] = ESTIMATED
    assert (await recording.recorder.record(value(0.0), ANN, is_trainer=False)).checked
    with pytest.raises(InvalidFeedback):
        await recording.recorder.record(label("a"), ANN, is_trainer=False)
    assert [body["value"] for body in await recording.stored()] == [0.0]


@pytest.mark.parametrize("error", [None, DataUnavailable("away")])
async def test_feedback_about_a_prediction_that_cannot_be_read_yet_is_stored_unchecked(
    recording: Recording, error: Exception | None
) -> None:
    recording.data_api.error = error
    stored = await recording.recorder.record(label("anything"), ANN, is_trainer=False)
    assert not stored.checked
    assert [body["label"] for body in await recording.stored()] == ["anything"]


async def test_feedback_about_an_id_that_no_prediction_can_have_is_refused(recording: Recording) -> None:
    with pytest.raises(UnknownPrediction):
        await recording.recorder.record(label("a", RANDOM_ID), ANN, is_trainer=True)
    assert await recording.stored() == []


async def test_feedback_whose_prediction_is_not_found_uses_up_the_limit_ten_times_as_fast(recording: Recording) -> None:
    for _ in range(2):
        await recording.recorder.record(label("a"), ANN, is_trainer=False)
    with pytest.raises(LimitReached, match="feedback an hour"):
        await recording.recorder.record(label("a"), ANN, is_trainer=False)
    assert recording.data_api.calls == 2, "refused before data-api is asked"
    assert len(await recording.stored()) == 2
    recording.data_api.predictions[str(ID)] = {**CLASSIFIED, "user_id": "bob"}
    for _ in range(7):
        await recording.recorder.record(label("a"), Origin("bob", "request 2"), is_trainer=False)


async def test_feedback_of_a_person_to_erase_is_refused(recording: Recording) -> None:
    recording.erased = {"ann": "e1"}
    with pytest.raises(NotSignedIn):
        await recording.recorder.record(label("a"), ANN, is_trainer=True)
    assert await recording.stored() == []


@pytest.mark.parametrize(
    ("prediction", "feedback", "user_id", "is_trainer"),
    [
        (CLASSIFIED, label("b"), "ann", False),
        (CLASSIFIED, label("b"), "bob", True),
        (ESTIMATED, value(-1.5), "ann", False),
        (ESTIMATED, value(0.0), "bob", True),
    ],
)
def test_the_person_who_asked_and_trainers_may_correct_a_prediction(
    prediction: Mapping[str, object], feedback: Feedback, user_id: str, is_trainer: bool
) -> None:
    check_feedback(prediction, feedback, user_id, is_trainer=is_trainer)


@pytest.mark.parametrize(
    ("prediction", "feedback", "user_id", "is_trainer", "error"),
    [
        (CLASSIFIED, label("b"), "bob", False, NotAllowed),
        ({**CLASSIFIED, "user_id": None}, label("b"), "ann", False, NotAllowed),
        (CLASSIFIED, label("c"), "ann", False, InvalidFeedback),
        (CLASSIFIED, label("c"), "bob", True, InvalidFeedback),
        (CLASSIFIED, value(1.0), "ann", False, InvalidFeedback),
        (ESTIMATED, value(None), "ann", False, InvalidFeedback),
        (ESTIMATED, value(math.nan), "ann", False, InvalidFeedback),
        (ESTIMATED, value(math.inf), "ann", False, InvalidFeedback),
        (ESTIMATED, label("a"), "ann", False, InvalidFeedback),
    ],
)
def test_feedback_that_does_not_fit_its_prediction_is_refused(
    prediction: Mapping[str, object], feedback: Feedback, user_id: str, is_trainer: bool, error: type[AIError]
) -> None:
    with pytest.raises(error):
        check_feedback(prediction, feedback, user_id, is_trainer=is_trainer)
