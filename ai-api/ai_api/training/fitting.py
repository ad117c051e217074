"""Fits a pipeline. Its errors reach callers of the API and contain no row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai_api.datasets import Table, frame
from ai_api.errors import InvalidParams, TrainingFailed
from ai_api.task import Task

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def fit(pipeline: Pipeline, task: Task, rows: Table) -> Pipeline:
    """The same pipeline, fitted. InvalidParams for wrong parameters, TrainingFailed for every other error."""
    import joblib

    try:
        with joblib.parallel_config("threading", n_jobs=-1):
            return pipeline.fit(frame(rows.rows, task.row.modalities()), rows.truths)
    except (ValueError, TypeError) as error:
        if type(error).__name__ == "InvalidParameterError":
            raise InvalidParams(str(error).partition(" Got ")[0]) from error
        raise TrainingFailed(f"The pipeline could not be fitted: {type(error).__name__}.") from error
