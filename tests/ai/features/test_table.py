"""Features of a table row do not depend on other rows, also with gaps and unknown categories."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone

from ai_api.errors import UnknownRecipe
from ai_api.features import build_features, find_features

NUMBERS, CATEGORIES = ["age", "income"], ["town", "plan"]
TABLE = pd.DataFrame(
    {
        "age": [20.0, 30.0, np.nan, 50.0],
        "income": [1e3, 2e3, 1e6, np.nan],
        "town": np.array(["Ulm", "", "Bern", "Ulm"], dtype=object),
        "plan": np.array(["b", "a", "b", "b"], dtype=object),
    }
)
STRANGE = TABLE.assign(town=np.array(["Rome"] * 4, dtype=object))
PLACES = pd.DataFrame({"Latitude": [37.0, 38.0, 39.0], "Longitude": [-122.0, -121.0, -120.0]})


def transformed(name: str, numbers: list[str], categories: list[str], table: pd.DataFrame = TABLE) -> np.ndarray:
    return np.asarray(build_features("table", name, numbers, categories).fit(table).transform(table))


@pytest.mark.parametrize("name", ["plain", "ordinal", "native"])
def test_numbers_alone_stay_what_they_are_gaps_included(name: str) -> None:
    found = transformed(name, NUMBERS, [])
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, TABLE[NUMBERS].to_numpy())


@pytest.mark.parametrize("name", ["plain", "ordinal", "scaled", "native"])
def test_a_table_of_categories_only_is_accepted(name: str) -> None:
    assert len(transformed(name, [], CATEGORIES)) == len(TABLE)


def test_plain_has_a_column_for_each_name_and_none_for_gaps_and_new_names() -> None:
    fitted = build_features("table", "plain", NUMBERS, CATEGORIES).fit(TABLE)
    np.testing.assert_array_equal(
        fitted.transform(TABLE)[:, 2:], [[0, 1, 0, 1], [0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]]
    )
    np.testing.assert_array_equal(fitted.transform(STRANGE)[:, 2:4], np.zeros((4, 2)))


def test_ordinal_numbers_the_names_and_takes_new_ones_for_gaps() -> None:
    fitted = build_features("table", "ordinal", NUMBERS, CATEGORIES).fit(TABLE)
    np.testing.assert_array_equal(fitted.transform(TABLE)[:, 2:], [[1, 1], [np.nan, 0], [0, 1], [1, 1]])
    assert np.isnan(fitted.transform(STRANGE)[:, 2]).all()


def test_scaled_has_no_gap_and_one_scale() -> None:
    found = transformed("scaled", NUMBERS, CATEGORIES)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, :2].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found[:, :2].std(axis=0), 1)
    assert found[2, 0] == pytest.approx((30 - 32.5) / np.std([20, 30, 30, 50]))


def test_scaled_makes_logarithms_of_long_tails_only() -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"even": random.normal(size=1_000), "tail": random.lognormal(3, 2, 1_000)})
    fitted = build_features("table", "scaled", ["even", "tail"], []).fit(table)
    assert fitted.skewed_.tolist() == [False, True]
    assert fitted.transform(table)[:, 1].max() < 5


def test_scaled_stands_a_column_that_is_empty_or_always_the_same() -> None:
    table = pd.DataFrame({"empty": [np.nan] * 3, "same": [2.0] * 3})
    np.testing.assert_array_equal(transformed("scaled", ["empty", "same"], [], table), np.zeros((3, 2)))


def test_native_keeps_the_names() -> None:
    found = transformed("native", NUMBERS, CATEGORIES)
    assert found.dtype == object
    assert found[0].tolist() == [20.0, 1e3, "Ulm", "b"]
    assert found[1, 2] == ""


def test_geo_rotates_coordinates_and_requires_them() -> None:
    found = transformed("geo", list(PLACES), [], PLACES)
    assert found.shape == (3, 12)
    np.testing.assert_array_equal(found[:, :2], PLACES)
    np.testing.assert_allclose(np.hypot(found[:, 2], found[:, 7]), np.hypot(PLACES.Latitude, PLACES.Longitude))
    with pytest.raises(UnknownRecipe, match="Latitude"):
        build_features("table", "geo", NUMBERS, [])


@pytest.mark.parametrize("name", sorted(find_features("table")))
def test_a_row_is_the_same_alone_and_among_others_and_after_reloading(name: str) -> None:
    table = pd.concat([TABLE.iloc[:3], PLACES], axis=1)
    features = clone(build_features("table", name, [*NUMBERS, *PLACES], CATEGORIES)).fit(table)
    saved = skops.io.dumps(features)
    again = skops.io.loads(saved, trusted=skops.io.get_untrusted_types(data=saved))
    together = features.transform(table)
    for place in range(len(table)):
        pd.testing.assert_frame_equal(
            pd.DataFrame(again.transform(table.iloc[[place]])), pd.DataFrame(together[[place]])
        )
