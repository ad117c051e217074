"""Runs MLflow for Volant with basic auth, proxied artifacts and one account that may write, the user `volant`.

Runs are recorded in SQLite by `make dev`, in Postgres by Compose. Passwords are read from files and passed to MLflow in
files that only it can read; the key that signs its forms is passed in its environment, as MLflow takes it no other
way. No secret is on a command line.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from configparser import ConfigParser
from io import StringIO
from pathlib import Path

ADMIN = "admin"
WRITER = "volant"
POSTGRES_ROLE = "volant_mlflow"
AUTHORIZATION = "mlflow_authorization"
"""The module that MLflow imports, copied into a folder of its own: beside this file are modules with common names."""
START_SECONDS = 600


def reachable_host(host: str) -> str:
    """The address at which this machine reaches a server that listens on `host`."""
    return "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104


def main() -> int:
    """Runs until MLflow ends; returns its status."""
    arguments = parse()
    url = f"http://{reachable_host(arguments.host)}:{arguments.port}"
    if arguments.check:
        return 0 if is_ready(url, secret(arguments.secrets, "mlflow_password")) else 1
    with tempfile.TemporaryDirectory(prefix="volant-mlflow-") as folder:
        ended = threading.Event()
        servers: list[subprocess.Popen[bytes]] = []

        def end(*_: object) -> None:
            ended.set()
            for server in servers:
                server.terminate()

        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, end)
        server = subprocess.Popen(command(arguments), env=environment(arguments, Path(folder)))
        servers.append(server)
        if ended.is_set():  # a signal came before the server was known
            server.terminate()
        failures: list[str] = []
        threading.Thread(target=ensure_writer, args=(url, arguments.secrets, server, failures), daemon=True).start()
        status = server.wait()
    if failures:
        print(failures[0], file=sys.stderr)
        return 1
    return 0 if status in (0, -signal.SIGTERM) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--secrets", type=Path, default=Path("secrets"), help="folder with the secret files")
    parser.add_argument("--artifacts", type=Path, default=Path("mlruns"), help="folder for models and plots")
    parser.add_argument(
        "--names", default="", help="host names that callers may use besides localhost, comma-separated"
    )
    parser.add_argument("--published-port", type=int, help="the port that callers use, where it is another one")
    parser.add_argument(
        "--check", action="store_true", help="only ask whether a running server is ready (health checks)"
    )
    store = parser.add_mutually_exclusive_group()
    store.add_argument("--sqlite", type=Path, default=Path("data"), help="folder for the SQLite files")
    store.add_argument("--postgres", metavar="HOST:PORT", help="keep records in the database `mlflow` there instead")
    return parser.parse_args()


def database_uris(arguments: argparse.Namespace) -> tuple[str, str]:
    """The database URIs of MLflow's runs and of its users."""
    if arguments.postgres:
        uri = f"postgresql+psycopg2://{POSTGRES_ROLE}@{arguments.postgres}/mlflow"
        return uri, uri
    folder = arguments.sqlite.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder}/mlflow.db", f"sqlite:///{folder}/mlflow-auth.db"


def auth_config(database_uri: str, admin_password: str) -> str:
    """MLflow's auth settings. Every user may read; only the user that created something may change it, and only
    `volant` and the administrator create anything (mlflow_authorization.py).
    """
    config = ConfigParser(interpolation=None)
    config["mlflow"] = {
        "default_permission": "READ",
        "database_uri": database_uri,
        "admin_username": ADMIN,
        "admin_password": admin_password,
        "auth_cache_ttl_seconds": "60",
        "authorization_function": f"{AUTHORIZATION}:authorize",
    }
    text = StringIO()
    config.write(text)
    return text.getvalue()


def pass_file(password: str) -> str:
    """The password of MLflow's Postgres role in libpq's format, with special characters escaped."""
    escaped = password.replace("\\", r"\\").replace(":", r"\:")
    return f"*:*:*:{POSTGRES_ROLE}:{escaped}\n"


def allowed_hosts(arguments: argparse.Namespace) -> str:
    """Every Host header that MLflow accepts."""
    names = ["127.0.0.1", "localhost", *(name for name in arguments.names.split(",") if name)]
    ports = [f":{arguments.port}", f":{arguments.published_port or arguments.port}", ""]
    return ",".join(dict.fromkeys(f"{name}{port}" for name in names for port in ports))


def environment(arguments: argparse.Namespace, folder: Path) -> dict[str, str]:
    """MLflow's environment; the passwords are in files in `folder`."""
    records_uri, users_uri = database_uris(arguments)
    config = write_private(
        folder / "auth.ini", auth_config(users_uri, secret(arguments.secrets, "mlflow_admin_password"))
    )
    modules = folder / "modules"
    modules.mkdir()
    shutil.copy(Path(__file__).with_name(f"{AUTHORIZATION}.py"), modules)
    passwords = {}
    if arguments.postgres:
        password = secret(arguments.secrets, "postgres_mlflow_password")
        passwords["PGPASSFILE"] = str(write_private(folder / "pgpass", pass_file(password)))
    return {
        **os.environ,
        **passwords,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(modules), os.environ.get("PYTHONPATH")))),
        "MLFLOW_BACKEND_STORE_URI": records_uri,
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secret(arguments.secrets, "mlflow_flask_key"),
        "MLFLOW_SERVER_ALLOWED_HOSTS": allowed_hosts(arguments),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore",
    }


def write_private(path: Path, text: str) -> Path:
    """Writes a new file that only this user can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path


def command(arguments: argparse.Namespace) -> list[str]:
    return [
        sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1",
        "--uvicorn-opts", "--no-access-log --log-level warning",
        "--host", arguments.host, "--port", str(arguments.port),
        "--serve-artifacts", "--artifacts-destination", str(arguments.artifacts.absolute()),
    ]  # fmt: skip


def ensure_writer(url: str, secrets: Path, server: subprocess.Popen[bytes], failures: list[str]) -> None:
    """Waits for the server, then creates the user of ai-api and the trainers, or sets its password."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and not is_healthy(url):
        if time.monotonic() > deadline:
            failures.append(f"MLflow did not respond within {START_SECONDS} s.")
            server.terminate()
            return
        time.sleep(0.1)
    password = secret(secrets, "mlflow_password")
    if server.poll() is not None or is_ready(url, password):
        return
    admin = (ADMIN, secret(secrets, "mlflow_admin_password"))
    status = call(url, "POST", "users/create", admin, username=WRITER, password=password)
    if status == 400:  # the user exists, with an older password
        status = call(url, "PATCH", "users/update-password", admin, username=WRITER, password=password)
    if status != 200:
        failures.append(
            f"MLflow's user `{ADMIN}` was refused ({status}): its database was made with another mlflow_admin_password."
        )
        server.terminate()


def is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def is_ready(url: str, password: str) -> bool:
    """Whether MLflow responds there and accepts the writer's password."""
    return call(url, "GET", f"users/get?username={WRITER}", (WRITER, password)) == 200


def call(url: str, method: str, path: str, user: tuple[str, str], **body: str) -> int:
    """The HTTP status of one call of MLflow's user API; 0 when no server responds."""
    credentials = base64.b64encode(":".join(user).encode()).decode()
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/{path}",
        data=json.dumps(body).encode() if body else None,
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def secret(folder: Path, name: str) -> str:
    """The secret `name`; ends the program with one line when its file is missing."""
    try:
        return (folder / name).read_text().strip()
    except OSError:
        sys.exit(f"The secret file {folder / name} is missing or cannot be read. `make dev` and `make up` make it.")


if __name__ == "__main__":
    sys.exit(main())
