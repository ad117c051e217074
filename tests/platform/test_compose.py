"""The rules of the compose file and of the images, checked without Docker."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.settings import PUBLISHED

REPOSITORY = Path(__file__).resolve().parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
OURS = {"data-setup", "queue-setup", "data-api", "data-maintain", "mlflow", "trainer", "ai-api"}
ASKING = {"ai-api", "data-api", "mlflow", "grafana"}
"""Services of which every call but health and documentation needs a key, a token or a password."""
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
def test_a_port_is_published_beyond_the_loopback_only_if_its_service_asks_who_is_calling(name: str) -> None:
    address = "${VOLANT_BIND}" if name in ASKING else "127.0.0.1"
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(re.escape(address) + r":\$\{[A-Z]+_PORT\}:\d+", port)


def test_processes_listen_beyond_the_loopback_only_if_they_ask_who_is_calling() -> None:
    assert {"AI_PORT", "DATA_PORT", "MLFLOW_PORT"} == PUBLISHED


def test_no_other_compose_file_publishes_a_port() -> None:
    for path in REPOSITORY.glob("docker-compose.*.yml"):
        assert "ports:" not in path.read_text(), path.name


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - OURS))
def test_a_public_image_has_an_exact_version(name: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", SERVICES[name]["image"])


def test_both_images_of_ours_are_built_from_one_exact_version_of_python() -> None:
    texts = [(REPOSITORY / name / "Dockerfile").read_text() for name in ("ai-api", "data-api")]
    tags = {re.findall(r"^ARG PYTHON=(.*)$", text, re.MULTILINE)[0] for text in texts}
    assert len(tags) == 1
    assert re.fullmatch(r"3\.11\.\d+-slim-[a-z]+", tags.pop())
    assert {line for text in texts for line in text.splitlines() if line.startswith("FROM ")} == {
        "FROM python:${PYTHON} AS packages", "FROM python:${PYTHON}",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_are_read_only_and_have_no_capabilities(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", sorted(OURS - ONCE))
def test_a_service_of_ours_starts_after_the_services_that_it_needs(name: str) -> None:
    conditions = {need: how["condition"] for need, how in SERVICES[name]["depends_on"].items()}
    assert conditions
    assert set(conditions.values()) <= {"service_healthy", "service_completed_successfully"}


def test_postgres_and_metrics_are_not_published() -> None:
    assert "ports" not in SERVICES["postgres"]
    assert SERVICES["postgres"]["networks"] == ["internal"]
    published = [port.rsplit(":", 1)[1] for service in SERVICES.values() for port in service.get("ports", [])]
    assert not {"5432", "9101", "9102", "9103", "9104"} & set(published)


@pytest.mark.parametrize(("name", "variable"), [("ai-api", "AI_METRICS_HOST"), ("data-api", "DATA_METRICS_HOST")])
def test_metrics_are_bound_to_a_host_name_of_the_internal_network(name: str, variable: str) -> None:
    networks = SERVICES[name]["networks"]
    assert networks["internal"]["aliases"] == [SERVICES[name]["environment"][variable]]
    assert networks["public"] is None


def test_metrics_of_the_maintenance_are_on_the_internal_network_only() -> None:
    host = SERVICES["data-maintain"]["environment"]["DATA_METRICS_HOST"]
    assert SERVICES["data-maintain"]["networks"] == {"internal": {"aliases": [host]}}


def test_prometheus_scrapes_host_names_of_the_internal_network() -> None:
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


def test_only_services_that_are_called_from_outside_or_call_out_are_on_the_public_network() -> None:
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
