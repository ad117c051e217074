"""The MLflow server: its client, opened when it is first used, and its errors translated into ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from ai_api.errors import RegistryUnavailable, UnknownVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel


class MissingResource(UnknownVersion):
    """MLflow has no run, model or version of this name."""


class MlflowConnection:
    """One MLflow server. MLflow takes credentials and time limits from environment variables only, so a process can
    use one server at a time.
    """

    def __init__(self, url: str, username: str, password: str, timeout_seconds: float) -> None:
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
        self._opening = threading.Lock()

    @cached_property
    def _opened(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._url, registry_uri=self._url)

    @contextmanager
    def client(self) -> Iterator[MlflowClient]:
        """The client. Inside the block MLflow's errors become MissingResource or RegistryUnavailable."""
        with translated_errors():
            with self._opening:
                opened = self._opened
            yield opened

    def registered_model(self, task: str) -> RegisteredModel | None:
        """The registered model of a task with its aliases; None for a task that was never trained."""
        try:
            with self.client() as client:
                return client.get_registered_model(task)
        except MissingResource:
            return None


@contextmanager
def translated_errors() -> Iterator[None]:
    """MissingResource when MLflow responds that there is no such thing; RegistryUnavailable for every other failure."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
            raise MissingResource from error
        raise RegistryUnavailable(f"The model registry did not do what it was asked ({error.error_code}).") from error
    except (RequestException, OSError) as error:
        raise RegistryUnavailable from error
