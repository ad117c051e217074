"""The commands train, crossval, tune, compare and data on a task of the user, and the page of results."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ai_api.__main__ import main
from ai_api.commands.results import write_unseen
from ai_api.datasets import Table
from ai_api.images.reference import ImageRef

WINE = (Path(__file__).resolve().parents[2] / "loop" / "wine.py").read_text()
FOREST, SMALL_FOREST = 'Recipe("forest")', 'Recipe("forest", params={"n_estimators": 20})'
Run = Callable[..., str]


@pytest.fixture(scope="module")
def environment(mlflow_url: str, secrets_dir: Path, open_folder: Callable[[str], Path]) -> Iterator[Path]:
    """The settings of a machine where only MLflow runs, with one task, whose forest is small."""
    folder = open_folder("results")
    (folder / "tasks").mkdir()
    assert FOREST in WINE
    (folder / "tasks" / "wine.py").write_text(WINE.replace(FOREST, SMALL_FOREST))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AI_TASKS": "wine",
            "AI_TASKS_DIR": folder / "tasks",
            "AI_MLFLOW_URL": mlflow_url,
            "AI_SECRETS_DIR": secrets_dir,
            "AI_STATE_DIR": folder / "state",
            "AI_WEIGHTS_DIR": folder / "weights",
            "AI_BOOTSTRAP_ROUNDS": "50",
        }.items():
            patch.setenv(name, str(value))
        yield folder


@pytest.fixture
def run(environment: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command, which must succeed. Returns what it prints."""

    def call(*words: str) -> str:
        assert main(words) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return call


def test_every_recipe_is_trained_once_compared_and_not_promoted(run: Run, environment: Path) -> None:
    first = run("train", "wine", "--all", "--alone", "--missing").splitlines()
    assert first[0].split() == ["recipe", "macro_recall", "in"]
    assert [line.split()[0] for line in first[1:]] == ["naive-bayes", "forest"]
    assert "version 1" in first[1]
    one = run("train", "wine", "--recipes", "forest", "--alone", "--missing").splitlines()
    assert [line.split()[0] for line in one[1:]] == ["forest"]
    assert "done before" in one[1]
    again = run("train", "wine", "--all", "--alone", "--missing")
    assert again.count("done before, on these rows, with this code") == 2

    folds = run("crossval", "wine", "--folds", "2").splitlines()
    assert folds[0].split()[:3] == ["metric", "mean", "std"]
    assert folds[1].startswith("macro_recall")
    tuned = run("tune", "wine", "--recipe", "forest", "--trials", "2", "--alone", "--seed", "3")
    assert re.search(r"^promoted +False$", tuned, re.MULTILINE)

    assert "is written" in run("compare", "--out", str(environment / "page" / "RESULTS.md"))
    page = (environment / "page" / "RESULTS.md").read_text()
    assert "## wine" in page
    for row in ("| `naive-bayes` | **", "| `forest` | **", "| `forest, tuned` | **"):
        assert row in page
    assert page == run("compare", "wine").removesuffix("\n")

    earlier = "# Results\n\n- Machine: another\n\n## tea\n\n| `leaf` | **0.9** |\n\n## wine\n\nold\n"
    (environment / "page" / "RESULTS.md").write_text(earlier)
    run("compare", "--out", str(environment / "page" / "RESULTS.md"))
    kept = (environment / "page" / "RESULTS.md").read_text()
    head, _, sections = page.partition("## wine")
    tea = "## tea\n\n| `leaf` | **0.9** |\n\n"
    assert kept == f"{head}Kept from an earlier page: tea. It said:\n\n- Machine: another\n\n{tea}## wine{sections}"


def test_unseen_rows_are_written_as_inputs_of_predict(run: Run, environment: Path) -> None:
    head, line = run("data", "--unseen", str(environment / "unseen")).splitlines()
    assert head.split()[:6] == ["task", "train", "held", "out", "unseen", "labels"]
    assert line.split()[0] == "wine"
    assert line.split()[4:6] == ["3", "real"]
    rows = [json.loads(row) for row in (environment / "unseen" / "wine.ndjson").read_text().splitlines()]
    assert len(rows) == int(line.split()[3])
    assert all(set(row) == {"inputs", "truth"} for row in rows)


def test_an_image_is_written_in_base64_and_a_missing_value_is_left_out(tmp_path: Path) -> None:
    row: dict[str, object] = {"image": ImageRef.of_bytes(b"picture"), "note": None, "number": float("nan"), "text": "é"}
    write_unseen(Table([row], np.array(["a"], dtype=object)), tmp_path / "rows.ndjson")
    [line] = (tmp_path / "rows.ndjson").read_text().splitlines()
    assert json.loads(line) == {
        "inputs": {"image": base64.b64encode(b"picture").decode(), "text": "é"},
        "truth": "a",
    }
