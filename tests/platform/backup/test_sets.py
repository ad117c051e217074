"""Sets of backups are complete or absent, checked before a restore, and deleted when they are old."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scripts.backup.sets import MANIFEST, NAME, BackupError, old_sets, restore, retention_days, save, save_and_prune


class Notes:
    """A store with two parts, each a text."""

    way = "dev"

    def __init__(self, folder: Path) -> None:
        self.secrets = folder / "secrets"
        self.secrets.mkdir(parents=True)
        for name in ("mlflow_admin_password", "signing_key"):
            (self.secrets / name).write_text(f"{name} of all")
        self.parts: Sequence[str] = ["a", "b"]
        self.texts = {"a": "first", "b": "second"}
        self.breaks = ""
        self.events: list[str] = []

    def save(self, part: str, file: Path) -> None:
        if part == self.breaks:
            raise OSError("the disk is full")
        file.write_text(self.texts[part])

    @contextmanager
    def restoring(self) -> Iterator[None]:
        self.events.append("begun")
        yield
        self.events.append("ended")

    def load(self, part: str, file: Path) -> None:
        self.events.append(part)
        self.texts[part] = file.read_text()


def test_a_set_is_restored_into_an_empty_volant(tmp_path: Path) -> None:
    backup = save(Notes(tmp_path / "one"), tmp_path / "backups")
    assert backup.stat().st_mode & 0o077 == 0
    other = Notes(tmp_path / "other")
    other.texts = {}
    restore(other, backup)
    assert other.texts == {"a": "first", "b": "second"}
    assert other.events == ["begun", "a", "b", "ended"]


def test_a_backup_that_fails_leaves_no_set_behind(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "one")
    notes.breaks = "b"
    with pytest.raises(OSError, match="full"):
        save(notes, tmp_path / "backups")
    assert list((tmp_path / "backups").iterdir()) == []


def planted(folder: Path, days: float, *, whole: bool = True) -> Path:
    """A set that was begun `days` ago."""
    path = folder / (("" if whole else ".") + (datetime.now(UTC) - timedelta(days=days)).strftime(NAME))
    path.mkdir(parents=True)
    (path / (MANIFEST if whole else "a")).touch()
    return path


def test_old_sets_are_deleted_after_a_new_one_is_saved(tmp_path: Path) -> None:
    folder, printed = tmp_path / "backups", list[str]()
    old, young = planted(folder, 8), planted(folder, 6)
    notes = Notes(tmp_path / "one")
    notes.breaks = "b"
    with pytest.raises(OSError, match="full"):
        save_and_prune(notes, folder, 7, printed.append)
    assert set(folder.iterdir()) == {old, young}
    notes.breaks = ""
    save_and_prune(notes, folder, None, printed.append)
    assert old.exists()
    save_and_prune(notes, folder, 7, printed.append)
    assert not old.exists()
    assert young.exists()
    assert len(list(folder.iterdir())) == 3
    assert printed[-1] == f"Deleted {old}, as it is older than 7 days (VOLANT_BACKUPS_DAYS)."


def test_the_newest_complete_set_and_other_files_are_never_deleted(tmp_path: Path) -> None:
    oldest, old = planted(tmp_path, 100), planted(tmp_path, 8)
    unfinished, under_way = planted(tmp_path, 9, whole=False), planted(tmp_path, 0, whole=False)
    for name in ("tombstones", "2026", "before-the-upgrade"):
        (tmp_path / name).mkdir()
    (tmp_path / "before-the-upgrade" / MANIFEST).touch()
    (tmp_path / (datetime.now(UTC) - timedelta(days=50)).strftime(NAME)).symlink_to(tmp_path / "2026")
    assert old_sets(tmp_path, 7) == sorted([unfinished, oldest])
    assert old_sets(tmp_path, 200) == []
    assert under_way.exists()
    assert old.exists()


def test_other_old_sets_are_deleted_when_one_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, printed = tmp_path / "backups", list[str]()
    first, second = planted(folder, 9), planted(folder, 8)

    def rmtree(path: Path) -> None:
        if path.name.endswith(first.name):
            raise PermissionError(13, "Permission denied")
        real(path)

    real = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(BackupError, match=r"cannot be deleted: Permission denied\.$"):
        save_and_prune(Notes(tmp_path / "one"), folder, 7, printed.append)
    assert printed[-1].startswith(f"Deleted {second}")


@pytest.mark.parametrize(("setting", "days"), [("", None), ("1", 1), ("36500", 36_500)])
def test_the_retention_of_sets_is_a_setting(setting: str, days: int | None) -> None:
    assert retention_days(setting) == days


@pytest.mark.parametrize("setting", ["0", "-1", "1.5", "a week", "36501", "²"])
def test_a_setting_that_is_no_number_of_days_is_refused(setting: str) -> None:
    with pytest.raises(BackupError, match="whole number of days"):
        retention_days(setting)


def test_a_set_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "one")
    backup = save(notes, tmp_path / "backups")
    other = Notes(tmp_path / "other")

    (other.secrets / "signing_key").write_text("another one")
    with pytest.raises(BackupError, match="signing_key is not the secret of this set"):
        restore(other, backup)
    other = Notes(tmp_path / "third")
    other.way = "up"
    with pytest.raises(BackupError, match="make dev"):
        restore(other, backup)
    (backup / "a").write_text("changed")
    with pytest.raises(BackupError, match="damaged: a"):
        restore(notes, backup)
    for path, text in ((backup / MANIFEST, "{"), (backup / MANIFEST, "{}")):
        path.write_text(text)
        with pytest.raises(BackupError, match="no complete set"):
            restore(notes, backup)
    assert (other.events, notes.events) == ([], [])
