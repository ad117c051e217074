"""Logs runs to MLflow and finds them again: trainings, which also make a version, and other work such as crossval."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sklearn.pipeline import Pipeline

from ai_api.errors import ConfigurationError

from .connection import MlflowConnection
from .entities import PREFIX, finished_run_of, signature_tags, version_of, version_tags
from .files import FOLDER, VersionFiles
from .saving import save
from .signatures import SigningKey, Statement
from .versions import FinishedRun, RunRecord, TrainingRecord, Version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run, RunTag

DESCRIPTION_CHARACTERS = 5_000
BATCH = 100
"""Parameters, tags or metrics in one call. MLflow's limit is 100 parameters and 100 tags."""
NOT_IN_NAMES = re.compile(r"[^\w. :/-]")


class RunLog:
    """The runs of one MLflow server. A task's runs lie in the experiment of the same name. Every call blocks."""

    def __init__(self, connection: MlflowConnection, signer: SigningKey | None) -> None:
        """`signer` is the trainer's key; only a process that logs versions needs one."""
        self._connection = connection
        self._signer = signer

    def log_version(self, task: str, pipeline: Pipeline, record: TrainingRecord) -> Version:
        """Saves a trained pipeline as the task's newest version, signed, with its run: parameters, metrics, figures,
        report. ConfigurationError without a key to sign with.
        """
        if self._signer is None:
            raise ConfigurationError("Only a trainer logs versions: it needs the secret `version_signing_key`.")
        with tempfile.TemporaryDirectory() as folder, self._connection.client() as client:
            path = Path(folder) / FOLDER
            save(path, pipeline, record)
            files = VersionFiles.read(path)
            record = replace(record, metrics={**record.metrics, "size_bytes": float(files.size)})
            run_id = _start_run(client, task, record, "training")
            client.log_artifacts(run_id, str(path), FOLDER)
            statement = Statement.of(task, files.digest, run_id, record)
            signature = self._signer.sign(statement, "trainer")
            if self._connection.registered_model(task) is None:
                client.create_registered_model(task)
            created = client.create_model_version(
                task,
                f"runs:/{run_id}/{FOLDER}",
                run_id,
                tags=version_tags(record) | signature_tags(files.digest, signature),
                description=record.description[:DESCRIPTION_CHARACTERS],
                await_creation_for=0,
            )
            client.set_terminated(run_id, "FINISHED")
            return version_of(client.get_model_version(task, str(created.version)), client.get_registered_model(task))

    def log_run(self, task: str, run: RunRecord, kind: str) -> str:
        """Logs work that makes no version, such as a cross-validation. Returns the id of its run."""
        with self._connection.client() as client:
            run_id = _start_run(client, task, run, kind)
            client.set_terminated(run_id, "FINISHED")
        return run_id

    def finished(self, task: str, kind: str = "training") -> list[FinishedRun]:
        """The finished runs of a kind, newest first."""
        with self._connection.client() as client:
            return [finished_run_of(run, task, kind) for run in _search(client, task, kind)]

    def add_report(self, version: Version, name: str, report: Mapping[str, object], tags: Mapping[str, str]) -> None:
        """Adds a JSON file named `name` to the run of a logged version, and tags to the run and the version."""
        with self._connection.client() as client:
            client.log_dict(version.run_id, dict(report), name)
            for key, value in tags.items():
                client.set_tag(version.run_id, f"{PREFIX}{key}", value)
                client.set_model_version_tag(version.task, str(version.number), f"{PREFIX}{key}", value)


def _search(client: MlflowClient, task: str, kind: str) -> Iterator[Run]:
    experiment = client.get_experiment_by_name(task)
    token: str | None = None
    while experiment is not None and token != "":
        page = client.search_runs(
            [experiment.experiment_id],
            f"tags.`volant.kind` = '{kind}' and attributes.status = 'FINISHED'",
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from page
        token = page.token or ""


def _start_run(client: MlflowClient, task: str, run: RunRecord, kind: str) -> str:
    """A running run with everything that the record holds. Returns its id."""
    experiment = client.get_experiment_by_name(task)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(task)
    started = run.started_at or datetime.now(UTC)
    created = client.create_run(experiment_id, int(started.timestamp() * 1000), run_name=run.recipe)
    run_id = str(created.info.run_id)
    metrics, params, tags = _entries(run, kind)
    for start in range(0, max(len(metrics), len(params), len(tags)), BATCH):
        part = slice(start, start + BATCH)
        client.log_batch(run_id, metrics[part], params[part], tags[part])
    for name, figure in run.figures.items():
        client.log_figure(run_id, figure, f"{name}.png")
    for name, text in run.texts.items():
        client.log_text(run_id, text, name)
    if run.report:
        client.log_dict(run_id, dict(run.report), "report.json")
    return run_id


def _entries(run: RunRecord, kind: str) -> tuple[list[Metric], list[Param], list[RunTag]]:
    """Metrics, parameters and tags as MLflow's entities. Metrics that are not finite are left out."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(datetime.now(UTC).timestamp() * 1000)
    points = [(name, value, 0) for name, value in {**run.metrics, **run.details}.items()] + list(run.history)
    metrics = [Metric(_allowed(name), value, now, step) for name, value, step in points if math.isfinite(value)]
    params = [Param(_allowed(name), str(value)) for name, value in {"recipe": run.recipe, **run.params}.items()]
    tags = {"kind": kind, **run.lineage, "data_hash": run.data_hash}
    return metrics, params, [RunTag(f"{PREFIX}{name}", value) for name, value in tags.items()]


def _allowed(name: str) -> str:
    """The name with `_` for each character that MLflow does not allow: some labels, such as "<=50K", hold them."""
    return NOT_IN_NAMES.sub("_", name)
