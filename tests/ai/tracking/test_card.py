"""A model card has a version's description, metrics, limits and a call."""

from __future__ import annotations

from dataclasses import replace

from ai_api.registry.run_log import DESCRIPTION_CHARACTERS
from ai_api.task import Published
from ai_api.tracking.card import CardFacts, card
from tests.ai.support.small import small_housing, small_task
from tests.ai.training.frauds import RECIPE, small_frauds

METRICS = {
    "pr_auc": 0.9,
    "recall": 0.8,
    "weighted_to_real_pr_auc": 0.7,
    "baseline_pr_auc": 0.05,
    "interval_low": 0.85,
    "interval_high": 0.95,
    "threshold": 0.125,
    "cost_per_1000": 12.5,
    "cost_per_1000_at_half": 20.0,
}
DETAILS = {"precision.fraud": 0.75, "recall.fraud": 0.8, "f1.fraud": 0.774}
FACTS = CardFacts(METRICS, DETAILS, {"seed": "3", "train_rows": "700"}, "abc123", synthetic=False)


def test_it_has_the_metrics_the_threshold_and_a_call() -> None:
    task = replace(small_frauds(), published=(Published("somebody", "pr_auc", 0.82, "full file"),))
    text = card(task, RECIPE, FACTS)
    assert text.startswith("# frauds: logreg")
    assert "| pr_auc | 0.9000 | 0.0500 | 0.7000 |" in text
    assert "0.8500 to 0.9500" in text
    assert "from a probability of 0.125 on. A missed one costs 100 euros, a false alarm 1" in text
    assert "1,000 rows cost 12.50, at a threshold of 0.5 20.00" in text
    assert "| fraud | 0.750 | 0.800 | 0.774 |" in text
    assert "pr_auc 0.82 by somebody (full file)" in text
    assert "Licence: synthetic rows." in text
    assert '"Amount": 122.21' in text
    assert "generated rows" not in text


def test_a_version_trained_on_generated_rows_has_a_warning_first() -> None:
    text = card(small_housing("housing"), RECIPE, replace(FACTS, synthetic=True))
    assert text.splitlines()[2].startswith("**Trained on generated rows")


def test_a_card_of_many_classes_fits_an_mlflow_description() -> None:
    names = [f"{figure}.class {number}" for figure in ("precision", "recall", "f1") for number in range(141)]
    facts = replace(FACTS, details=dict.fromkeys(names, 0.5))
    task = small_task("fashion")
    assert "class 140" in card(task, RECIPE, facts)
    assert len(card(task, RECIPE, facts, by_class=False)) < DESCRIPTION_CHARACTERS
    assert "<base64 of a picture>" in card(task, RECIPE, facts)
