"""Writes the settings tables of docs/settings.md from the settings classes: python -m scripts.settings_table"""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings

from ai_api.settings import Settings as AISettings
from data_api.settings import Settings as DataSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
START, END = "<!-- settings -->", "<!-- /settings -->"
SHARED = {
    "VOLANT_BIND": (
        "127.0.0.1",
        "Address of the [ports](operations.md#ports) that ask who is calling. 0.0.0.0: the whole network.",
    ),
    "VOLANT_NAMES": (
        "",
        "More host names of this machine, comma-separated. ai-api, data-api and MLflow refuse requests for others.",
    ),
    "MLFLOW_PORT": ("5000", "Port of MLflow."),
    "POSTGRES_PORT": ("5433", "Port of Postgres; only `make dev` opens it, on loopback."),
    "PROMETHEUS_PORT": ("9090", "Port of Prometheus."),
    "GRAFANA_PORT": ("3000", "Port of Grafana."),
    "KUMA_PORT": ("3001", "Port of Uptime Kuma."),
    "VOLANT_BACKUPS_DIR": (
        "backups",
        "Where `make backup` writes its sets; the tombstones of erased people are in it too. Best on another disk.",
    ),
    "VOLANT_BACKUPS_DAYS": (
        "",
        "Age in days from which `make backup` deletes older sets, after it has made a new one. Empty: never.",
    ),
}


def rows(settings: type[BaseSettings]) -> list[tuple[str, str, str]]:
    """Name, default and description of every setting of a class."""
    prefix = settings.model_config["env_prefix"]
    return [
        (
            f"{prefix}{name}".upper(),
            "" if field.default is None else str(field.default),
            " ".join((field.description or "").split()),
        )
        for name, field in settings.model_fields.items()
    ]


def table() -> str:
    """The three Markdown tables: shared settings, ai-api, data-api."""
    groups = {
        "Both ways to run": [(name, default, sentence) for name, (default, sentence) in SHARED.items()],
        "ai-api and its trainer": rows(AISettings),
        "data-api": rows(DataSettings),
    }
    parts = []
    for title, found in groups.items():
        lines = [f"| {title} | default | description |", "| --- | --- | --- |"]
        lines += [
            f"| `{name}` | {f'`{default}`' if default else ''} | {sentence} |" for name, default, sentence in found
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def with_table(text: str) -> str:
    """The page's text with the tables replaced by those of the settings classes now."""
    before, _, rest = text.partition(START)
    return f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
