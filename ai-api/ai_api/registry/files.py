"""The files of a version, in one folder: the pipeline (skops), `row.json` (the schema of its rows) and `sample.json`
(held-out rows of the data set with the predictions made at training; never a user's rows). The digest covers all files.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sklearn.pipeline import Pipeline

from ai_api.errors import ModelRefused
from ai_api.images.reference import decode_row, encode_row
from ai_api.inference import predict
from ai_api.task import Modality

from .allowed_types import check_types
from .versions import LoadedModel, TrainingRecord, Version

FOLDER = "model"
"""Name of the folder among the artifacts of a run and in the cache."""
PIPELINE, ROW, SAMPLE = "model.skops", "row.json", "sample.json"
SAMPLE_ROWS = 32


@dataclass(frozen=True)
class VersionFiles:
    """A version's files as they were read, once: the digest is that of the very bytes which are loaded."""

    digest: str
    size: int
    content: Mapping[str, bytes]
    """The files that are loaded, by name. Others, such as MLflow's description of the model, only have a digest."""

    @classmethod
    def read(cls, folder: Path) -> VersionFiles:
        """Every file in the folder; ModelRefused when it contains a link or anything else that is no plain file.

        The digest is sha256 over the names and contents.
        """
        digest, size, content = hashlib.sha256(), 0, {}
        for path in sorted(folder.rglob("*")):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                raise ModelRefused("Its files contain a link or another thing that is no plain file.")
            raw, name = path.read_bytes(), path.relative_to(folder).as_posix()
            digest.update(f"{name} {hashlib.sha256(raw).hexdigest()}\n".encode())
            size += len(raw)
            if name in (PIPELINE, ROW, SAMPLE):
                content[name] = raw
        return cls(digest.hexdigest(), size, content)

    def load(self, version: Version, device: str) -> LoadedModel:
        """The version; ModelRefused when a file is missing or malformed, or holds a class that is not allowed."""
        import skops.io

        if missing := [name for name in (PIPELINE, ROW, SAMPLE) if name not in self.content]:
            raise ModelRefused(f"Its files lack {', '.join(missing)}.")
        allowed = check_types(self.content[PIPELINE])
        try:
            pipeline = skops.io.loads(self.content[PIPELINE], trusted=allowed)
            columns, schema = _columns_and_schema(self.content[ROW])
            pairs = json.loads(self.content[SAMPLE])
            sample = [(decode_row(pair["row"], columns), pair["answer"]) for pair in pairs]
        except Exception as error:  # skops raises what the classes raise whose attributes it sets
            raise ModelRefused(f"Its files cannot be loaded: {type(error).__name__}.") from error
        if not isinstance(pipeline, Pipeline):
            raise ModelRefused(f"Its {PIPELINE} holds no pipeline.")
        pipeline.set_params(**{name: device for name in pipeline.get_params() if name.endswith("__device")})
        return LoadedModel(version, pipeline, columns, schema, sample)


def write_rows(folder: Path, pipeline: Pipeline, record: TrainingRecord) -> None:
    """Writes `row.json` and `sample.json` into the folder of the pipeline's own file."""
    columns = record.row.modalities()
    sample = list(record.sample[:SAMPLE_ROWS])
    predictions = predict(pipeline, columns, record.labels, sample)
    pairs = [
        {"row": encode_row(row), "answer": prediction} for row, prediction in zip(sample, predictions, strict=True)
    ]
    (folder / SAMPLE).write_text(json.dumps(pairs))
    schema = {"version": record.row_version, "columns": columns, "schema": record.row.model_json_schema()}
    (folder / ROW).write_text(json.dumps(schema))


def _columns_and_schema(content: bytes) -> tuple[dict[str, Modality], dict[str, object]]:
    row: Mapping[str, dict[str, str]] = json.loads(content)
    return {name: Modality(modality) for name, modality in row["columns"].items()}, dict(row["schema"])
