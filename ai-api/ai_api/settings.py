"""Every setting of ai-api with a sentence. Only main.py, __main__.py and the commands read them and pass values on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import ConfigurationError

PLACEHOLDERS = {"", "changeme", "change-me", "password", "secret", "admin", "example"}
ORIGIN = r"https?://[a-z0-9.\-\[\]:]*[a-z0-9\]]"
ALL_INTERFACES = {"0.0.0.0", "::"}  # noqa: S104


class Settings(BaseSettings):
    """Environment variables with the prefix `AI_`, or the same names in `.env`. Secrets are files, never variables."""

    model_config = SettingsConfigDict(
        env_prefix="AI_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        env_ignore_empty=True,
    )

    host: str = "127.0.0.1"
    """Address that ai-api listens on. 0.0.0.0 inside a container; the published port is bound by VOLANT_BIND."""
    port: PositiveInt = 8000
    """Port of the HTTP interface."""
    allowed_hosts: str = ""
    """More host names than VOLANT_NAMES, comma-separated, under which ai-api is called. Others get 421. `*`: all."""
    cors_origins: str = Field(default="", pattern=rf"^({ORIGIN}(, *{ORIGIN})*)?$")
    """Origins, comma-separated, such as `https://shop.example.org`, whose pages may call ai-api. Empty: none."""
    metrics_host: str = "127.0.0.1"
    """Address of the metrics ports. Never publish it: the metrics need no authentication."""
    metrics_port: PositiveInt = 9101
    """Port on which `ai-api serve` exposes its metrics to Prometheus."""
    work_metrics_port: PositiveInt = 9103
    """Port on which `ai-api work` (the trainer) exposes its metrics to Prometheus."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe log line that is written. No level writes inputs or secrets."""

    secrets_dir: Path = Path("secrets")
    """Folder with one file per secret. `scripts/secrets.sh` makes it."""
    state_dir: Path = Path("data/state")
    """Folder that must survive a restart: the outbox, the cache of versions, the snapshot of callers."""
    version_keys_dir: Path = Path("data/version_keys")
    """Folder with the public keys that verify the signatures of versions, for ai-api and trainers."""
    raw_dir: Path = Path("data/raw")
    """Folder into which data sets are downloaded, once."""
    data_mirror: Path | None = None
    """Folder with the data sets, laid out as in docs/data.md. Used before any download."""
    weights_dir: Path = Path("data/weights")
    """Folder for public weights that no package carries: GloVe vectors, Universal Sentence Encoder, image backbones."""

    tasks: str = ""
    """Tasks that are served and trained, comma-separated, in the order of their first trainings. Empty: all."""
    tasks_dir: Path | None = None
    """Folder with tasks of your own, a Python file each, in addition to those of the package."""

    blobs_url: str = ""
    """Where images of requests are stored, for ai-api and trainers: a folder, or `s3://bucket/folder`
    (with s3fs installed). Empty: the folder `blobs` of AI_STATE_DIR."""

    data_api_url: str = "http://127.0.0.1:8001"
    """Address of data-api."""
    mlflow_url: str = "http://127.0.0.1:5000"
    """Address of MLflow (tracking and registry)."""
    mlflow_timeout_seconds: PositiveFloat = 10
    """Longest wait for one response of MLflow."""
    queue_host: str = "127.0.0.1"
    """Host of the Postgres that holds the `queue` database."""
    queue_port: PositiveInt = 5433
    """Port of the Postgres that holds the `queue` database."""

    watch_seconds: PositiveFloat = 2
    """How often the champions are read from the registry. Less: a promotion takes effect sooner."""
    keep_versions: PositiveInt = 2
    """Versions per task, besides the champion, that stay loaded after requests for them by number."""
    batch_token_budget: PositiveInt = 4_096
    """Most padded tokens (for numbers: rows) in one call of a model. More: higher throughput, longer waits."""
    batch_rows: PositiveInt = 256
    """Most rows in one call of a model, whatever their number of tokens."""
    queue_capacity: PositiveInt = 4_096
    """Most rows that wait for one version, half of them of one caller. Further rows are refused at once with 429."""
    max_rows: PositiveInt = 1_000
    """Most rows in one /predict."""
    predict_seconds: PositiveFloat = 60
    """Longest that the rows of one call wait and are computed. Later the call is answered with 503, and its rows that
    still wait are dropped."""
    caller_cost: PositiveInt = 6_000_000
    """Most tokens (for numbers: rows; for images: also 10,000 pixels) that one caller may have predicted in a minute;
    trainers and admins ten times as many. Beyond: 429 with Retry-After."""
    caller_feedback: PositiveInt = 10_000
    """Most feedback of one caller in an hour; feedback about a prediction that cannot be found counts ten times.
    Trainers and admins: ten times as much."""
    caller_image_bytes: PositiveInt = 10_737_418_240
    """Most bytes of images that one caller may have stored in a day; trainers and admins ten times as many."""
    max_body_bytes: PositiveInt = 16_777_216
    """Largest request body, in bytes. A larger one is refused with 413. An image of 8 MiB is 11 MiB as base64."""
    body_seconds: PositiveFloat = 30
    """Longest that one request body may take to arrive before it is refused with 408. More: for slow connections."""
    bodies_bytes: PositiveInt = 67_108_864
    """Most bytes of the bodies above 64 KiB of all requests in progress, of one caller half; else 429. More: memory."""

    outbox_max_rows: PositiveInt = 1_000_000
    """Most predictions that wait for data-api. At that limit /predict refuses with 503, so that none is lost."""
    outbox_synchronous: Literal["NORMAL", "FULL"] = "NORMAL"
    """NORMAL: predictions survive a crash of the process. FULL: also a power cut, for one fsync a commit."""
    ship_rows: int = Field(default=1_000, ge=1, le=1_000)
    """Most predictions sent to data-api in one call."""

    auth_refresh_seconds: PositiveFloat = 10
    """How often the whole snapshot of keys, roles and revocations is fetched; every second if something has changed."""
    auth_stale_seconds: PositiveInt = 3_600
    """How long the last snapshot of callers is used while data-api is unavailable."""

    train_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the base training rows that each training uses, picked by row hash. Less: faster and less accurate."""
    job_timeout_seconds: PositiveInt = 7_200
    """Longest a training may run before its process is stopped and the job fails."""
    heartbeat_seconds: PositiveFloat = 5
    """Seconds between the heartbeats of a trainer."""
    stalled_seconds: PositiveFloat = 15
    """A job whose trainer sends no heartbeat for this long is run by another trainer, at most 3 times in all."""
    bootstrap_rounds: PositiveInt = 1_000
    """Bootstrap resamples for each interval of the promotion gate."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where neural models run. auto: a GPU where there is one."""
    threads: PositiveInt = 1
    """Threads of one model call on the CPU while serving. More than one is faster only with idle cores."""
    drain_seconds: NonNegativeFloat = 10
    """How long ai-api, when it is stopped, waits for requests in progress."""

    @property
    def hosts(self) -> list[str]:
        """`allowed_hosts`, and the address that is listened on."""
        return [host for host in (self.host, *listed(self.allowed_hosts)) if host not in ALL_INTERFACES]

    @property
    def origins(self) -> list[str]:
        return listed(self.cors_origins)

    @property
    def task_names(self) -> list[str]:
        return listed(self.tasks)

    @property
    def blobs(self) -> str:
        """The blob store as a URL or path for fsspec."""
        return self.blobs_url or str(self.state_dir / "blobs")

    @property
    def outbox_dir(self) -> Path:
        return self.state_dir / "outbox"

    @property
    def versions_dir(self) -> Path:
        return self.state_dir / "versions"

    def secret(self, name: str) -> str:
        """The secret `name`, from its file; ConfigurationError when the file is missing, empty or a placeholder."""
        path = self.secrets_dir / name
        try:
            value = path.read_text().strip()
        except OSError:
            raise ConfigurationError(
                f"The secret file {path} is missing or cannot be read. `make dev` and `make up` create it."
            ) from None
        if value.lower() in PLACEHOLDERS:
            raise ConfigurationError(
                f"The secret file {path} holds a placeholder. Delete it: the next start creates a real one."
            )
        return value

    @property
    def queue_conninfo(self) -> str:
        """Libpq connection string of the `queue` database."""
        password = self.secret("postgres_queue_password")
        server = f"host={self.queue_host} port={self.queue_port} connect_timeout=5"
        return f"{server} dbname=queue user=volant_queue password={password}"


def listed(text: str) -> list[str]:
    """The entries of a comma-separated setting."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]
