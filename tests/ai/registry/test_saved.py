"""Versions saved by earlier releases load and predict as recorded. They were trained on generated rows, a folder each.

Their pipelines are compressed (zip's deflate), unlike those of a trainer, to be small enough for git.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ai_api.inference import TOLERANCE
from ai_api.registry.files import VersionFiles
from ai_api.registry.versions import Version

SAVED = sorted(path for path in (Path(__file__).parent / "saved").iterdir() if path.is_dir())
LABELS = {"tweets": ("negative", "neutral", "positive")}


@pytest.mark.parametrize("folder", SAVED, ids=lambda folder: folder.name)
def test_a_version_of_an_earlier_release_predicts_as_recorded(folder: Path) -> None:
    release, task, recipe = folder.name.split("-", 2)
    version = Version(
        task=task,
        number=1,
        run_id="",
        recipe=recipe,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        aliases=(),
        metrics={},
        labels=LABELS.get(task),
        synthetic=True,
        row_version=1,
        data_hash="",
        digest=release,
        registered_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    model = VersionFiles.read(folder).load(version, "cpu")
    assert model.sample
    for row, recorded in model.sample:
        [prediction] = model.predict([row])
        assert prediction.get("label") == recorded.get("label")
        key = "score" if "score" in recorded else "value"
        assert prediction[key] == pytest.approx(recorded[key], abs=TOLERANCE)


def test_the_saved_versions_are_small() -> None:
    assert SAVED
    assert all(VersionFiles.read(folder).size < 30_000 for folder in SAVED)
