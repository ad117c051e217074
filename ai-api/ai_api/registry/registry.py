"""Log, promote, roll back, load. The only module that knows MLflow."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sklearn.pipeline import Pipeline

from ai_api.datasets import frame
from ai_api.errors import Conflict, ModelRefused, RegistryUnavailable, UnknownVersion
from ai_api.images import ImageRef
from ai_api.task import Modality

from .cache import VersionCache
from .files import digest_of, load, needs_of, size_of, write_rows
from .versions import FinishedRun, LoadedModel, RunRecord, TrainingRecord, Version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunRecord as MlflowRun
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.models import ModelSignature
    from pandas import DataFrame


CHAMPION = "champion"
FOLDER = "model"
FOREIGN = "This version was not made by one of our trainers, so it does not serve."
DESCRIPTION_CHARACTERS = 5_000
EXAMPLE_ROWS = 2
MLFLOW_TYPES = {
    Modality.TEXT: "string",
    Modality.CATEGORY: "string",
    Modality.NUMBER: "double",
    Modality.IMAGE: "binary",
}
BATCH = 100
"""Parameters, tags or metrics in one call: MLflow takes at most this many of the first two."""
NOT_IN_NAMES = re.compile(r"[^\w. :/-]")


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
            MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
            GIT_PYTHON_REFRESH="quiet",
        )
        self._url = url
        self._cache = VersionCache(cache, FOLDER)
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

    def log(self, task: str, pipeline: Pipeline, record: TrainingRecord) -> Version:
        """Keeps a trained pipeline as the task's newest version, with its run: parameters, metrics, figures, report."""
        with tempfile.TemporaryDirectory() as folder, _asking():
            files = Path(folder) / FOLDER
            _save(files, pipeline, record)
            record = replace(record, metrics={**record.metrics, "size_bytes": float(size_of(files))})
            run_id = self._start_run(task, record, "training")
            self._client.log_artifacts(run_id, str(files), FOLDER)
            self._ensure_model(task)
            made = self._client.create_model_version(
                task,
                f"runs:/{run_id}/{FOLDER}",
                run_id,
                tags=_tags(record, digest_of(files)),
                description=record.description[:DESCRIPTION_CHARACTERS],
                await_creation_for=0,
            )
            self._client.set_terminated(run_id, "FINISHED")
        return self.version(task, int(made.version))

    def log_run(self, task: str, run: RunRecord, kind: str) -> str:
        """Keeps work that makes no version, such as a cross-validation, as a run of the task. Returns the run's id."""
        with _asking():
            run_id = self._start_run(task, run, kind)
            self._client.set_terminated(run_id, "FINISHED")
        return run_id

    def runs(self, task: str, kind: str = "training") -> list[FinishedRun]:
        """The finished runs of a kind, newest first."""
        with _asking():
            experiment = self._client.get_experiment_by_name(task)
            if experiment is None:
                return []
            found: list[MlflowRun] = []
            token: str | None = None
            while token != "":
                page = self._client.search_runs(
                    [experiment.experiment_id],
                    f"tags.`volant.kind` = '{kind}' and attributes.status = 'FINISHED'",
                    order_by=["attributes.start_time DESC"],
                    page_token=token,
                )
                found += page
                token = page.token or ""
        return [_past_run(run, task, kind) for run in found]

    def note(self, version: Version, name: str, report: Mapping[str, object], tags: Mapping[str, str]) -> None:
        """Adds a report, found out after logging, to the version's run, and tags to both."""
        with _asking():
            self._client.log_dict(version.run_id, dict(report), name)
            for key, value in tags.items():
                self._client.set_tag(version.run_id, f"volant.{key}", value)
                self._client.set_model_version_tag(version.task, str(version.number), f"volant.{key}", value)

    def load(self, task: str, number: int) -> LoadedModel:
        """The version, from the cache if it is whole there (no MLflow needed), else from MLflow.

        ModelRefused when our trainers did not make it, its files are not those logged, or it needs other types.
        """
        with self._cache.holding(task, number) as folder:
            version = self._confirmed(self._cache.find(folder)) or self._fetch(task, number, folder)
            return load(folder / FOLDER, version, self._device)

    def forget(self, task: str, keep: Collection[int]) -> None:
        """Drops from the cache what is not in `keep`, and what a process that died left half done."""
        self._cache.forget(task, keep)

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
            self._cache.keep(folder, version, Path(fresh))
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

    def _start_run(self, task: str, run: RunRecord, kind: str) -> str:
        from mlflow.entities import Metric, Param, RunTag

        experiment = self._client.get_experiment_by_name(task)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(task)
        started = run.started_at or datetime.now(UTC)
        run_id = str(
            self._client.create_run(experiment_id, int(started.timestamp() * 1000), run_name=run.recipe).info.run_id
        )
        now = int(datetime.now(UTC).timestamp() * 1000)
        points = [(name, value, 0) for name, value in {**run.metrics, **run.details}.items()] + list(run.history)
        metrics = [Metric(_name(name), value, now, step) for name, value, step in points if math.isfinite(value)]
        params = [Param(_name(name), str(value)) for name, value in {"recipe": run.recipe, **run.params}.items()]
        noted = {"kind": kind, **run.lineage, "data_hash": run.data_hash}
        tags = [RunTag(f"volant.{name}", value) for name, value in noted.items()]
        for start in range(0, max(len(metrics), len(params), len(tags)), BATCH):
            part = slice(start, start + BATCH)
            self._client.log_batch(run_id, metrics[part], params[part], tags[part])
        for name, figure in run.figures.items():
            self._client.log_figure(run_id, figure, f"{name}.png")
        for name, text in run.texts.items():
            self._client.log_text(run_id, text, name)
        if run.report:
            self._client.log_dict(run_id, dict(run.report), "report.json")
        return run_id


def _name(name: str) -> str:
    """As MLflow allows names: a label such as "<=50K" is part of some."""
    return NOT_IN_NAMES.sub("_", name)


class _Missing(UnknownVersion):
    """MLflow answered that there is no such thing."""


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


def _tags(record: TrainingRecord, digest: str) -> dict[str, str]:
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


def _past_run(run: MlflowRun, task: str, kind: str) -> FinishedRun:
    tags = {name.removeprefix("volant."): value for name, value in run.data.tags.items() if name.startswith("volant.")}
    return FinishedRun(
        run_id=run.info.run_id,
        task=task,
        kind=kind,
        recipe=run.data.params.get("recipe", ""),
        started_at=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        lineage=tags,
    )


def _save(folder: Path, pipeline: Pipeline, record: TrainingRecord) -> None:
    """The pipeline as MLflow lays it out, with signature and input example, and our own files beside it."""
    import mlflow.sklearn

    needs = needs_of(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's hints about pickles, which these are not
        mlflow.sklearn.save_model(
            pipeline,
            str(folder),
            signature=_signature(record),
            input_example=_bytes_for_pictures(frame(record.sample[:EXAMPLE_ROWS], record.row.modalities())),
            pip_requirements=needs.packages,
            serialization_format="skops",
            skops_trusted_types=needs.types,
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


def _bytes_for_pictures(inputs: DataFrame) -> DataFrame:
    """Pictures as MLflow's clients send them."""
    return inputs.map(lambda value: value.read() if isinstance(value, ImageRef) else value)
