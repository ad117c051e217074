"""A pipeline saved in MLflow's model format, with its signature and an input example, and our own files beside it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sklearn.pipeline import Pipeline

from ai_api.datasets import frame
from ai_api.images.reference import ImageRef
from ai_api.task import Modality

from .files import write_rows
from .requirements import requirements_of
from .versions import TrainingRecord

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from pandas import DataFrame

EXAMPLE_ROWS = 2
MLFLOW_TYPES = {
    Modality.TEXT: "string",
    Modality.CATEGORY: "string",
    Modality.NUMBER: "double",
    Modality.IMAGE: "binary",
}


def save(folder: Path, pipeline: Pipeline, record: TrainingRecord) -> None:
    """Writes every file of a version into `folder`. ModelRefused when the pipeline has a class that is not allowed."""
    import mlflow.sklearn

    requirements = requirements_of(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns about pickles; skops writes none
        mlflow.sklearn.save_model(
            pipeline,
            str(folder),
            signature=_signature(record),
            input_example=_images_as_bytes(frame(record.sample[:EXAMPLE_ROWS], record.row.modalities())),
            pip_requirements=requirements.packages,
            serialization_format="skops",
            skops_trusted_types=requirements.types,
        )
    write_rows(folder, pipeline, record)


def _signature(record: TrainingRecord) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    fields = record.row.model_fields
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(MLFLOW_TYPES[modality], name, required=fields[name].is_required())
        for name, modality in record.row.modalities().items()
    ]
    return ModelSignature(Schema(inputs), Schema([ColSpec("string" if record.labels else "double")]))


def _images_as_bytes(inputs: DataFrame) -> DataFrame:
    """MLflow's type for an image column is `binary`."""
    return inputs.map(lambda value: value.read() if isinstance(value, ImageRef) else value)
