"""Bodies of labelling."""

from __future__ import annotations

from typing import Literal

from data_api.schemas.base import Moment, Schema

from .prediction import PredictionOut


class ToLabel(PredictionOut):
    """A prediction assigned to the caller for labelling until `assigned_until`, with the reason. The truth is sent to
    ai-api's /feedback.

    `margin`: the highest probability less the second. `entropy`: of the probabilities, from 0 to 1. `disagreement`: the
    share of people who disagree with the most frequent label. `probability`: the sampling probability of `random` ones,
    over which the accuracy is measured.
    """

    reason: Literal["random", "disagreement", "margin", "entropy"]
    assigned_until: Moment
    margin: float | None
    entropy: float | None
    disagreement: float | None
    probability: float | None


class ToLabelList(Schema):
    """Predictions to label, in the order to take them."""

    items: list[ToLabel]
