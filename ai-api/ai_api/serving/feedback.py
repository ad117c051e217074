"""Store feedback about a prediction without HTTP. It is checked at once when the prediction can be found."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from uuid_utils.compat import uuid7

from ai_api.data_client import DataClient
from ai_api.errors import DataUnavailable, InvalidFeedback, NotAllowed, UnknownPrediction
from ai_api.metrics import FEEDBACK
from ai_api.outbox.outbox import Outbox
from ai_api.outbox.responses import StoredResponse
from ai_api.privacy.eraser import Eraser

from .limits import CallerLimit
from .predictor import Origin

UNCHECKED_COST = 10
"""What feedback counts in its caller's limit when its prediction is not found: it may wait for weeks, in vain."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """The truth for one prediction: a label for a classification, a value for a regression."""

    prediction_id: uuid.UUID
    label: str | None
    value: float | None
    comment: str | None


@dataclass(frozen=True, slots=True)
class StoredFeedback:
    """The id of stored feedback, and whether its prediction was found and the feedback checked against it."""

    id: str
    checked: bool


class FeedbackRecorder:
    """Checks feedback against its prediction, then stores it in the outbox."""

    def __init__(self, outbox: Outbox, client: DataClient, eraser: Eraser, limit: CallerLimit) -> None:
        self._limit = limit
        self._outbox = outbox
        self._client = client
        self._eraser = eraser

    async def record(
        self,
        feedback: Feedback,
        origin: Origin,
        *,
        is_trainer: bool,
        keep: Callable[[StoredFeedback], StoredResponse] | None = None,
    ) -> StoredFeedback:
        """Stores the feedback, and what `keep` makes of it in the same commit, and returns its id.

        LimitReached when this caller gave too much; UnknownPrediction when there cannot be such a prediction;
        NotAllowed and InvalidFeedback as check_feedback says.
        """
        self._limit.charge(origin.user_id, 1, is_trainer=is_trainer)
        prediction = await self.find(feedback.prediction_id)
        if prediction is None:
            self._limit.charge(origin.user_id, UNCHECKED_COST - 1, is_trainer=is_trainer)
        else:
            check_feedback(prediction, feedback, origin.user_id, is_trainer=is_trainer)
        stored = StoredFeedback(str(uuid7()), prediction is not None)
        with self._eraser.storing_for(origin.user_id):
            event = feedback_event(stored.id, feedback, origin)
            await self._outbox.put("feedback", [event], None if keep is None else keep(stored))
        FEEDBACK.labels("checked" if stored.checked else "unchecked").inc()
        return stored

    async def find(self, id_: uuid.UUID) -> Mapping[str, object] | None:
        """The prediction, from this outbox or from data-api; UnknownPrediction when there cannot be one.

        None when it may exist but cannot be read: data-api does not respond, or it waits in another instance's outbox.
        """
        if (waiting := await self._outbox.find(str(id_))) is not None:
            return waiting
        try:
            return await self._client.prediction(str(id_))
        except DataUnavailable:
            return None
        except UnknownPrediction:
            if id_.version == 7:  # every prediction has a UUIDv7, so no other id can turn up later
                return None
            raise


def check_feedback(prediction: Mapping[str, object], feedback: Feedback, user_id: str, *, is_trainer: bool) -> None:
    """The same rules that data-api applies when it stores feedback.

    NotAllowed for a user who is neither a trainer nor asked for the prediction; InvalidFeedback for a label that is not
    one of the prediction's, or for a label instead of a value and the reverse.
    """
    if prediction.get("user_id") != user_id and not is_trainer:
        raise NotAllowed("Only the user who asked for a prediction, or a trainer, may correct it.")
    output = prediction["answer"]
    labels = output.get("probabilities") if isinstance(output, Mapping) else None
    if isinstance(labels, Mapping):
        if feedback.label not in labels:
            raise InvalidFeedback(f"This prediction takes a label, one of: {', '.join(map(str, labels))}.")
    elif feedback.value is None or not math.isfinite(feedback.value):
        raise InvalidFeedback("This prediction takes a value, not a label.")


def feedback_event(id_: str, feedback: Feedback, origin: Origin) -> dict[str, object]:
    """The feedback in the shape that data-api stores."""
    return {
        "id": id_,
        "prediction_id": str(feedback.prediction_id),
        "label": feedback.label,
        "value": feedback.value,
        "comment": feedback.comment,
        "user_id": origin.user_id,
        "request_id": origin.request_id,
    }
