"""The isolation of the containers: their users, writable folders, secrets, and published ports."""

from __future__ import annotations

import os
import socket

import httpx
import pytest

from tests.e2e.composed import Composed
from tests.waiting import until

pytestmark = pytest.mark.composed

OURS = ("ai-api", "trainer", "mlflow", "data-api")
ours = pytest.mark.parametrize("service", OURS)


@ours
def test_our_programs_are_not_root(composed: Composed, service: str) -> None:
    user, groups = composed.python(service, "import os; print(os.getuid(), os.getgroups())").split(maxsplit=1)
    assert int(user) > 1000
    assert "0" not in groups.strip("[]\n").split(", ")


@ours
def test_our_programs_cannot_change_their_image(composed: Composed, service: str) -> None:
    assert composed.inspect(service)["HostConfig"]["ReadonlyRootfs"]
    code = "import os\ntry: os.mkdir('/app/x')\nexcept OSError as error: print(error.strerror)"
    assert composed.python(service, code).strip() == "Read-only file system"


@ours
def test_no_compiler_is_left_in_an_image(composed: Composed, service: str) -> None:
    assert composed.python(service, "import shutil; print(shutil.which('gcc') or shutil.which('cc'))").strip() == "None"


def test_no_secret_is_in_an_environment(composed: Composed) -> None:
    secrets = {path.read_text().strip() for path in composed.secrets.iterdir()}
    for service in composed.services():
        words = " ".join([*composed.inspect(service)["Config"]["Env"], *(composed.inspect(service)["Args"] or [])])
        assert not [secret for secret in secrets if secret in words], service


@ours
def test_a_service_holds_only_the_secrets_that_it_needs(composed: Composed, service: str) -> None:
    secrets = set(composed.python(service, "import os; print(*os.listdir('/run/secrets'))").split())
    assert "postgres_password" not in secrets
    assert ("postgres_app_password" in secrets) == (service == "data-api")
    assert ("signing_key" in secrets) == (service == "data-api")


def test_only_ports_for_users_are_published_and_only_on_the_loopback(composed: Composed) -> None:
    published = {
        (container, int(binding["HostPort"]), binding["HostIp"])
        for container in composed.services()
        for bindings in composed.inspect(container)["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }
    names = {"ai-api": "AI_PORT", "data-api": "DATA_PORT", "mlflow": "MLFLOW_PORT", "prometheus": "PROMETHEUS_PORT"}
    names |= {"grafana": "GRAFANA_PORT", "uptime-kuma": "KUMA_PORT"}
    assert published == {
        (service, int(os.environ[port]), "127.0.0.1")
        for service, port in names.items()
        if service in composed.services()
    }


def test_postgres_is_on_an_internal_network_only(composed: Composed) -> None:
    assert composed.network("internal")["Internal"] is True
    assert list(composed.inspect("postgres")["NetworkSettings"]["Networks"]) == [composed.network("internal")["Name"]]


@pytest.mark.parametrize(("service", "port"), [("ai-api", 9101), ("data-api", 9102), ("trainer", 9103)])
def test_metrics_are_served_on_the_internal_network_only(composed: Composed, service: str, port: int) -> None:
    networks = composed.inspect(service)["NetworkSettings"]["Networks"]
    inside, outside = (networks[composed.network(name)["Name"]]["IPAddress"] for name in ("internal", "public"))

    def seen_by_another_container(address: str) -> str:
        code = f"import socket; print(socket.socket().connect_ex(({address!r}, {port})))"
        return os.strerror(int(composed.python("mlflow", code)))

    assert seen_by_another_container(inside) == "Success"
    assert seen_by_another_container(outside) == "Connection refused"
    with pytest.raises(OSError, match=r"refused|timed out|unreachable"):  # from the host
        socket.create_connection((outside, port), timeout=2).close()


def test_prometheus_reaches_every_target(composed: Composed) -> None:
    def up() -> bool:
        response = httpx.get(f"{composed.address('PROMETHEUS_PORT')}/api/v1/targets", trust_env=False).json()
        health = {target["labels"]["job"]: target["health"] for target in response["data"]["activeTargets"]}
        return health == dict.fromkeys(("prometheus", "ai-api", "data-api", "data-maintain", "trainer"), "up")

    until(up, "every target of Prometheus to be up")


def test_mlflow_requires_a_password(composed: Composed) -> None:
    url = f"{composed.address('MLFLOW_PORT')}/api/2.0/mlflow/registered-models/search"
    assert httpx.get(url, trust_env=False).status_code == 401
    writer = ("volant", composed.secret("mlflow_password"))
    assert httpx.get(url, auth=writer, trust_env=False).status_code == 200
