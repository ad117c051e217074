"""Every setting of data-api, with a sentence. Only main.py, __main__.py and commands.py read them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import ConfigurationError

PLACEHOLDERS = {"", "changeme", "change-me", "password", "secret", "admin", "example"}
ORIGIN = r"https?://[a-z0-9.\-\[\]:]*[a-z0-9\]]"
ALL_INTERFACES = {"0.0.0.0", "::"}  # noqa: S104


class Settings(BaseSettings):
    """Environment variables prefixed `DATA_`, or the same names in `.env`. Secrets are files, never variables."""

    model_config = SettingsConfigDict(
        env_prefix="DATA_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        env_ignore_empty=True,
    )

    host: str = "127.0.0.1"
    """Address that data-api listens on. 0.0.0.0 inside a container; the published port is bound by VOLANT_BIND."""
    port: PositiveInt = 8001
    """Port of the HTTP interface."""
    allowed_hosts: str = ""
    """More host names than VOLANT_NAMES, comma-separated, under which data-api is called. Others get 421. `*`: all."""
    cors_origins: str = Field(default="", pattern=rf"^({ORIGIN}(, *{ORIGIN})*)?$")
    """Origins, comma-separated, such as `https://shop.example.org`, whose pages may call data-api. Empty: none."""
    metrics_host: str = "127.0.0.1"
    """Address of the metrics ports. Never publish it: metrics need no sign-in."""
    metrics_port: PositiveInt = 9102
    """Port where `data-api serve` shows its metrics to Prometheus."""
    maintain_metrics_port: PositiveInt = 9104
    """Port where `data-api maintain --every` shows its metrics to Prometheus."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe log line that is written. No level writes inputs or secrets."""

    secrets_dir: Path = Path("secrets")
    """Folder with one file per secret. `scripts/secrets.sh` makes it."""
    postgres_host: str = "127.0.0.1"
    """Host of Postgres."""
    postgres_port: PositiveInt = 5433
    """Port of Postgres."""
    postgres_database: str = Field(default="volant", pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Database of data-api. `data-api setup` makes it."""
    replica_url: str = ""
    """A read-only copy of Postgres for lists, as `postgresql://host:port/database`. Empty: lists use the primary."""
    pool_size: PositiveInt = 10
    """Most connections to Postgres. More: more requests at once, more memory in Postgres."""
    pool_wait_seconds: PositiveFloat = 5
    """Longest wait for a free connection before a request is refused with 503."""
    statement_seconds: PositiveInt = 10
    """Longest a statement may run, and longest Postgres may be silent, before the request fails with 503."""
    setup_wait_seconds: PositiveInt = 60
    """How long `data-api setup` waits for Postgres to accept connections."""
    partitions_ahead: PositiveInt = 3
    """Months ahead for which `data-api setup` and `data-api maintain` make partitions of the predictions."""
    tombstones_file: Path = Path("backups/tombstones/erased.jsonl")
    """File beside the backups with the ids of people who were erased, so that a restored backup erases them again."""
    pending_days: PositiveInt = 30
    """Days that feedback waits for its prediction before `data-api maintain` deletes it."""
    label_share: float = Field(default=0.05, gt=0, le=1)
    """Share of the predictions that is sampled at random for labelling. More: narrower intervals of the accuracy."""
    label_minutes: PositiveInt = 10
    """How long a prediction is assigned to one person for labelling before it is offered to others."""

    access_token_seconds: PositiveInt = 900
    """How long an access token is valid. Less: a leaked token ends sooner, and clients refresh more often."""
    refresh_token_seconds: PositiveInt = 1_209_600
    """How long a refresh token is valid, from its last rotation: after that a person signs in again."""
    sign_in_tries: PositiveInt = 10
    """Wrong passwords from one device or address at one account before the next waits: a second, then two, four ..."""
    sign_in_tries_per_account: PositiveInt = 100
    """The same from all devices and addresses together that have not signed in to the account before."""
    sign_in_wait_seconds: PositiveInt = 60
    """Longest such wait at one account. More: fewer guesses, and a longer wait for those whom strangers delay."""
    sign_in_tries_per_address: PositiveInt = 50
    """The same from one address (of IPv6, one /64), at all accounts that it has not signed in to: then a second."""
    invitation_seconds: PositiveInt = 259_200
    """How long the link of an invitation can be used."""
    rate_limit_per_caller: str = "3000/minute"
    """Most requests of one person, such as 100/minute; more are refused with 429."""
    rate_limit_per_address: str = "6000/minute"
    """The same for one client address (of IPv6, one /64), with or without sign-in. ai-api itself is not counted."""
    rate_limit_store: Literal["memory", "postgres"] = "memory"
    """Where requests are counted. postgres: several data-apis share their counts, at the cost of a statement each."""
    public_url: str = Field(default="", pattern=r"^(https?://[^\s?#]*[^\s?#/])?$")
    """Where people reach data-api, for the links of invitations. Empty: on this machine, at the port of data-api."""
    trusted_proxies: str = ""
    """Addresses of proxies before data-api, comma-separated, whose X-Forwarded-For is trusted. Empty: none."""
    admin_session_seconds: PositiveInt = 28_800
    """How long a sign-in to the admin page lasts."""
    sign_ins_at_once: PositiveInt = 2
    """Passwords that are hashed at the same time. More: faster sign-in on more cores, 19 MiB of memory each."""
    max_body_bytes: PositiveInt = 16_777_216
    """Largest request body, in bytes. A larger one is refused with 413."""
    body_seconds: PositiveFloat = 30
    """Longest that one request body may take to arrive before it is refused with 408. More: for slow connections."""
    bodies_bytes: PositiveInt = 67_108_864
    """Most bytes of the bodies above 64 KiB of all requests in progress, of one caller half; else 429. More: memory."""

    @property
    def effective_public_url(self) -> str:
        """`public_url`, or by default the address on this machine."""
        host = "127.0.0.1" if self.host in ALL_INTERFACES else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def hosts(self) -> list[str]:
        """`allowed_hosts`, the address that is listened on, and the host of `public_url`."""
        named = [self.host, urlsplit(self.effective_public_url).netloc, *listed(self.allowed_hosts)]
        return [host for host in named if host not in ALL_INTERFACES]

    @property
    def origins(self) -> list[str]:
        """`cors_origins` as a list."""
        return listed(self.cors_origins)

    def secret(self, name: str) -> str:
        """The secret `name`, from its file; ConfigurationError when the file is missing, empty or a placeholder."""
        path = self.secrets_dir / name
        try:
            value = path.read_text().strip()
        except OSError:
            raise ConfigurationError(
                f"The secret file {path} is missing or cannot be read. `make dev` and `make up` make it."
            ) from None
        if value.lower() in PLACEHOLDERS:
            raise ConfigurationError(
                f"The secret file {path} holds a placeholder. Delete it: the next start makes a real one."
            )
        return value


def listed(text: str) -> list[str]:
    """The entries of a comma-separated setting."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]
