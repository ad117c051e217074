"""The files of a version, in one folder: the pipeline (skops), `row.json` (the schema of its rows) and `sample.json`
(held-out rows of the data set with the predictions made at training; never a user's rows). The digest covers all files.
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
from ai_api.images.reference import decode_row, encode_row
from ai_api.inference import predict
from ai_api.task import Modality

from .versions import LoadedModel, TrainingRecord, Version

FOLDER = "model"
"""Name of the folder among the artifacts of a run and in the cache."""
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
    """What loading a pipeline takes: types to trust beyond skops's own list, and pinned packages to install."""

    types: list[str]
    packages: list[str]


def requirements_of(pipeline: Pipeline) -> Requirements:
    """ModelRefused when the pipeline contains a type that is not on our list."""
    import skops.io

    content = skops.io.dumps(pipeline)
    types = trusted(skops.io.get_untrusted_types(data=content))
    modules = set(MODULE.findall(zipfile.ZipFile(BytesIO(content)).read("schema.json").decode()))
    modules |= {str(value) for name, value in pipeline.get_params().items() if name.endswith("__package")}
    return Requirements(types, _packages(modules))


def _packages(modules: Iterable[str]) -> list[str]:
    """`name==version` of the packages of these modules, and of those that our own modules among them have imported."""
    own = {name for name in modules if name.startswith("ai_api.")}
    roots = {name.partition(".")[0] for name in modules} | {
        root for name in own for root in _imports(name) if root in sys.modules
    }
    packages = _packages_by_module()
    names = {
        packages[root][0] for root in roots - {"ai_api"} if root in packages and root not in sys.stdlib_module_names
    }
    pinned = {name: version(name).partition("+")[0] for name in sorted({*REQUIREMENTS, *names})}
    return [f"{name}=={number}" for name, number in pinned.items()]


@cache
def _packages_by_module() -> Mapping[str, list[str]]:
    """Package names by the name of their top module. Reads the records of all installed files, so once a process."""
    return packages_distributions()


def _imports(module: str) -> Iterator[str]:
    """The top names of all modules that a module's source imports, inside functions too."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def trusted(types: Sequence[str]) -> list[str]:
    """The same types as a list; ModelRefused when one is not on our list."""
    untrusted = [
        name
        for name in types
        if not any(name == known or (known.endswith(".") and name.startswith(known)) for known in TRUSTED)
    ]
    if untrusted:
        raise ModelRefused(
            f"A version may not contain {', '.join(untrusted)}. If it should, add the type to TRUSTED in"
            " registry/files.py."
        )
    return list(types)


def write_rows(folder: Path, pipeline: Pipeline, record: TrainingRecord) -> None:
    """Writes `row.json` and `sample.json` into the folder of the pipeline's own file."""
    columns = record.row.modalities()
    sample = list(record.sample[:SAMPLE_ROWS])
    predictions = predict(pipeline, columns, record.labels, sample)
    pairs = [
        {"row": encode_row(row), "answer": prediction} for row, prediction in zip(sample, predictions, strict=True)
    ]
    (folder / "sample.json").write_text(json.dumps(pairs))
    schema = {"version": record.row_version, "columns": columns, "schema": record.row.model_json_schema()}
    (folder / "row.json").write_text(json.dumps(schema))


def load(folder: Path, version: Version, device: str) -> LoadedModel:
    """The version whose files are in the folder; ModelRefused when it needs types that are not on our list."""
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
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(
            f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()
