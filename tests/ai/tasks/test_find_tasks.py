"""Which tasks there are: those of the package, those of a folder outside it, and of all these the ones named."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_api.__main__ import main
from ai_api.errors import ConfigurationError
from ai_api.tasks import find_tasks

WINE = Path(__file__).resolve().parents[2] / "loop" / "wine.py"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, with its modules removed from sys.modules afterwards."""
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("ai_api.tasks."):
            del sys.modules[name]


def test_every_task_of_the_package_is_found_and_the_quick_starters_come_first() -> None:
    names = list(find_tasks())
    assert names[:2] == ["tweets", "housing"]
    assert names[-2:] == ["products", "fashion"]
    assert set(names) == {"tweets", "housing", "churn", "emotion", "fraud", "irony", "products", "fashion"}


def test_only_the_tasks_that_are_named_are_found_in_that_order() -> None:
    assert list(find_tasks(["housing", "tweets"])) == ["housing", "tweets"]
    with pytest.raises(ConfigurationError, match=r"AI_TASKS names cats\. There are churn, emotion"):
        find_tasks(["tweets", "cats"])


def test_a_file_of_a_folder_outside_is_a_task_beside_the_others(folder: Path) -> None:
    shutil.copy(WINE, folder / "my-wine.py")
    found = find_tasks(folder=folder)
    assert {"wine", "tweets"} <= set(found)
    assert find_tasks(folder=folder)["wine"] is found["wine"], "a second look does not read the file again"
    assert list(find_tasks(["wine"], folder)) == ["wine"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.py", "TASK = 1 +", r"a\.py, line 1, cannot be used: SyntaxError"),
        ("b.py", "\n\nimport nothing_of_that_name", r"b\.py, line 3, cannot be used: ModuleNotFoundError: No module"),
        ("c.py", "task = 1", r"c\.py holds no task: it needs `TASK = Task\("),
        ("tweets.py", "", r"tweets\.py: there is a file tweets\.py already"),
        ("e.py", "from ai_api.tasks.tweets import TASK", r"e\.py: there is a task 'tweets' already"),
        (
            "f.py",
            "import dataclasses\nfrom ai_api.tasks.irony import TASK\nTASK = dataclasses.replace(TASK, name='My/Task')",
            r"f\.py: the name of a task is made of small letters",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=message):
            find_tasks(folder=folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"AI_TASKS_DIR names .*nothing, which is no folder"):
        find_tasks(folder=tmp_path / "nothing")


def test_a_start_with_a_broken_file_ends_with_one_line(
    folder: Path, secrets_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.py").write_text("TASK = nothing")
    monkeypatch.setenv("AI_TASKS_DIR", str(folder))
    monkeypatch.setenv("AI_SECRETS_DIR", str(secrets_dir))
    for command in ("serve", "work"):
        assert main([command]) == 1
        [line] = capsys.readouterr().err.splitlines()
        place = f"{folder}/broken.py, line 1"
        assert line == f"ConfigurationError: {place}, cannot be used: NameError: name 'nothing' is not defined"
