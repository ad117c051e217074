"""Objects that several commands use, built from the settings: tasks, registry, data source, training context."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ai_api.errors import UnknownTask
from ai_api.settings import Settings

if TYPE_CHECKING:
    from ai_api.registry.promotion import Promotions
    from ai_api.registry.registry import Registry
    from ai_api.registry.signatures import SigningKey
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


def open_registry(settings: Settings, *, signs: bool = False) -> Registry:
    """The registry; with `signs` it has the trainers' key, so that it can log and sign versions."""
    from ai_api.registry.registry import Registry
    from ai_api.registry.signatures import PublicKeys

    return Registry(
        settings.mlflow_url,
        "volant",
        settings.secret("mlflow_password"),
        settings.versions_dir,
        keys=PublicKeys(settings.version_keys_dir),
        signer=trainers_key(settings) if signs else None,
        timeout_seconds=settings.mlflow_timeout_seconds,
        device=settings.device,
    )


def trainers_key(settings: Settings) -> SigningKey:
    """The key by which trainers sign versions. ConfigurationError where it is not at hand."""
    from ai_api.registry.signatures import SigningKey

    return SigningKey(settings.secret("version_signing_key"))


def admins_key(settings: Settings) -> SigningKey:
    """The key by which ai-api signs a version that an admin promotes."""
    from ai_api.registry.signatures import SigningKey

    return SigningKey(settings.secret("approval_signing_key"))


def source(settings: Settings) -> Source:
    from ai_api.sources import Source

    return Source(settings.raw_dir, settings.data_mirror)


def training_context(settings: Settings) -> TrainingContext:
    """For a training that is part of a running Volant: with corrections, and its version may be promoted."""
    from ai_api.data_client import DataClient
    from ai_api.images.blobs import Blobs
    from ai_api.training.request import TrainingContext

    promotions = open_promotions(settings, signs=True)
    return TrainingContext(
        source=source(settings),
        registry=promotions.registry,
        corrections=DataClient(settings.data_api_url, settings.secret("service_key")).corrections,
        promotions=promotions,
        blobs=Blobs(settings.blobs),
    )


def standalone_context(settings: Settings) -> TrainingContext:
    """For a training that needs nothing but MLflow: no corrections, and its version is only logged."""
    from ai_api.training.request import TrainingContext

    return TrainingContext(
        source=source(settings), registry=open_registry(settings, signs=True), corrections=lambda _: ()
    )


def open_promotions(settings: Settings, *, signs: bool = False) -> Promotions:
    """Promotions under the lock in the queue database, announced through an outbox file that ai-api takes over.

    `signs`: see open_registry.
    """
    from ai_api.jobs.lock import promotion_lock
    from ai_api.outbox.outbox import append_once
    from ai_api.registry.promotion import Promotions

    def announce(event: Mapping[str, object]) -> None:
        settings.outbox_dir.mkdir(parents=True, exist_ok=True)
        append_once(settings.outbox_dir, "promotion", event)

    return Promotions(open_registry(settings, signs=signs), partial(promotion_lock, settings.queue_conninfo), announce)
