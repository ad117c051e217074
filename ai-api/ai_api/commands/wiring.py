"""What the commands share: the tasks, the registry, and what a training talks to, made from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from ai_api.errors import UnknownTask
from ai_api.settings import Settings

if TYPE_CHECKING:
    from ai_api.registry.registry import Registry
    from ai_api.sources import Source
    from ai_api.task import Task
    from ai_api.training.request import TrainingContext


def all_tasks(settings: Settings) -> dict[str, Task]:
    """The tasks by name, in the order in which their starters are trained."""
    from ai_api.tasks import find_tasks

    return find_tasks(settings.task_names, settings.tasks_dir)


def find_task(settings: Settings, name: str) -> Task:
    """The task, or UnknownTask with the names that there are."""
    tasks = all_tasks(settings)
    if name not in tasks:
        raise UnknownTask(f"There is no task {name!r}. There are {', '.join(sorted(tasks))}.")
    return tasks[name]


def open_registry(settings: Settings) -> Registry:
    from ai_api.registry.registry import Registry

    password = settings.secret("mlflow_password")
    return Registry(
        settings.mlflow_url, "volant", password, settings.versions_dir, settings.mlflow_timeout_seconds, settings.device
    )


def source(settings: Settings) -> Source:
    from ai_api.sources import Source

    return Source(settings.raw_dir, settings.data_mirror)


def training_context(settings: Settings) -> TrainingContext:
    """Those of a training that belongs to a running Volant."""
    from ai_api.blobs import Blobs
    from ai_api.data_client import DataClient
    from ai_api.outbox.outbox import append_once
    from ai_api.training.request import TrainingContext

    def announce(body: Mapping[str, object]) -> None:
        settings.outbox_dir.mkdir(parents=True, exist_ok=True)
        append_once(settings.outbox_dir, "promotion", body)

    return TrainingContext(
        source=source(settings),
        registry=open_registry(settings),
        corrections=DataClient(settings.data_api_url, settings.secret("service_key")).corrections,
        lock=lambda task: promotion_lock(settings, task),
        announce=announce,
        blobs=Blobs(settings.blobs),
    )


def alone(settings: Settings) -> TrainingContext:
    """Those of a training that needs nothing but MLflow: no corrections, and its version is only logged."""
    from ai_api.training.request import TrainingContext

    return TrainingContext(
        source=source(settings),
        registry=open_registry(settings),
        corrections=lambda _: (),
        lock=lambda _: nullcontext(),
        announce=lambda _: None,
        promotes=False,
    )


def promotion_lock(settings: Settings, task: str) -> AbstractContextManager[None]:
    from ai_api.jobs.queue import promotion_lock

    return promotion_lock(settings.queue_conninfo, task)
