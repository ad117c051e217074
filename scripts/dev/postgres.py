"""An embedded Postgres for `make dev` and the tests: no Docker, no installed server; loopback TCP, passwords only."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import psutil

from .account import Account, PostgresError, account
from .programs import binary

SUPERUSER = "postgres"
HERE = Path("/proc/self/cwd")
"""The working folder of the process that reads this path (Linux)."""
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PATH": os.defpath, "TZ": "UTC"}
MEMORY_SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "max_connections": "200"}
"""As in docker-compose.yml, for many predictions per second: indexes stay in memory, checkpoints are rare. The
connections are shared out by the setup of data-api."""
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Settings for a temporary cluster: fast, but its data is lost when the machine loses power."""


class Postgres:
    """One cluster in `data`, which belongs to the account that the server runs under (see account.py)."""

    def __init__(self, data: Path, port: int, password_file: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = data.absolute()
        self.port = port
        self.password_file = password_file
        self.settings = dict(settings or {})
        self.process: subprocess.Popen[bytes] | None = None

    @cached_property
    def account(self) -> Account:
        """The OS account that the server runs under."""
        return account()

    @property
    def command(self) -> list[str]:
        """Runs the server in the foreground; SIGINT stops it (clients are cut), SIGTERM waits for them."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "log_line_prefix": "",
            "log_checkpoints": "off",
            **MEMORY_SETTINGS,
            **self.settings,
        }
        pairs = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        program = str(binary("postgres", self.account))
        return [*self.account.prefix, program, "-D", self._data_argument, *pairs]

    @property
    def _data_argument(self) -> str:
        """The data folder as programs that start in it find it, also where their account may not enter its parents."""
        return str(HERE) if HERE.exists() else str(self.data)

    def prepare(self) -> None:
        """Makes the cluster if there is none and removes what a killed server left behind."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own()
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._remove_stale_pid()

    def start(self, timeout_seconds: float = 60) -> None:
        """Runs the server as a child of this process; its log is `server.log` beside the data."""
        self.prepare()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.data, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=ENVIRONMENT,
                start_new_session=True, **self.account.options,
            )  # fmt: skip
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise PostgresError(f"Postgres did not start. The end of its log: {log_tail(self.log)}")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Whether the server takes connections."""
        probe = [str(binary("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "1"]
        return subprocess.run(probe, check=False, env=ENVIRONMENT).returncode == 0

    def stop(self, timeout_seconds: float = 20) -> None:
        """Stops the child; a server that does not stop in time is killed."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends the server by SIGKILL, as in a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def log(self) -> Path:
        return self.data.parent / "server.log"

    def _own(self) -> None:
        """Gives the data folder to the account. Another one may have had it before."""
        paths = [self.data]
        if self.data.stat().st_uid == self.account.uid:
            return
        paths += self.data.rglob("*")
        try:
            for path in paths:
                os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)
        except PermissionError as error:
            raise PostgresError(f"{self.data} belongs to another user: {error.strerror}.") from error

    def _initialise(self) -> None:
        with tempfile.NamedTemporaryFile("w", prefix="volant-") as password:
            password.write(self.password_file.read_text().strip())
            password.flush()
            os.chown(password.name, self.account.uid, self.account.gid)
            done = subprocess.run(
                [
                    *self.account.prefix, str(binary("initdb", self.account)), "-D", self._data_argument,
                    "-U", SUPERUSER, "--pwfile", password.name, "--auth=scram-sha-256", "--encoding=UTF8",
                    "--locale=C.UTF-8", "--no-instructions", "--no-sync",
                ],
                cwd=self.data, env=ENVIRONMENT, capture_output=True, text=True, check=False, **self.account.options,
            )  # fmt: skip
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise PostgresError(f"initdb failed: {done.stderr.strip().splitlines()[-1:]}")

    def _remove_stale_pid(self) -> None:
        """After SIGKILL the pid file names a process that has ended, or an unrelated one with the same id."""
        path = self.data / "postmaster.pid"
        try:
            process = psutil.Process(int(path.read_text().split("\n", 1)[0]))
            if process.name() == "postgres" and Path(process.cwd()) == self.data.resolve():
                raise PostgresError(f"A Postgres runs in {self.data} already (process {process.pid}).")
        except FileNotFoundError:
            return
        except (psutil.NoSuchProcess, ValueError):
            pass
        path.unlink(missing_ok=True)


def log_tail(log: Path, lines: int = 5) -> str:
    """The end of a log, on one line."""
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])


def main() -> int:
    """Runs a cluster in the foreground until Ctrl-C, to inspect it by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the cluster, made when it is missing")
    parser.add_argument("--port", type=int, default=5433)
    parser.add_argument("--password-file", type=Path, default=Path("secrets/postgres_password"))
    arguments = parser.parse_args()
    server = Postgres(arguments.data, arguments.port, arguments.password_file)
    try:
        server.start()
    except PostgresError as error:
        print(error, file=sys.stderr)
        return 1
    assert server.process is not None
    print(f"Postgres listens on 127.0.0.1:{server.port}; Ctrl-C stops it.")
    try:
        return server.process.wait()
    except KeyboardInterrupt:
        server.stop()
        return 0


if __name__ == "__main__":
    sys.exit(main())
