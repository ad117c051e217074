"""A small binary task with costs, and with labels that are not in their real shares."""

from __future__ import annotations

from dataclasses import replace

from ai_api.task import Costs, Kind, Recipe, Task
from ai_api.tasks.fraud import FRAUD, LEGITIMATE, Payment, generate_fraud

TABLE = replace(generate_fraud(900), weights={LEGITIMATE: 20.0})
RECIPE = Recipe("logreg")


def small_frauds(name: str = "frauds") -> Task:
    return Task(
        name=name,
        kind=Kind.CLASSIFICATION,
        row=Payment,
        metric="pr_auc",
        margin=0.02,
        load=lambda _: TABLE,
        recipes=(RECIPE, replace(RECIPE, resample="smote"), Recipe("lightgbm", params={"n_estimators": 20})),
        metrics=("pr_auc", "roc_auc", "precision", "recall", "f1"),
        positive=FRAUD,
        costs=Costs(missed=100, false_alarm=1, unit="euros"),
        licence="synthetic rows",
    )
