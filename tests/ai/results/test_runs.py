"""Which runs the page of results shows, and their figures on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from ai_api.registry.run_log import RunLog
from ai_api.registry.versions import FinishedRun
from ai_api.results.page import results
from ai_api.results.runs import NOT_TRAINED, find
from ai_api.results.tables import markdown
from ai_api.results.times import covered
from ai_api.task import Costs, Published, Recipe, Task
from tests.ai.support.small import small_task

RECIPES = (
    Recipe("logreg", params={"C": 2}),
    Recipe("forest"),
    Recipe("bert", text="raw", title="bert"),
    Recipe("logreg", text="glove", is_default=False),
)
TASK = replace(
    small_task("fraud"),
    name="shop",
    recipes=RECIPES,
    metrics=("pr_auc", "recall"),
    about="What a | does.",
    published=(Published("Doe, 2020", "pr_auc", 0.817, "the full file"),),
    costs=Costs(100, 5, "euros"),
)


class StoredRuns:
    """A run log in memory."""

    def __init__(self, *runs: FinishedRun) -> None:
        self._runs = runs

    def finished(self, task: str, kind: str = "training") -> list[FinishedRun]:
        return [run for run in self._runs if (run.task, run.kind) == (task, kind)]


def run(recipe: str, value: float = 0.9, kind: str = "training", **changes: object) -> FinishedRun:
    """A run on all real rows. `changes` are of parameters by `param_`, of metrics by `metric_`, else of the lineage."""
    estimator = {"logreg": {"C": "2"}, "glove+logreg": {"text": "glove"}, "bert": {"text": "raw"}}.get(recipe, {})
    params = {"estimator": recipe.rpartition("+")[2], **estimator, **picked(changes, "param_")}
    lineage = {"synthetic": "false", "share": "1.0", "corrections_used": "0", "git_commit": "abcdef1234567"}
    lineage |= {"train_rows": "8000", "held_out_rows": "2000", "processor": "Abacus", "cpus": "2", "device": "cpu"}
    metrics = {"pr_auc": value, "recall": 0.5, "interval_low": 0.8, "interval_high": 0.95, "fit_seconds": 120.0}
    metrics |= {"train_seconds": 180.0, "latency_single_ms": 1.25, "latency_batch_ms": 4.0, "size_bytes": 2.5e6}
    metrics |= {name: float(str(found)) for name, found in picked(changes, "metric_").items()}
    lineage |= {name: str(found) for name, found in changes.items() if not name.startswith(("param_", "metric_"))}
    when = datetime(2026, 5, 17, tzinfo=UTC)
    return FinishedRun("id", "shop", kind, recipe, when, {k: str(v) for k, v in params.items()}, metrics, lineage)


def picked(changes: Mapping[str, object], prefix: str) -> dict[str, object]:
    return {name.removeprefix(prefix): value for name, value in changes.items() if name.startswith(prefix)}


def page(*runs: FinishedRun, tasks: Sequence[Task] = (TASK,)) -> str:
    return results(tasks, cast("RunLog", StoredRuns(*runs)))


def test_the_newest_run_of_a_recipe_counts() -> None:
    found = find(TASK, cast("RunLog", StoredRuns(run("forest", 0.7), run("forest", 0.8))))
    assert found.trained["forest"].metrics["pr_auc"] == 0.7


@pytest.mark.parametrize(
    "change", [{"synthetic": "true"}, {"share": "0.1"}, {"corrections_used": "3"}, {"param_C": "50"}, {"kind": "other"}]
)
def test_a_run_on_other_rows_or_with_other_parameters_does_not_count(change: dict[str, str]) -> None:
    found = find(TASK, cast("RunLog", StoredRuns(run("logreg", 0.99, **change), run("logreg", 0.8))))
    assert found.trained["logreg"].metrics["pr_auc"] == 0.8


def test_a_requested_search_for_parameters_has_a_row_of_its_own() -> None:
    found = find(TASK, cast("RunLog", StoredRuns(run("logreg", 0.95, param_C="7", param_tune="20"), run("logreg"))))
    assert {name: kept.params["C"] for name, kept in found.trained.items()} == {"logreg": "2", "logreg, tuned": "7"}


def test_the_best_recipe_is_first_with_its_interval_time_and_size() -> None:
    lines = page(run("forest", 0.91), run("logreg", 0.93), run("logreg", 0.92, "crossval", metric_pr_auc_std=0.01))
    assert "| recipe | pr_auc | by folds | recall | fit | 1 row | 32 rows | size |" in lines
    best = "| `logreg` | **0.930** [0.800, 0.950] | 0.920 ± 0.010 | 0.500 | 2.0 min | 1.25 ms | 4 ms | 2.5 MB |"
    assert best in lines
    assert lines.index(best) < lines.index("| `forest` | **0.910** [0.800, 0.950] |  | 0.500 |")
    assert "8,000 rows train, 2,000 are held out" in lines
    assert "| Doe, 2020 | pr_auc | 0.817 | the full file |" in lines


def test_less_is_better_where_the_metric_is_an_error() -> None:
    housing = replace(small_task("housing"), name="shop", recipes=RECIPES[:2])
    lines = page(run("forest", metric_rmse=0.4), run("logreg", metric_rmse=0.5), tasks=[housing])
    assert lines.index("| `forest` |") < lines.index("| `logreg` |")


def test_the_page_shows_machine_date_and_training_times_of_the_default_recipes() -> None:
    lines = page(run("forest"), run("logreg"), run("bert"), run("glove+logreg"))
    assert "- When: 2026-05-17" in lines
    assert "- Commit: abcdef123456\n" in lines
    assert "abcdef123456 with changes that no commit holds" in page(run("forest", git_commit="abcdef1234567-dirty"))
    assert "- Machine: Abacus, 2 CPUs, no GPU" in lines
    assert "- Training of all other default recipes: 6.0 min added up, 3.0 min side by side" in lines
    assert "- Training of the fine-tuned transformers: 3.0 min added up, 3.0 min side by side" in lines


def test_covered_time_counts_overlaps_once_and_gaps_not_at_all() -> None:
    assert covered([(8.0, 9.0), (0.0, 4.0), (1.0, 2.0), (3.0, 5.0)]) == 6.0


def test_metrics_at_the_real_shares_have_a_table_of_their_own() -> None:
    lines = page(run("forest", metric_weighted_to_real_pr_auc=0.71, metric_threshold=0.3, metric_cost_per_1000=42))
    assert "Costs are in euros, of 1,000 real rows." in lines
    assert "| `forest` | 0.710 | 0.300 | 42.000 |" in lines


def test_the_page_shows_what_a_fusion_gains_over_its_members() -> None:
    gained: dict[str, Any] = {
        "metric_over tfidf svm": 0.0029,
        "metric_over tfidf svm low": 0.001,
        "metric_over tfidf svm high": 0.0046,
    }
    assert "| `forest` | `tfidf+svm` | +0.0029 [+0.0010, +0.0046] |" in page(run("forest", **gained))
    assert "against its member" not in page(run("forest"))


def test_recipes_that_were_not_trained_are_listed_with_the_reason() -> None:
    why = "Fetch the vectors, put them there."
    lines = page(run("forest", synthetic="true"), run("glove+logreg", kind=NOT_TRAINED, why=why))
    assert f"- `glove+logreg`: {why}" in lines
    assert "- `forest`: trained on generated rows only" in lines
    assert "- `bert`: not trained in these runs" in lines
    assert "MLflow has no such run yet." in lines


def test_a_bar_in_a_cell_is_escaped() -> None:
    assert markdown(["a"], [["x | y"]]).splitlines() == ["| a |", "| --- |", "| x \\| y |"]


def test_the_page_names_no_folder_of_the_machine_that_lacks_a_file() -> None:
    why = "x.bin is not here. Fetch it from https://example.org/a/x.zip. Put it at /home/ann/w/x.bin (AI_WEIGHTS_DIR)."
    untrained = FinishedRun(
        "id", "shop", NOT_TRAINED, "glove+logreg", datetime(2026, 5, 17, tzinfo=UTC), {}, {}, {"why": why}
    )
    lines = page(run("forest"), untrained)
    assert "from https://example.org/a/x.zip. Put it at x.bin (AI_WEIGHTS_DIR)." in lines
    assert "/home/ann" not in lines
