"""The files of a version, one folder: the pipeline (skops), `row.json` (the schema of its rows) and `sample.json`
(held-out rows of the data set with the answers recorded at training; never a user's rows). Its digest covers them all.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, version
from io import BytesIO
from pathlib import Path

from sklearn.pipeline import Pipeline

from ai_api.errors import ModelRefused
from ai_api.images import decode_row, encode_row
from ai_api.inference import predict
from ai_api.task import Modality

from .versions import LoadedModel, TrainingRecord, Version

SAMPLE_ROWS = 32

TRUSTED = (
    "ai_api.datasets.normalise", "ai_api.features.", "ai_api.estimators.", "ai_api.tasks.", "sklearn.ensemble.",
    "sklearn.tree.",
)  # fmt: skip
"""Types beyond skops's own list that a version may contain: full names, or packages that end in a dot."""

REQUIREMENTS = ("scikit-learn", "skops", "numpy", "pandas")
MODULE = re.compile(r'"__module__": "([\w.]+)"')


@dataclass(frozen=True)
class Requirements:
    """What a machine must allow and have in order to load a pipeline: types beyond skops's list, pinned packages."""

    types: list[str]
    packages: list[str]


def needs_of(pipeline: Pipeline) -> Requirements:
    """ModelRefused when the pipeline contains a type that is not on our list."""
    import skops.io

    content = skops.io.dumps(pipeline)
    types = trusted(skops.io.get_untrusted_types(data=content))
    modules = set(MODULE.findall(zipfile.ZipFile(BytesIO(content)).read("schema.json").decode()))
    modules |= {str(value) for name, value in pipeline.get_params().items() if name.endswith("__package")}
    return Requirements(types, _packages(modules))


def _packages(modules: Iterable[str]) -> list[str]:
    """The packages that these modules are of. Of our own modules: what they import once they are at work, as by now."""
    own = {name for name in modules if name.startswith("ai_api.")}
    roots = {name.partition(".")[0] for name in modules} | {
        root for name in own for root in _imports(name) if root in sys.modules
    }
    homes = _homes()
    names = {homes[root][0] for root in roots - {"ai_api"} if root in homes and root not in sys.stdlib_module_names}
    pinned = {name: version(name).partition("+")[0] for name in sorted({*REQUIREMENTS, *names})}
    return [f"{name}=={number}" for name, number in pinned.items()]


@cache
def _homes() -> Mapping[str, list[str]]:
    """The packages that a module's name is known from: a look at every installed file, so once a process."""
    return packages_distributions()


def _imports(module: str) -> Iterator[str]:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return
    for node in ast.walk(ast.parse(Path(found.origin).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def trusted(types: Sequence[str]) -> list[str]:
    """The types themselves; ModelRefused when one is not on our list."""
    strange = [
        name
        for name in types
        if not any(name == known or (known.endswith(".") and name.startswith(known)) for known in TRUSTED)
    ]
    if strange:
        raise ModelRefused(
            f"A version may not contain {', '.join(strange)}. If it should, add the type to TRUSTED in"
            " registry/files.py."
        )
    return list(types)


def write_rows(folder: Path, pipeline: Pipeline, record: TrainingRecord) -> None:
    """Puts `row.json` and `sample.json` beside the pipeline's own file."""
    columns = record.row.modalities()
    sample = list(record.sample[:SAMPLE_ROWS])
    answers = predict(pipeline, columns, record.labels, sample)
    (folder / "sample.json").write_text(
        json.dumps([{"row": encode_row(row), "answer": answer} for row, answer in zip(sample, answers, strict=True)])
    )
    schema = {"version": record.row_version, "columns": columns, "schema": record.row.model_json_schema()}
    (folder / "row.json").write_text(json.dumps(schema))


def load(folder: Path, version: Version, device: str) -> LoadedModel:
    """The version that lies in the folder; ModelRefused when it needs types that are not on our list."""
    import skops.io

    path = folder / "model.skops"
    pipeline: Pipeline = skops.io.load(path, trusted=trusted(skops.io.get_untrusted_types(file=path)))
    pipeline.set_params(**{name: device for name in pipeline.get_params() if name.endswith("__device")})
    row: Mapping[str, dict[str, str]] = json.loads((folder / "row.json").read_text())
    columns = {name: Modality(modality) for name, modality in row["columns"].items()}
    pairs = json.loads((folder / "sample.json").read_text())
    sample = [(decode_row(pair["row"], columns), pair["answer"]) for pair in pairs]
    return LoadedModel(version, pipeline, columns, dict(row["schema"]), sample)


def size_of(folder: Path) -> int:
    """Bytes of every file in the folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def digest_of(folder: Path) -> str:
    """sha256 over the names and contents of every file in the folder."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole.update(
            f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return whole.hexdigest()
