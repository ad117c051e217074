"""Rows to label, over HTTP."""

from __future__ import annotations

from typing import Literal

from data_api.schemas.base import Moment, Schema

from .prediction import PredictionOut


class ToLabel(PredictionOut):
    """A prediction that is the caller's to label until `assigned_until`, and why. The truth goes to ai-api's /feedback.

    `margin`: the likeliest label's probability less the next one's. `entropy`: of the probabilities, 1 is no idea at
    all. `disagreement`: the share of people who do not say what most say. `probability`: how likely chance was to
    choose it, for `random` ones; accuracy is measured on those.
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
