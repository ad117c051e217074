"""Every setting stands in .env, in docs/settings.md and in the compose file, with one default."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values
from pydantic_settings import BaseSettings

from ai_api.settings import Settings as AISettings
from data_api.settings import Settings as DataSettings
from scripts.dev.stack import Stack
from scripts.settings import names, read

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = {
    "VOLANT_BIND", "VOLANT_NAMES", "POSTGRES_PORT", "MLFLOW_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT", "KUMA_PORT",
    "VOLANT_BACKUPS_DIR", "VOLANT_BACKUPS_DAYS",
}  # fmt: skip
CLASSES: dict[str, type[BaseSettings]] = {"AI": AISettings, "DATA": DataSettings}
SETTINGS = {
    f"{prefix}_{name.upper()}": field for prefix, cls in CLASSES.items() for name, field in cls.model_fields.items()
}
ENV = dotenv_values(REPOSITORY / ".env")


def test_env_holds_every_setting_and_nothing_else() -> None:
    assert set(ENV) == set(SETTINGS) | SHARED


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_the_value_in_env_is_the_default(name: str) -> None:
    default = SETTINGS[name].get_default()
    assert ENV[name] == ("" if default is None else str(default))


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_setting_has_a_description(name: str) -> None:
    description = SETTINGS[name].description
    assert description
    assert description.endswith(".")


@pytest.mark.parametrize("name", sorted(set(SETTINGS) | SHARED))
def test_the_settings_page_lists_each_setting(name: str) -> None:
    assert f"`{name}`" in (REPOSITORY / "docs" / "settings.md").read_text()


@pytest.mark.parametrize(
    ("bind", "host"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("10.1.2.3", "10.1.2.3")]
)
def test_services_of_make_dev_call_each_other_at_the_addresses_they_listen_on(
    tmp_path: Path, bind: str, host: str
) -> None:
    ports = {"VOLANT_BIND": bind, "DATA_PORT": "1", "MLFLOW_PORT": "2", "AI_PORT": "3"}
    stack = Stack(tmp_path, ports)
    assert (stack.settings["AI_HOST"], stack.settings["DATA_HOST"]) == (bind, bind)
    assert (stack.data_url, stack.settings["AI_DATA_API_URL"]) == (f"http://{host}:1", f"http://{host}:1")
    assert (stack.mlflow_url, stack.settings["AI_MLFLOW_URL"]) == (f"http://{host}:2", f"http://{host}:2")
    assert stack.url == f"http://{host}:3"


def test_mlflow_of_make_dev_accepts_the_host_names_of_the_machine(tmp_path: Path) -> None:
    everywhere = names(read(tmp_path, {"VOLANT_BIND": "0.0.0.0", "VOLANT_NAMES": "volant.example.org, b"})).split(",")
    assert {"volant.example.org", "b", os.uname().nodename} <= set(everywhere)
    assert names(read(tmp_path, {"VOLANT_BIND": "10.1.2.3", "VOLANT_NAMES": ""})) == "10.1.2.3"


@pytest.mark.parametrize("service", ["AI", "DATA"])
def test_both_services_of_make_dev_accept_the_host_names_of_the_machine(tmp_path: Path, service: str) -> None:
    bind = {"VOLANT_BIND": "0.0.0.0", "VOLANT_NAMES": "volant.example.org", f"{service}_ALLOWED_HOSTS": "more"}
    hosts = read(tmp_path, bind)[f"{service}_ALLOWED_HOSTS"].split(",")
    assert {"volant.example.org", os.uname().nodename, "more"} <= set(hosts)


@pytest.mark.parametrize(("service", "prefix"), [("ai-api", "AI"), ("data-api", "DATA")])
def test_containers_know_their_service_name_and_the_host_names_of_the_machine(service: str, prefix: str) -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    hosts = compose["services"][service]["environment"][f"{prefix}_ALLOWED_HOSTS"].split(",")
    assert {service, "${VOLANT_BIND}", "${VOLANT_NAMES}"} <= set(hosts)


def test_both_services_of_make_dev_read_the_secrets_that_it_creates(tmp_path: Path) -> None:
    found = read(tmp_path, {"AI_SECRETS_DIR": "elsewhere", "DATA_SECRETS_DIR": "nobody-fills-this"})
    assert found["AI_SECRETS_DIR"] == found["DATA_SECRETS_DIR"] == str(tmp_path / "elsewhere")


def test_env_holds_no_secret() -> None:
    assert not [name for name in ENV if name.endswith(("PASSWORD", "KEY", "TOKEN", "SECRET"))]


def test_containers_get_every_setting() -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    services = compose["services"]
    given = set(services["ai-api"]["environment"]) | set(services["data-api"]["environment"])
    assert given == set(SETTINGS), json.dumps(sorted(given ^ set(SETTINGS)))
