"""The settings page lists every setting, and no setting can be changed after the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from data_api.settings import Settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "settings.md").read_text()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_settings_page_lists_the_setting_with_its_default_and_description(name: str) -> None:
    field = Settings.model_fields[name]
    default = f"`{field.default}`" if field.default != "" else ""
    assert f"| `DATA_{name.upper()}` | {default} | {field.description} |" in PAGE


def test_settings_come_from_the_environment_and_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_PORT", "9")
    monkeypatch.setenv("DATA_HOST", "")
    settings = Settings()
    assert (settings.port, settings.host) == (9, "127.0.0.1")
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 10  # type: ignore[misc]


def test_a_malformed_database_name_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings(postgres_database='volant"; DROP DATABASE volant; --')
