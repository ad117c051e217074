"""The thresholds of the gate: how many resamples must agree, and on how many rows."""

from __future__ import annotations

import numpy as np

from ai_api.datasets import LiveRows, Table
from ai_api.evaluation.gate import GateDecision, PairedPredictions, decide
from ai_api.evaluation.metrics import Predictions
from tests.ai.support.small import small_tweets

TWEETS = small_tweets("tweets")
LABELS = np.array(["negative", "neutral", "positive"], dtype=object)
NO_LIVE_ROWS = LiveRows(Table([], np.array([])), np.array([], dtype=object), np.array([], dtype=bool))
NO_ROWS = PairedPredictions(np.array([]), Predictions(np.array([])), Predictions(np.array([])))


def with_flipped_predictions(rows: int, gained: int, lost: int) -> PairedPredictions:
    """Champion and challenger differ in `gained` rows that only the challenger predicts right and `lost` rows that only
    the champion predicts right; both are right on all others. The classes are of equal size.
    """
    place = np.arange(rows)
    truths, wrong = LABELS[place % 3], LABELS[(place + 1) % 3]
    champion = np.where(place < gained, wrong, truths)
    challenger = np.where((place >= gained) & (place < gained + lost), wrong, truths)
    return PairedPredictions(truths, Predictions(champion), Predictions(challenger))


def decide_on_fixed_rows(fixed: PairedPredictions) -> GateDecision:
    return decide(TWEETS, fixed, NO_ROWS, NO_LIVE_ROWS, rounds=300)


def test_a_difference_above_zero_in_two_thirds_of_the_resamples_is_not_better() -> None:
    decision = decide_on_fixed_rows(with_flipped_predictions(3_000, gained=60, lost=56))
    assert decision.fixed is not None
    assert 0.6 < decision.fixed.likely < 0.7
    assert decision.fixed.delta > 0
    assert decision.fixed.low > -TWEETS.margin, "it is not worse either, so only the share of resamples decides"
    assert not decision.promote
    assert "not clearly better" in decision.reason


def test_a_difference_above_zero_in_nine_tenths_of_the_resamples_is_better() -> None:
    decision = decide_on_fixed_rows(with_flipped_predictions(3_000, gained=60, lost=47))
    assert decision.fixed is not None
    assert 0.85 < decision.fixed.likely < 0.95
    assert decision.fixed.low < 0, "the interval of 95 % still holds 0"
    assert decision.promote, decision.reason
