"""Log, promote, roll back, load. The only module that knows MLflow.

A version's files are one folder: the pipeline (skops), MLmodel, `row.json` (the schema of its rows) and `sample.json`
(held-out rows of the data set with the answers recorded at training; never a user's rows). Its digest covers them all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.pipeline import Pipeline

from .datasets import frame
from .errors import Conflict, ModelRefused, RegistryUnavailable, UnknownVersion
from .task import Modality, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

log = logging.getLogger(__name__)

CHAMPION = "champion"
FOLDER = "model"
FOREIGN = "This version was not made by one of our trainers, so it does not serve."
SAMPLE_ROWS = 32
TOLERANCE = 1e-5
"""How far scores and values may differ between a batch and single rows, or between machines. Labels may not."""

TRUSTED = ("ai_api.datasets.normalise", "ai_api.features.", "ai_api.estimators.", "sklearn.ensemble.", "sklearn.tree.")
"""Types beyond skops's own list that a version may contain: full names, or packages that end in a dot."""

REQUIREMENTS = ("scikit-learn", "skops", "numpy", "pandas")

Answer = dict[str, object]
"""`{"label", "score", "probabilities"}` of a classification, `{"value"}` of a regression: plain strings and floats."""


@dataclass(frozen=True)
class Version:
    """One trained pipeline in the registry. `aliases` are as of the question; a cached version remembers none."""

    task: str
    number: int
    run_id: str
    recipe: str
    created_at: datetime
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    labels: tuple[str, ...] | None
    synthetic: bool
    row_version: int
    data_hash: str
    digest: str
    lineage: dict[str, str] = field(default_factory=dict)

    @property
    def trained_here(self) -> bool:
        """Whether one of our trainers made it: such a version carries the digest of its files."""
        return bool(self.digest)


@dataclass(frozen=True)
class Record:
    """What a training leaves behind, besides the pipeline."""

    recipe: str
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    labels: tuple[str, ...] | None
    synthetic: bool
    row: type[Row]
    row_version: int
    data_hash: str
    lineage: Mapping[str, str]
    sample: Sequence[dict[str, object]]
    history: Sequence[tuple[str, float, int]] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    report: Mapping[str, object] = field(default_factory=dict)
    started_at: datetime | None = None


@dataclass(frozen=True)
class Model:
    """A version, ready to answer. Thread-safe; a row's answer does not depend on its neighbours (TOLERANCE)."""

    version: Version
    pipeline: Pipeline
    columns: dict[str, Modality]
    schema: dict[str, object]
    sample: list[tuple[dict[str, object], Answer]]

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[Answer]:
        return predict(self.pipeline, self.columns, self.version.labels, rows)


def predict(
    pipeline: Pipeline,
    columns: Mapping[str, Modality],
    labels: Sequence[str] | None,
    rows: Sequence[Mapping[str, object]],
) -> list[Answer]:
    """The pipeline's answers as plain values, one a row."""
    if not rows:
        return []
    inputs = frame(rows, columns)
    if labels is None:
        return [{"value": float(value)} for value in pipeline.predict(inputs)]
    return [_label(labels, line) for line in pipeline.predict_proba(inputs).tolist()]


def _label(labels: Sequence[str], probabilities: list[float]) -> Answer:
    best = max(range(len(labels)), key=probabilities.__getitem__)
    return {
        "label": labels[best],
        "score": probabilities[best],
        "probabilities": dict(zip(labels, probabilities, strict=True)),
    }


class Registry:
    """The registry behind one MLflow server. Every call blocks; any thread may call.

    MLflow takes credentials and time limits from the environment only, so one process knows one server.
    """

    def __init__(
        self, url: str, username: str, password: str, cache: Path, timeout_seconds: float = 5, device: str = "auto"
    ) -> None:
        """`cache` keeps loaded versions across restarts; `device` is where neural parts run (auto, cpu, cuda)."""
        os.environ.update(
            MLFLOW_TRACKING_USERNAME=username,
            MLFLOW_TRACKING_PASSWORD=password,
            MLFLOW_HTTP_REQUEST_TIMEOUT=str(max(1, round(timeout_seconds))),
            MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
            MLFLOW_DISABLE_TELEMETRY="true",
            MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
            GIT_PYTHON_REFRESH="quiet",
        )
        self._url = url
        self._cache = cache
        self._device = device
        self._opening = threading.Lock()
        self._changing = threading.Lock()

    @cached_property
    def _opened(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._url, registry_uri=self._url)

    @property
    def _client(self) -> MlflowClient:
        with self._opening:
            return self._opened

    def champion(self, task: str) -> int | None:
        """The version that serves, or None. RegistryUnavailable within the time limit when MLflow does not answer."""
        model = self._model(task)
        return int(model.aliases[CHAMPION]) if model and CHAMPION in model.aliases else None

    def previous(self, task: str) -> int | None:
        """The version that a rollback would bring back: the one that the champion replaced."""
        champion = self.champion(task)
        if champion is None:
            return None
        with _asking():
            replaced = self._client.get_model_version(task, str(champion)).tags.get("volant.replaced")
        return int(replaced) if replaced else None

    def versions(self, task: str) -> list[Version]:
        """Newest first; empty for a task that was never trained."""
        model = self._model(task)
        if model is None:
            return []
        with _asking():
            found = self._client.search_model_versions(
                f"name = '{task}'", order_by=["version_number DESC"], max_results=1_000
            )
        return [_version(entry, model) for entry in found]

    def version(self, task: str, number_or_alias: int | str) -> Version:
        model = self._model(task)
        number = model.aliases.get(number_or_alias) if model and isinstance(number_or_alias, str) else number_or_alias
        if model is None or number is None or not str(number).isdecimal():
            raise UnknownVersion
        try:
            with _asking():
                return _version(self._client.get_model_version(task, str(number)), model)
        except _Missing:
            raise UnknownVersion from None

    def promote(self, task: str, number: int, expected: int | None) -> None:
        """Makes `number` the champion; Conflict unless `expected` is it now. Hold the promotion lock of the task.

        The alias moves last, in one call, so that a crash on the way changes nothing.
        """
        with self._changing:
            if not self.version(task, number).trained_here:
                raise ModelRefused(FOREIGN)
            champion = self.champion(task)
            if champion != expected:
                raise Conflict(
                    f"Version {champion} of {task} is champion now, not {expected}. Look again, then decide."
                )
            if number == champion:
                return
            with _asking():
                self._client.set_model_version_tag(
                    task, str(number), "volant.replaced", "" if champion is None else str(champion)
                )
                self._client.set_registered_model_alias(task, CHAMPION, str(number))

    def rollback(self, task: str) -> tuple[int, int]:
        """Back to the version that the champion replaced: (from, to). Hold the promotion lock of the task."""
        with self._changing:
            champion, previous = self.champion(task), self.previous(task)
            if champion is None or previous is None:
                raise Conflict(f"{task} has no earlier champion to go back to.")
            try:
                self.version(task, previous)
            except UnknownVersion:
                raise Conflict(
                    f"Version {previous} of {task}, which served before, is not in MLflow any more."
                ) from None
            with _asking():
                self._client.set_registered_model_alias(task, CHAMPION, str(previous))
            return champion, previous

    def log(self, task: str, pipeline: Pipeline, record: Record) -> Version:
        """Keeps a trained pipeline as the task's newest version, with its run: parameters, metrics, figures, report."""
        with tempfile.TemporaryDirectory() as folder, _asking():
            files = Path(folder) / FOLDER
            _save(files, pipeline, record)
            digest = digest_of(files)
            run_id = self._start_run(task, record)
            self._client.log_artifacts(run_id, str(files), FOLDER)
            tags = _tags(record, digest)
            self._ensure_model(task)
            made = self._client.create_model_version(
                task, f"runs:/{run_id}/{FOLDER}", run_id, tags=tags, await_creation_for=0
            )
            self._client.set_terminated(run_id, "FINISHED")
        return self.version(task, int(made.version))

    def note(self, version: Version, name: str, report: Mapping[str, object], tags: Mapping[str, str]) -> None:
        """Adds a report, found out after logging, to the version's run, and tags to both."""
        with _asking():
            self._client.log_dict(version.run_id, dict(report), name)
            for key, value in tags.items():
                self._client.set_tag(version.run_id, f"volant.{key}", value)
                self._client.set_model_version_tag(version.task, str(version.number), f"volant.{key}", value)

    def load(self, task: str, number: int) -> Model:
        """The version, from the cache if it is whole there (no MLflow needed), else from MLflow.

        ModelRefused when our trainers did not make it, its files are not those logged, or it needs other types.
        """
        folder = self._cache / task / str(number)
        with _holding(folder):
            version = self._confirmed(_cached(folder)) or self._fetch(task, number, folder)
            return _load(folder / FOLDER, version, self._device)

    def forget(self, task: str, keep: Collection[int]) -> None:
        """Drops from the cache what is not in `keep`, and what a process that died left half done."""
        for folder in (self._cache / task).iterdir():
            if folder.is_dir() and not (folder.name.isdecimal() and int(folder.name) in keep):
                with _holding(folder):
                    shutil.rmtree(folder, ignore_errors=True)

    def _confirmed(self, cached: Version | None) -> Version | None:
        """The cached version, unless MLflow says that its number stands for other files by now."""
        if cached is None:
            return None
        try:
            return cached if self.version(cached.task, cached.number).digest == cached.digest else None
        except RegistryUnavailable:
            return cached

    def _fetch(self, task: str, number: int, folder: Path) -> Version:
        version = self.version(task, number)
        if not version.trained_here:
            raise ModelRefused(FOREIGN)
        with tempfile.TemporaryDirectory() as fresh:
            with _asking():
                self._client.download_artifacts(version.run_id, FOLDER, fresh)
            if digest_of(Path(fresh) / FOLDER) != version.digest:
                raise ModelRefused(
                    f"The files of version {number} of {task} are not those that were logged: their digest differs."
                )
            kept = {**asdict(version), "created_at": version.created_at.isoformat(), "aliases": []}
            (Path(fresh) / "version.json").write_text(json.dumps(kept))
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(fresh, folder)
        return version

    def _model(self, task: str) -> RegisteredModel | None:
        try:
            with _asking():
                return self._client.get_registered_model(task)
        except _Missing:
            return None

    def _ensure_model(self, task: str) -> None:
        if self._model(task) is None:
            self._client.create_registered_model(task)

    def _start_run(self, task: str, record: Record) -> str:
        from mlflow.entities import Metric, Param, RunTag

        experiment = self._client.get_experiment_by_name(task)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(task)
        started = record.started_at or datetime.now(UTC)
        run = self._client.create_run(experiment_id, int(started.timestamp() * 1000), run_name=record.recipe)
        now = int(datetime.now(UTC).timestamp() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in record.metrics.items()]
        metrics += [Metric(name, value, now, step) for name, value, step in record.history]
        params = [Param(name, str(value)) for name, value in {"recipe": record.recipe, **record.params}.items()]
        tags = [
            RunTag(f"volant.{name}", value) for name, value in {**record.lineage, "data_hash": record.data_hash}.items()
        ]
        self._client.log_batch(run.info.run_id, metrics, params, tags)
        for name, figure in record.figures.items():
            self._client.log_figure(run.info.run_id, figure, f"{name}.png")
        if record.report:
            self._client.log_dict(run.info.run_id, dict(record.report), "report.json")
        return str(run.info.run_id)


def digest_of(folder: Path) -> str:
    """sha256 over the names and contents of every file in the folder."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole.update(
            f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return whole.hexdigest()


class _Missing(UnknownVersion):
    """MLflow answered that there is no such thing."""


@contextmanager
def _holding(folder: Path) -> Iterator[None]:
    """Alone with one folder of the cache, among all threads and processes that share it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _asking() -> Iterator[None]:
    """Turns MLflow's ways of failing into ours."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
            raise _Missing from error
        raise RegistryUnavailable(f"The model registry did not do what it was asked ({error.error_code}).") from error
    except (RequestException, OSError) as error:
        raise RegistryUnavailable from error


def _tags(record: Record, digest: str) -> dict[str, str]:
    fixed = {
        "digest": digest,
        "recipe": record.recipe,
        "metrics": json.dumps(dict(record.metrics)),
        "labels": json.dumps(record.labels),
        "synthetic": json.dumps(record.synthetic),
        "row_version": str(record.row_version),
        "data_hash": record.data_hash,
        "lineage": json.dumps(dict(record.lineage)),
    }
    return {f"volant.{name}": value for name, value in fixed.items()}


def _version(entry: ModelVersion, model: RegisteredModel) -> Version:
    tags = {name.removeprefix("volant."): value for name, value in entry.tags.items() if name.startswith("volant.")}
    labels = json.loads(tags.get("labels", "null"))
    return Version(
        task=entry.name,
        number=int(entry.version),
        run_id=entry.run_id or "",
        recipe=tags.get("recipe", ""),
        created_at=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
        aliases=tuple(sorted(alias for alias, number in model.aliases.items() if str(number) == str(entry.version))),
        metrics=json.loads(tags.get("metrics", "{}")),
        labels=None if labels is None else tuple(labels),
        synthetic=tags.get("synthetic") == "true",
        row_version=int(tags.get("row_version", "1")),
        data_hash=tags.get("data_hash", ""),
        digest=tags.get("digest", ""),
        lineage=json.loads(tags.get("lineage", "{}"))
        | {name: tags[name] for name in ("promoted", "reason") if name in tags},
    )


def _save(folder: Path, pipeline: Pipeline, record: Record) -> None:
    import mlflow.sklearn
    from mlflow.models import infer_signature

    columns = record.row.modalities()
    sample = list(record.sample[:SAMPLE_ROWS])
    inputs = frame(sample, columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's hints about pickles, which these are not
        mlflow.sklearn.save_model(
            pipeline,
            str(folder),
            signature=infer_signature(inputs, pipeline.predict(inputs)),
            input_example=inputs.head(2),
            pip_requirements=[_pinned(name) for name in REQUIREMENTS],
            serialization_format="skops",
            skops_trusted_types=_own_types(pipeline),
        )
    answers = predict(pipeline, columns, record.labels, sample)
    (folder / "sample.json").write_text(
        json.dumps([{"row": row, "answer": answer} for row, answer in zip(sample, answers, strict=True)])
    )
    schema = {"version": record.row_version, "columns": columns, "schema": record.row.model_json_schema()}
    (folder / "row.json").write_text(json.dumps(schema))


def _pinned(name: str) -> str:
    from importlib.metadata import version

    return f"{name}=={version(name)}"


def _own_types(pipeline: Pipeline) -> list[str]:
    import skops.io

    return _trusted(skops.io.get_untrusted_types(data=skops.io.dumps(pipeline)))


def _trusted(types: Sequence[str]) -> list[str]:
    """The types themselves; ModelRefused when one is not on our list."""
    strange = [
        name
        for name in types
        if not any(name == known or (known.endswith(".") and name.startswith(known)) for known in TRUSTED)
    ]
    if strange:
        raise ModelRefused(
            f"A version may not contain {', '.join(strange)}. If it should, add the type to TRUSTED in registry.py."
        )
    return list(types)


def _cached(folder: Path) -> Version | None:
    """What the cache knows of a version; None when it is not there or not whole."""
    try:
        kept = json.loads((folder / "version.json").read_text())
    except (OSError, ValueError):
        return None
    kept["created_at"] = datetime.fromisoformat(kept["created_at"])
    version = Version(**{**kept, "aliases": (), "labels": None if kept["labels"] is None else tuple(kept["labels"])})
    if digest_of(folder / FOLDER) != version.digest:
        log.warning("the cached files of %s %s are damaged; they are fetched again", version.task, version.number)
        return None
    return version


def _load(folder: Path, version: Version, device: str) -> Model:
    import skops.io

    path = folder / "model.skops"
    pipeline: Pipeline = skops.io.load(path, trusted=_trusted(skops.io.get_untrusted_types(file=path)))
    pipeline.set_params(**{name: device for name in pipeline.get_params() if name.endswith("__device")})
    row = json.loads((folder / "row.json").read_text())
    columns = {name: Modality(modality) for name, modality in row["columns"].items()}
    sample = [(pair["row"], pair["answer"]) for pair in json.loads((folder / "sample.json").read_text())]
    return Model(version, pipeline, columns, row["schema"], sample)


def labels_of(pipeline: Pipeline) -> tuple[str, ...] | None:
    """The labels in the order of the pipeline's probabilities; None for a regression."""
    classes = getattr(pipeline, "classes_", None) if hasattr(pipeline[-1], "classes_") else None
    return None if classes is None else tuple(str(label) for label in np.asarray(classes))
