"""The configuration of Prometheus and Grafana names only metrics and services that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import prometheus_client
import yaml

import ai_api.metrics  # noqa: F401  (registers its metrics)

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"


def test_a_dashboard_asks_only_for_metrics_that_exist() -> None:
    shown = {metric.name for metric in prometheus_client.REGISTRY.collect()}
    known = shown | {f"{name}_{part}" for name in shown for part in ("total", "bucket", "count", "sum")}
    for path in (MONITORING / "grafana" / "dashboards").glob("*.json"):
        asked = set(re.findall(r"\bvolant_\w+", " ".join(expressions(json.loads(path.read_text())))))
        assert asked
        assert asked <= known


def test_prometheus_scrapes_every_service_of_ours() -> None:
    config = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
    names = {"prometheus", "ai-api", "data-api", "data-maintain", "trainer"}
    assert {job["job_name"] for job in config["scrape_configs"]} == names


def expressions(dashboard: dict[str, list[dict[str, list[dict[str, str]]]]]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
