"""Check a loaded version before it serves: it must reproduce the predictions recorded when it was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ai_api.errors import ModelRefused
from ai_api.registry.versions import LoadedModel
from ai_api.task import Task

SCORE_TOLERANCE = 0.02
"""Largest difference of a probability from the recorded one. Processors round differently; a wrong model differs
more."""
VALUE_TOLERANCE = 0.001
"""Largest relative difference of a regression's value from the recorded one."""
SINGLE_ROWS = 4
"""Rows of the sample that are also predicted one by one."""


def check_model(task: Task, model: LoadedModel) -> None:
    """Predicts the recorded sample, some rows one by one and all in one batch, which also warms the model up.

    ModelRefused when the task's row schema has changed since, the model fails on a row, or a prediction differs from
    the recorded one by more than the tolerances.
    """
    if model.version.row_version != task.row_version:
        schemas = f"{model.version.row_version}, this release's have {task.row_version}"
        raise ModelRefused(f"Its rows have schema {schemas}. Retrain the task.")
    rows = [row for row, _ in model.sample]
    if not rows:
        raise ModelRefused("It carries no sample to compare its predictions with.")
    recorded = [output for _, output in model.sample]
    try:
        for row in rows:
            task.row.model_validate(row)
        single = [model.predict([row])[0] for row in rows[:SINGLE_ROWS]]
        batched = list(zip(model.predict(rows), recorded, strict=True))
    except Exception as error:
        raise ModelRefused(f"It fails on its own sample: {type(error).__name__}.") from error
    for output, expected in (*batched, *zip(single, recorded, strict=False)):
        if not agree(output, expected):
            raise ModelRefused("Its predictions for its own sample differ from those recorded when it was trained.")


def agree(output: Mapping[str, object], expected: Mapping[str, object]) -> bool:
    """Whether two outputs are equal within the tolerances. Probabilities are compared, so labels may differ at a tie.

    ModelRefused when a value or a probability is not a number.
    """
    if "value" in expected:
        return math.isclose(
            as_number(output["value"]), as_number(expected["value"]), rel_tol=VALUE_TOLERANCE, abs_tol=VALUE_TOLERANCE
        )
    scores, wanted = output["probabilities"], expected["probabilities"]
    if not isinstance(scores, Mapping) or not isinstance(wanted, Mapping) or scores.keys() != wanted.keys():
        return False
    return all(abs(as_number(scores[label]) - as_number(wanted[label])) <= SCORE_TOLERANCE for label in wanted)


def as_number(value: object) -> float:
    if not isinstance(value, int | float):
        raise ModelRefused("One of its predictions is not a number.")
    return float(value)
