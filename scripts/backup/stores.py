"""Where the state of a Volant lies, for `make dev` and for `make up`: read by a backup, written by a restore."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Protocol

from scripts import settings
from scripts.dev.account import PostgresError
from scripts.dev.postgres import SUPERUSER, Postgres
from scripts.dev.programs import binary
from scripts.dev.stack import Stack
from scripts.private import NotPrivate, keep_private

from .pack import copy_database

PACK = settings.REPOSITORY / "scripts/backup/pack.py"
DUMP = ("pg_dump", "--format=custom", "--compress=1")
RESTORE = ("pg_restore", "--clean", "--if-exists", "--create", "--exit-on-error", "--dbname=postgres")
SQLITE = ("mlflow.db", "mlflow-auth.db")
WRITERS = {"version_keys.tar": "queue-setup"}
"""The container that may write to a folder which the one that reads it for a backup may not change."""


class StoreError(Exception):
    """Something could not be read or written; the message says what to do."""


class Stores(Protocol):
    """The state of one Volant. A part is a file of a set, such as outbox.tar or volant.dump."""

    way: str
    secrets: Path
    parts: Sequence[str]
    """The files of a set, in the order in which they are made."""

    def save(self, part: str, file: Path) -> None:
        """Writes one file of a set, while Volant runs."""

    def restoring(self) -> AbstractContextManager[None]:
        """A context for a restore into an empty Volant; at its end, people who were erased are erased again."""

    def load(self, part: str, file: Path) -> None:
        """Restores one file of a set."""


class ProcessStores:
    """State of `make dev`, in folders."""

    way = "dev"

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.secrets = stack.secrets
        state = Path(stack.settings["AI_STATE_DIR"])
        blobs = blob_folder(stack.settings, state)
        keys = Path(stack.settings["AI_VERSION_KEYS_DIR"])
        self.folders = {
            "outbox.tar": state / "outbox", "version_keys.tar": keys, "artifacts.tar": stack.root / "mlruns"
        }  # fmt: skip
        if blobs:
            self.folders["blobs.tar"] = blobs
        self.parts: Sequence[str] = ["outbox.tar", "volant.dump", "queue.dump", *SQLITE, *list(self.folders)[1:]]

    def save(self, part: str, file: Path) -> None:
        """Writes one file of a set."""
        if part in SQLITE:
            copy_database(self.stack.root / "data" / part, file)
        elif part.endswith(".dump"):
            with file.open("wb") as target:
                self._postgres(*DUMP, f"--dbname={part.removesuffix('.dump')}", target=target)
        else:
            verb = "outbox" if part == "outbox.tar" else "folder"
            with file.open("wb") as target:
                run([sys.executable, str(PACK), verb, str(self.folders[part])], target=target)

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Runs Postgres while the files are restored."""
        data = self.stack.root / "data"
        taken = [data / name for name in ("postgres", *SQLITE)] + [self.folders["outbox.tar"]]
        if full := [path for path in taken if path.exists()]:
            raise StoreError(f"This Volant has data already ({full[0]}): `make clean` deletes it.")
        run(["sh", str(settings.REPOSITORY / "scripts/secrets.sh"), str(self.secrets)])
        try:
            keep_private(data, self.stack.root / "mlruns", Path(self.stack.settings["AI_STATE_DIR"]))
        except NotPrivate as error:
            raise StoreError(str(error)) from error
        server = Postgres(data / "postgres", int(self.stack.settings["POSTGRES_PORT"]), self._password_file)
        try:
            server.start()
            self._data_api("setup")  # the roles
            yield
            self._data_api("setup")  # passwords, rights, and what this release has added
            self._data_api("erase-again")
        except PostgresError as error:
            raise StoreError(str(error)) from error
        finally:
            server.stop()

    def load(self, part: str, file: Path) -> None:
        """Restores one file of a set."""
        if part in SQLITE:
            (self.stack.root / "data" / part).write_bytes(file.read_bytes())
        elif part.endswith(".dump"):
            with file.open("rb") as source:
                self._postgres(*RESTORE, source=source)
        else:
            with file.open("rb") as source:
                run([sys.executable, str(PACK), "unpack", str(self.folders[part])], source=source)

    @property
    def _password_file(self) -> Path:
        return self.secrets / "postgres_password"

    def _postgres(
        self, program: str, *arguments: str, source: IO[bytes] | None = None, target: IO[bytes] | None = None
    ) -> None:
        server = {
            "PGHOST": "127.0.0.1",
            "PGPORT": self.stack.settings["POSTGRES_PORT"],
            "PGUSER": SUPERUSER,
            "PGPASSWORD": self._password_file.read_text().strip(),
        }
        run([str(binary(program)), *arguments], source, target, {**os.environ, **server})

    def _data_api(self, command: str) -> None:
        run([sys.executable, "-m", "data_api", command], environment=self.stack.settings)


class ContainerStores:
    """State of `make up`, in volumes."""

    way = "up"

    def __init__(self, compose: Sequence[str], environment: Mapping[str, str]) -> None:
        self._compose = list(compose)
        self.secrets = Path(environment["AI_SECRETS_DIR"])
        self.places = {
            "outbox.tar": ("ai-api", "/state/outbox"),
            "version_keys.tar": ("ai-api", "/version-keys"),
            "artifacts.tar": ("mlflow", "/artifacts"),
        }
        if blobs := blob_folder(environment, Path("/state")):
            self.places["blobs.tar"] = ("ai-api", str(blobs))
        dumps = ["volant.dump", "queue.dump", "mlflow.dump"]
        self.parts: Sequence[str] = ["outbox.tar", *dumps, *list(self.places)[1:]]

    def save(self, part: str, file: Path) -> None:
        """Writes one file of a set."""
        with file.open("wb") as target:
            if part.endswith(".dump"):
                program, *arguments = DUMP
                self._exec("postgres", program, "-U", SUPERUSER, *arguments, part.removesuffix(".dump"), target=target)
            else:
                service, folder = self.places[part]
                verb = "outbox" if part == "outbox.tar" else "folder"
                self._exec(service, "python3", "-c", PACK.read_text(), verb, folder, target=target)

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Runs Postgres, and no other container, while the files are restored."""
        run(["sh", str(settings.REPOSITORY / "scripts/secrets.sh"), str(self.secrets)])
        run([*self._compose, "build", "--quiet", "data-setup", "queue-setup"])  # not those of an earlier release
        run([*self._compose, "up", "--detach", "--wait", "postgres"])
        query = "SELECT count(*) FROM pg_database WHERE datname = 'volant'"
        if self._read("exec", "-T", "postgres", "psql", "-U", SUPERUSER, "-Atc", query).strip() != "0":
            raise StoreError("This Volant has data already: `make clean` deletes it.")
        self._run("data-setup", "setup")  # the roles
        # A volume belongs to the user of the container that mounts it first, if that one may write.
        run([*self._compose, "run", "--rm", "--no-deps", "-T", "--entrypoint", "true", "queue-setup"])
        yield
        self._run("data-setup", "setup")  # passwords, rights, and what this release has added
        self._run("data-setup", "erase-again")

    def load(self, part: str, file: Path) -> None:
        """Restores one file of a set."""
        with file.open("rb") as source:
            if part.endswith(".dump"):
                program, *arguments = RESTORE
                self._exec("postgres", program, "-U", SUPERUSER, *arguments, source=source)
            else:
                service, folder = self.places[part]
                service = WRITERS.get(part, service)
                python = ["--entrypoint", "python3", service, "-c", PACK.read_text(), "unpack", folder]
                run([*self._compose, "run", "--rm", "--no-deps", "-T", *python], source)

    def _exec(
        self, service: str, *command: str, source: IO[bytes] | None = None, target: IO[bytes] | None = None
    ) -> None:
        run([*self._compose, "exec", "-T", service, *command], source, target)

    def _run(self, service: str, *command: str) -> None:
        run([*self._compose, "run", "--rm", "-T", service, *command])

    def _read(self, *arguments: str) -> str:
        return subprocess.run([*self._compose, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def blob_folder(environment: Mapping[str, str], state: Path) -> Path | None:
    """The folder with the images; None when they are in an object store, which has backups of its own."""
    url = environment.get("AI_BLOBS_URL") or str(state / "blobs")
    return None if "://" in url else Path(url)


def run(
    command: Sequence[str],
    source: IO[bytes] | None = None,
    target: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs a program to its end; StoreError with the end of its error output when it fails."""
    done = subprocess.run(
        list(command), stdin=source or subprocess.DEVNULL, stdout=target or subprocess.DEVNULL,
        stderr=subprocess.PIPE, env=dict(environment) if environment else None, check=False,
    )  # fmt: skip
    if done.returncode:
        output = " | ".join(done.stderr.decode(errors="replace").strip().splitlines()[-3:])
        raise StoreError(f"{Path(command[0]).name} failed: {output or f'status {done.returncode}'}")
