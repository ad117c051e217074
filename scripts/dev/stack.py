"""Volant as processes: which services there are, in which order they start and stop. Used by `make dev` and tests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from scripts import mlflow_server, settings
from scripts.private import NotPrivate, keep_private

from .account import PostgresError
from .ports import is_taken
from .postgres import ENVIRONMENT as POSTGRES_ENVIRONMENT
from .postgres import Postgres
from .service import PrintLine, Service, ServiceSpec, describe, kill_group

READY_POLL_SECONDS = 0.5
"""Pause between two health checks while a model trains: each check takes a connection to Postgres and CPU time."""


class StackError(Exception):
    """The stack cannot start; the message says what to change."""


class StopRequested(StackError):
    """A stop was requested while the stack started."""


class StartTimeout(StackError):
    """A service or a first model was not ready in time."""


class Stack:
    """All services of one Volant. Its state lies under `root`: secrets/, data/, mlruns/; ports come from the settings.

    `stop_requested` may be set at any time, also by a signal handler: a start in progress then ends with StopRequested.
    """

    def __init__(
        self,
        root: Path,
        overrides: Mapping[str, str] | None = None,
        print_line: PrintLine | None = None,
    ) -> None:
        self.root = root
        self.settings = settings.read(root, overrides)
        self.secrets = Path(self.settings["AI_SECRETS_DIR"])
        self.logs = root / "data" / "logs"
        self._print: PrintLine = print_line or (lambda *_: None)
        self.stop_requested = False
        self._record = root / "data" / "processes.json"
        self.services: dict[str, Service] = {}

    @property
    def url(self) -> str:
        """The base URL of ai-api."""
        return f"http://{mlflow_server.reachable_host(self.settings['VOLANT_BIND'])}:{self.settings['AI_PORT']}"

    @property
    def data_url(self) -> str:
        """The base URL of data-api."""
        return self.settings["AI_DATA_API_URL"]

    @property
    def mlflow_url(self) -> str:
        """The base URL of MLflow."""
        return self.settings["AI_MLFLOW_URL"]

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text().strip()

    def service(self, name: str) -> Service:
        """One of postgres, mlflow, data-api, data-maintain, trainer, ai-api; or a one-shot: data-setup, queue-setup."""
        return self.services[name]

    def log(self, name: str) -> str:
        """Everything that a service has printed since the first start."""
        return (self.logs / f"{name}.log").read_text()

    def start(self, timeout_seconds: float = 600) -> None:
        """Starts every service and returns when all respond. A failure stops what was started."""
        try:
            keep_private(self.root / "data", self.root / "mlruns", Path(self.settings["AI_STATE_DIR"]))
        except NotPrivate as error:
            raise StackError(str(error)) from error
        self.logs.mkdir(parents=True, exist_ok=True)
        subprocess.run(["sh", str(settings.REPOSITORY / "scripts/secrets.sh"), str(self.secrets)], check=True)
        self._end_orphans()
        self._check_ports()
        try:
            specs = self.specs()
        except PostgresError as error:
            raise StackError(f"postgres: {error}") from error
        self.services = {
            spec.name: Service(spec, self.root, self.logs / f"{spec.name}.log", self._print) for spec in specs
        }
        try:
            self._start_in_order(time.monotonic() + timeout_seconds)
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, timeout_seconds: float = 600) -> None:
        """Returns when ai-api is ready: on a first start with one task, later with all that served before."""
        deadline = time.monotonic() + timeout_seconds
        while not self.health().get("ready"):
            self._pause(deadline, "a first task to serve", READY_POLL_SECONDS)

    def wait_serving(self, timeout_seconds: float = 600) -> None:
        """Returns when every task serves."""
        deadline = time.monotonic() + timeout_seconds
        while not (health := self.health()).get("ready") or health["missing"]:
            self._pause(deadline, "every task to serve", READY_POLL_SECONDS)

    def health(self) -> dict[str, Any]:
        """The body of `/health/ready` of ai-api; empty while it does not respond."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5) as response:
                found: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                found = json.load(error)
        except (OSError, ValueError):
            return {}
        return found

    def stop(self) -> None:
        """Ends every process; a service ends after all that depend on it."""
        left = [service for service in self.services.values() if service.process is not None]
        with ThreadPoolExecutor(max(len(left), 1)) as pool:
            while left:
                needed = {name for service in left for name in service.spec.after}
                ending = [service for service in left if service.name not in needed]
                list(pool.map(Service.stop, ending))
                left = [service for service in left if service not in ending]
        self._record.unlink(missing_ok=True)

    def specs(self) -> list[ServiceSpec]:
        """The services. ai-api does not wait for MLflow, which starts slowly: it serves from its cache until then."""
        env = self.settings
        postgres = Postgres(
            self.root / "data" / "postgres", int(env["POSTGRES_PORT"]), self.secrets / "postgres_password"
        )
        mlflow_password = self.secrets / "mlflow_password"
        work_metrics = f"http://127.0.0.1:{env['AI_WORK_METRICS_PORT']}/metrics"
        return [
            ServiceSpec(
                "postgres", postgres.command, postgres.is_ready, prepare=postgres.prepare,
                folder=postgres.data, options=postgres.account.options, environment=POSTGRES_ENVIRONMENT,
                stop_signal=signal.SIGINT,
            ),
            ServiceSpec(
                "mlflow",
                python(
                    "scripts.mlflow_server", "--host", env["VOLANT_BIND"], "--port", env["MLFLOW_PORT"],
                    "--names", settings.names(env), "--secrets", str(self.secrets), "--sqlite", str(self.root / "data"),
                    "--artifacts", str(self.root / "mlruns"),
                ),
                lambda: mlflow_server.is_ready(self.mlflow_url, mlflow_password.read_text().strip()),
                environment=env | {"PYTHONPATH": str(settings.REPOSITORY)},
            ),
            ServiceSpec("data-setup", python("data_api", "setup"), after=("postgres",), once=True, environment=env),
            ServiceSpec("queue-setup", python("ai_api", "migrate"), after=("data-setup",), once=True, environment=env),
            ServiceSpec(
                "data-api", python("data_api", "serve"), lambda: responds(f"{self.data_url}/health/ready"),
                after=("data-setup",), environment=env,
            ),
            ServiceSpec(
                "data-maintain", python("data_api", "maintain", "--every", "3600"), after=("data-setup",),
                environment=env,
            ),
            ServiceSpec(
                "trainer", python("ai_api", "work"), lambda: responds(work_metrics),
                after=("queue-setup", "mlflow", "data-api"), environment=env,
            ),
            ServiceSpec(
                "ai-api", python("ai_api", "serve"), lambda: responds(f"{self.url}/health/live"),
                after=("data-api",), environment=env,
            ),
        ]  # fmt: skip

    def _start_in_order(self, deadline: float) -> None:
        waiting, unready = list(self.services.values()), set(self.services)
        while unready:
            self._pause(deadline, f"{', '.join(sorted(unready))} to be ready")
            for service in [s for s in waiting if not unready.intersection(s.spec.after)]:
                waiting.remove(service)
                try:
                    service.start()
                except (PostgresError, OSError) as error:
                    raise StackError(f"{service.name}: {error}") from error
                self._record_processes()
            for name in list(unready):
                service = self.services[name]
                if service.is_ready():
                    unready.discard(name)
                elif service.is_started and (service.restarts > 2 or (service.spec.once and service.status)):
                    words = " | ".join(list(service.last_lines)[-3:])
                    state = describe(service.status) if service.status is not None else "exited 3 times"
                    raise StackError(f"{name} does not start ({state}): {words or 'it printed nothing'}")

    def _pause(self, deadline: float, purpose: str, seconds: float = 0.05) -> None:
        """Sleeps between two checks of a condition. StopRequested or StartTimeout when waiting must end."""
        time.sleep(seconds)
        if self.stop_requested:
            raise StopRequested
        if time.monotonic() > deadline:
            raise StartTimeout(f"Waited too long for {purpose}. The log of each service is in {self.logs}.")

    def _check_ports(self) -> None:
        for name, user in settings.PORTS.items():
            host = self.settings["VOLANT_BIND"] if name in settings.PUBLISHED else "127.0.0.1"
            port = self.settings[name]
            try:
                taken = is_taken(host, int(port))
            except OSError as error:
                raise StackError(
                    f"{host}:{port} (for {user}) cannot be listened on: {error.strerror}. Set VOLANT_BIND or {name}."
                ) from error
            if taken:
                raise StackError(f"Port {port} (for {user}) is taken. Stop what listens there, or set {name} in .env.")

    def _record_processes(self) -> None:
        """Records the running processes, so that the next start can end them if this process was killed."""
        running = [s.process for s in self.services.values() if s.process is not None and s.process.poll() is None]
        stamps = []
        for process in running:
            with suppress(psutil.NoSuchProcess):
                stamps.append((process.pid, psutil.Process(process.pid).create_time()))
        self._record.write_text(json.dumps(stamps))

    def _end_orphans(self) -> None:
        try:
            stamps = json.loads(self._record.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return
        for pid, created in stamps:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if process.create_time() == created:
                    self._print("dev", f"ending process {pid}, which an earlier start left behind")
                    kill_group(pid)
                    process.wait(10)
        self._record.unlink(missing_ok=True)


def python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def responds(url: str) -> bool:
    """Whether a GET there gets the status 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
