"""What the compose file promises, read without an engine."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
OURS = {"data-setup", "queue-setup", "data-api", "data-maintain", "mlflow", "trainer", "ai-api"}
ONCE = {"data-setup", "queue-setup"}
every_service = pytest.mark.parametrize("name", sorted(SERVICES))


@every_service
def test_no_secret_is_in_an_environment(name: str) -> None:
    for variable in SERVICES[name].get("environment", {}):
        assert not variable.endswith(("PASSWORD", "_KEY", "TOKEN")), variable
    assert "password=" not in str(SERVICES[name].get("command", "")).lower()


@every_service
def test_a_service_has_a_memory_limit_and_gains_no_privileges(name: str) -> None:
    assert SERVICES[name]["mem_limit"]
    assert "no-new-privileges:true" in SERVICES[name]["security_opt"]


@every_service
def test_ports_are_published_on_the_address_that_the_settings_name(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("${VOLANT_BIND}:${")


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_are_read_only_and_have_no_capabilities(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", sorted(OURS - ONCE))
def test_our_services_start_when_what_they_need_is_there(name: str) -> None:
    conditions = {need: how["condition"] for need, how in SERVICES[name]["depends_on"].items()}
    assert conditions
    assert set(conditions.values()) <= {"service_healthy", "service_completed_successfully"}


def test_postgres_and_metrics_are_not_published() -> None:
    assert "ports" not in SERVICES["postgres"]
    assert SERVICES["postgres"]["networks"] == ["internal"]
    published = [port.rsplit(":", 1)[1] for service in SERVICES.values() for port in service.get("ports", [])]
    assert not {"5432", "9101", "9102", "9103", "9104"} & set(published)


@pytest.mark.parametrize(("name", "variable"), [("ai-api", "AI_METRICS_HOST"), ("data-api", "DATA_METRICS_HOST")])
def test_metrics_listen_under_a_name_that_only_the_internal_network_knows(name: str, variable: str) -> None:
    networks = SERVICES[name]["networks"]
    assert networks["internal"]["aliases"] == [SERVICES[name]["environment"][variable]]
    assert networks["public"] is None


def test_the_maintenance_shows_its_metrics_on_the_internal_network_alone() -> None:
    host = SERVICES["data-maintain"]["environment"]["DATA_METRICS_HOST"]
    assert SERVICES["data-maintain"]["networks"] == {"internal": {"aliases": [host]}}


def test_prometheus_asks_for_metrics_by_names_that_only_the_internal_network_knows() -> None:
    jobs = yaml.safe_load((REPOSITORY / "monitoring/prometheus/prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in jobs for config in job.get("static_configs", []) for target in config["targets"]}
    found = {name for job in jobs for config in job.get("dns_sd_configs", []) for name in config["names"]}
    aliases = {
        alias
        for service in SERVICES.values()
        if isinstance(service["networks"], dict)
        for alias in service["networks"]["internal"]["aliases"]
    }
    assert {target.split(":")[0] for target in targets} - {"localhost"} | found == aliases


def test_only_services_that_need_the_outside_are_on_the_public_network() -> None:
    inside = {name for name, service in SERVICES.items() if set(service["networks"]) == {"internal"}}
    assert inside == {"postgres", "data-setup", "queue-setup", "data-maintain"}


@pytest.mark.parametrize("dockerfile", ["ai-api/Dockerfile", "data-api/Dockerfile"])
def test_an_image_runs_as_a_numbered_user_and_is_built_in_stages(dockerfile: str) -> None:
    text = (REPOSITORY / dockerfile).read_text()
    user = next(line.split()[1] for line in reversed(text.splitlines()) if line.startswith("USER "))
    assert all(int(part) > 1000 for part in user.split(":"))
    assert text.count("\nFROM ") == 2
    last_stage = text[text.rindex("\nFROM ") :]
    assert not [word for word in ("pip install", "apt-get", "gcc", "build-essential") if word in last_stage]
    assert "HEALTHCHECK" in last_stage


def test_every_dependency_is_pinned_and_torch_brings_no_cuda_packages_by_name() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = [line.partition(" ;")[0] for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[a-z0-9.]+", pin) for pin in pins)  # no local part, no address
    assert not [pin for pin in pins if pin.startswith(("nvidia-", "cuda-", "triton"))]
    assert "torch==2.13.0" in pins
    names = {pin.partition("==")[0] for pin in pins}
    for folder in ("ai-api", "data-api"):
        project = tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text())["project"]
        wanted = [*project["dependencies"], *itertools.chain(*project.get("optional-dependencies", {}).values())]
        assert {re.split(r"[^a-z0-9-]", line)[0] for line in wanted} <= names
