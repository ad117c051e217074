"""Every setting stands in .env, in README.md and in the compose file, with one default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values
from pydantic_settings import BaseSettings

from ai_api.settings import Settings as AISettings
from data_api.settings import Settings as DataSettings

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = {
    "VOLANT_BIND", "VOLANT_NAMES", "POSTGRES_PORT", "MLFLOW_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT", "KUMA_PORT",
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
def test_a_setting_explains_itself(name: str) -> None:
    description = SETTINGS[name].description
    assert description
    assert description.endswith(".")


@pytest.mark.parametrize("name", sorted(set(SETTINGS) | SHARED))
def test_the_readme_tells_of_each_setting(name: str) -> None:
    assert f"`{name}`" in (REPOSITORY / "README.md").read_text()


def test_env_holds_no_secret() -> None:
    assert not [name for name in ENV if name.endswith(("PASSWORD", "KEY", "TOKEN", "SECRET"))]


def test_containers_get_every_setting() -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    services = compose["services"]
    given = set(services["ai-api"]["environment"]) | set(services["data-api"]["environment"])
    assert given == set(SETTINGS), json.dumps(sorted(given ^ set(SETTINGS)))
