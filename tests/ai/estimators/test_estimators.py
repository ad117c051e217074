"""One contract for every estimator that is registered: what a recipe, the registry and serving rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd
import pytest
import skops.io
from numpy.typing import NDArray
from optuna.trial import FixedTrial
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from ai_api import estimators
from ai_api.datasets import Truths
from ai_api.errors import InvalidParams, MissingExtra, UnknownRecipe
from ai_api.estimators import build_estimator, estimator, find_estimator, find_estimators
from ai_api.inference import TOLERANCE
from ai_api.registry.allowed_types import check_types
from ai_api.task import Kind

pytestmark = pytest.mark.training

ENTRIES = sorted(find_estimators())
ROWS = 120
RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=(ROWS, 4))
UP = NUMBERS[:, 0] > 0
TRUTHS = {
    Kind.CLASSIFICATION: np.where(UP, "up", "down").astype(object),
    Kind.REGRESSION: NUMBERS[:, 0] + RANDOM.normal(scale=0.1, size=ROWS),
}
THREE = np.array(["down", "level", "up"], dtype=object)[np.digitize(NUMBERS[:, 0], (-0.4, 0.4))]


def texts() -> NDArray[np.object_]:
    return np.array([f"it goes {'up' if up else 'down'} again" for up in UP], dtype=object)


def pixels() -> NDArray[np.uint8]:
    """Bright and dark images of 32 x 32 pixels, as returned by the image feature of that name."""
    shade = np.random.default_rng(1)
    return np.clip(shade.normal(np.where(UP, 170, 80)[:, None], 20, size=(ROWS, 32 * 32 * 3)), 0, 255).astype(np.uint8)


def columns() -> pd.DataFrame:
    return pd.DataFrame(NUMBERS, columns=list("abcd"))


@dataclass(frozen=True)
class Quick:
    """Parameters for a quick fit of an estimator, and inputs if it does not take numbers."""

    params: dict[str, object] = field(default_factory=dict)
    inputs: Callable[[], object] = NUMBERS.copy


MEMBERS = [(name, Pipeline([("estimator", LogisticRegression())])) for name in ("left", "right")]
QUICK = {
    "bert": Quick({"epochs": 1, "batch_size": 60}, texts),
    "boosting": Quick({"max_iter": 10}),
    "catboost": Quick({"iterations": 10}),
    "cnn": Quick({"height": 32, "width": 32, "channels": 4, "epochs": 2}, pixels),
    "forest": Quick({"n_estimators": 5}),
    "fusion": Quick({"members": MEMBERS, "columns": {"left": ["a", "b"], "right": ["c", "d"]}}, columns),
    "lightgbm": Quick({"n_estimators": 10}),
    "xgboost": Quick({"n_estimators": 10}),
}
BOOSTERS = ("catboost", "lightgbm", "xgboost")


def build(name: str, kind: Kind, seed: int = 0, **params: object) -> BaseEstimator:
    return build_estimator(name, kind, {**QUICK.get(name, Quick()).params, **params}, seed)


def inputs_of(name: str) -> object:
    return QUICK.get(name, Quick()).inputs()


@cache
def fitted_one(name: str, kind: Kind) -> BaseEstimator:
    """Fitted once for the tests that only predict with it or save it."""
    return build(name, kind, seed=7).fit(inputs_of(name), TRUTHS[kind])


def outputs(fitted: BaseEstimator, inputs: object) -> NDArray[np.float64]:
    """Probabilities, or values."""
    return np.asarray((fitted.predict_proba if is_classifier(fitted) else fitted.predict)(inputs))


@pytest.mark.parametrize(("name", "kind"), ENTRIES)
def test_it_is_of_its_kind_and_has_a_docstring(name: str, kind: Kind) -> None:
    assert (is_classifier if kind is Kind.CLASSIFICATION else is_regressor)(build(name, kind))
    assert find_estimator(name, kind).build.__doc__


@pytest.mark.parametrize(("name", "kind"), ENTRIES)
def test_it_is_saved_without_untrusted_types_and_predicts_the_same_after_reloading(name: str, kind: Kind) -> None:
    inputs = inputs_of(name)
    fitted = fitted_one(name, kind)
    saved = skops.io.dumps(fitted)
    again = skops.io.loads(saved, trusted=check_types(saved))
    np.testing.assert_array_equal(outputs(again, inputs), outputs(fitted, inputs))
    if kind is Kind.CLASSIFICATION:
        assert list(again.classes_) == ["down", "up"]
        assert outputs(again, inputs).shape == (ROWS, 2)
        assert set(again.predict(inputs)) <= {"down", "up"}
    elif name not in QUICK or QUICK[name].inputs is NUMBERS.copy:
        assert np.corrcoef(again.predict(inputs), TRUTHS[kind])[0, 1] > 0.5


@pytest.mark.parametrize(("name", "kind"), ENTRIES)
def test_a_row_has_the_same_prediction_alone_and_in_a_batch(name: str, kind: Kind) -> None:
    inputs = inputs_of(name)
    fitted = fitted_one(name, kind)
    together = outputs(fitted, inputs)[:5]
    alone = [outputs(fitted, inputs[place : place + 1]) for place in range(5)]  # type: ignore[index]
    np.testing.assert_allclose(np.concatenate(alone), together, atol=TOLERANCE)


@pytest.mark.parametrize(("name", "kind"), ENTRIES)
def test_the_same_seed_gives_the_same_predictions(name: str, kind: Kind) -> None:
    inputs = inputs_of(name)
    one = outputs(fitted_one(name, kind), inputs)
    other = outputs(clone(build(name, kind, seed=7)).fit(inputs, TRUTHS[kind]), inputs)
    np.testing.assert_allclose(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "kind"), ENTRIES)
@pytest.mark.parametrize("params", [{"no_such_parameter": 1}, {"random_state": "soon"}])
def test_parameters_that_it_does_not_take_are_refused_before_any_data(
    name: str, kind: Kind, params: dict[str, object]
) -> None:
    with pytest.raises(InvalidParams):
        build_estimator(name, kind, params)


@pytest.mark.parametrize(("name", "kind"), [entry for entry in ENTRIES if find_estimator(*entry).space])
def test_what_its_search_space_suggests_it_takes(name: str, kind: Kind) -> None:
    space = find_estimator(name, kind).space
    assert space is not None
    for end in (min, max):
        build_estimator(name, kind, space(Corner(end)))  # type: ignore[arg-type]


class Corner(FixedTrial):
    """A trial that suggests one end of every range."""

    def __init__(self, end: Callable[[float, float], float]) -> None:
        super().__init__({})
        self.end = end

    def suggest_float(self, name: str, low: float, high: float, **_: object) -> float:
        return float(self.end(low, high))

    def suggest_int(self, name: str, low: int, high: int, **_: object) -> int:
        return int(self.end(low, high))


@pytest.mark.parametrize("name", BOOSTERS)
@pytest.mark.parametrize("kind", Kind)
def test_boosters_predict_the_same_with_any_number_of_threads(
    name: str, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, NDArray[np.float64]] = {}
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found[threads] = outputs(build(name, kind).fit(NUMBERS, TRUTHS[kind]), NUMBERS)
    np.testing.assert_allclose(found["1"], found["2"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", BOOSTERS)
@pytest.mark.parametrize("truths", [TRUTHS[Kind.CLASSIFICATION], THREE], ids=["two labels", "three labels"])
def test_boosters_return_each_of_their_steps_and_end_at_the_prediction(name: str, truths: Truths) -> None:
    fitted = build(name, Kind.CLASSIFICATION).fit(NUMBERS, truths)
    steps = list(fitted.staged_predict_proba(NUMBERS))
    assert len(steps) == fitted.n_iter_ == 10
    np.testing.assert_allclose(steps[-1], fitted.predict_proba(NUMBERS), atol=1e-6)
    assert list(list(fitted.staged_predict(NUMBERS))[-1]) == list(fitted.predict(NUMBERS))
    np.testing.assert_allclose(steps[0].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", BOOSTERS)
def test_boosters_return_the_steps_of_a_regression_too(name: str) -> None:
    fitted = build(name, Kind.REGRESSION).fit(NUMBERS, TRUTHS[Kind.REGRESSION])
    *_, last = fitted.staged_predict(NUMBERS)
    np.testing.assert_allclose(last, fitted.predict(NUMBERS), rtol=1e-5)


@pytest.mark.parametrize("name", BOOSTERS)
def test_boosters_take_sparse_numbers_as_texts_give_them(name: str) -> None:
    words = csr_matrix(np.where(NUMBERS > 0.5, NUMBERS, 0))
    fitted = build(name, Kind.CLASSIFICATION).fit(words, THREE)
    assert fitted.predict_proba(words[:1]).shape == (1, 3)
    assert fitted.score(words, THREE) > 0.5


@pytest.mark.parametrize("name", BOOSTERS)
def test_boosters_know_columns_that_are_categories(name: str) -> None:
    """Odd and even codes lie among each other: to tell them apart by numbers, two levels of a tree are not enough."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 8, 2_000)
    truths = np.where(codes % 2, "odd", "even").astype(object)
    if name == "catboost":
        column: Truths = np.array([f"no {code}" for code in codes], dtype=object)
        params: dict[str, object] = {"depth": 2, "one_hot_max_size": 2}
    else:
        column, params = codes.astype(float), {"max_depth": 2, "colsample_bytree": 1, "categorical_features": [1]}
    inputs = np.column_stack([random.normal(size=2_000), column])
    steps = QUICK[name].params
    fitted = build_estimator(name, Kind.CLASSIFICATION, {**steps, **params, "learning_rate": 0.5}).fit(inputs, truths)
    assert fitted.score(inputs, truths) > 0.99
    strange = inputs[:1].copy()
    strange[0, 1] = "never seen" if name == "catboost" else np.nan
    assert fitted.predict_proba(strange).shape == (1, 2)


@pytest.mark.parametrize("name", BOOSTERS)
def test_rare_labels_weigh_as_much_as_common_ones_by_default(name: str) -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=(1_000, 3))
    rare = np.where(numbers[:, 0] + random.normal(size=1_000) > 2, "a rare one", "common").astype(object)
    plain = {"scale_pos_weight": 1} if name == "lightgbm" else {"class_weight": None}
    even, as_they_are = (
        build(name, Kind.CLASSIFICATION, **params).fit(numbers, rare).predict_proba(numbers)[:, 0].mean()
        for params in ({}, plain)
    )
    assert even > as_they_are + 0.05


def test_lightgbm_weighs_the_rarer_label_whether_it_comes_first_or_last() -> None:
    rare = NUMBERS[:, 0] > 1
    for names in (("a rare one", "common"), ("rare", "common")):
        truths = np.where(rare, *names).astype(object)
        low, high = (
            build("lightgbm", Kind.CLASSIFICATION, scale_pos_weight=weight).fit(NUMBERS, truths)
            for weight in (0.2, 20.0)
        )
        place = list(high.classes_).index(names[0])
        assert low.predict_proba(NUMBERS)[:, place].mean() < high.predict_proba(NUMBERS)[:, place].mean()
    with pytest.raises(ValueError, match="two labels"):
        build("lightgbm", Kind.CLASSIFICATION, scale_pos_weight=2.0).fit(NUMBERS, THREE)


@pytest.mark.parametrize("name", BOOSTERS)
def test_a_single_label_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="one label"):
        build(name, Kind.CLASSIFICATION).fit(NUMBERS, np.array(["up"] * ROWS, dtype=object))


def test_the_error_of_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownRecipe, match="boosting, catboost, forest"):
        build_estimator("oracle", Kind.REGRESSION, {})


@pytest.fixture
def needy() -> Iterator[None]:
    @estimator("needy", kinds=[Kind.REGRESSION])
    def build_needy(**_: object) -> BaseEstimator:
        import no_such_library  # type: ignore[import-not-found]

        return no_such_library.Regressor()

    yield
    del estimators._entries["needy", Kind.REGRESSION]


@pytest.mark.usefixtures("needy")
def test_a_missing_library_is_named() -> None:
    with pytest.raises(MissingExtra, match="no_such_library"):
        build_estimator("needy", Kind.REGRESSION, {})
