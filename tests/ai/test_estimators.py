"""One contract for every estimator that is registered, and for what a pipeline makes of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor

from ai_api import estimators
from ai_api.errors import InvalidParams, MissingExtra, UnknownRecipe
from ai_api.estimators import build_estimator, estimator, find_estimators
from ai_api.task import Kind

ENTRIES = sorted(find_estimators())
QUICK: dict[str, dict[str, object]] = {"boosting": {"max_iter": 10}, "forest": {"n_estimators": 5}}
RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(120, 4))
TRUTHS = {
    Kind.CLASSIFICATION: np.where(INPUTS[:, 0] > 0, "up", "down").astype(object),
    Kind.REGRESSION: INPUTS[:, 0] + RANDOM.normal(scale=0.1, size=120),
}


def build(name: str, kind: Kind, seed: int = 0) -> BaseEstimator:
    return build_estimator(name, kind, QUICK.get(name, {}), seed)


@pytest.mark.parametrize(("name", "kind"), ENTRIES)
def test_it_is_of_its_kind_and_says_what_it_is(name: str, kind: Kind) -> None:
    assert (is_classifier if kind is Kind.CLASSIFICATION else is_regressor)(build(name, kind))
    assert find_estimators()[name, kind].__doc__


@pytest.mark.parametrize(("name", "kind"), ENTRIES)
def test_it_clones_fits_is_saved_and_answers_the_same_after_reloading(name: str, kind: Kind) -> None:
    fitted = clone(build(name, kind)).fit(INPUTS, TRUTHS[kind])
    saved = skops.io.dumps(fitted)
    again = skops.io.loads(saved, trusted=skops.io.get_untrusted_types(data=saved))
    np.testing.assert_array_equal(again.predict(INPUTS), fitted.predict(INPUTS))
    if kind is Kind.CLASSIFICATION:
        assert again.predict_proba(INPUTS).shape == (120, 2)


@pytest.mark.parametrize(("name", "kind"), ENTRIES)
def test_the_same_seed_gives_the_same_answers(name: str, kind: Kind) -> None:
    one, other = (build(name, kind, seed=7).fit(INPUTS, TRUTHS[kind]).predict(INPUTS) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("name", "kind"), ENTRIES)
@pytest.mark.parametrize("params", [{"no_such_parameter": 1}, {"random_state": "soon"}])
def test_parameters_that_it_does_not_take_are_refused_before_any_data(
    name: str, kind: Kind, params: dict[str, object]
) -> None:
    with pytest.raises(InvalidParams):
        build_estimator(name, kind, params)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownRecipe, match="boosting, forest"):
        build_estimator("oracle", Kind.REGRESSION, {})


@pytest.fixture
def needy() -> Iterator[None]:
    @estimator("needy", kinds=[Kind.REGRESSION])
    def build_needy(**_: object) -> BaseEstimator:
        import no_such_library  # type: ignore[import-not-found]

        return no_such_library.Regressor()

    yield
    del estimators._builds["needy", Kind.REGRESSION]


@pytest.mark.usefixtures("needy")
def test_a_missing_library_is_named() -> None:
    with pytest.raises(MissingExtra, match="no_such_library"):
        build_estimator("needy", Kind.REGRESSION, {})
