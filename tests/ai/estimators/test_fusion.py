"""A fusion of two members is better than both, and predicts rows with missing columns."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import skops.io
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline as SamplingPipeline
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from ai_api.datasets import Table, frame
from ai_api.errors import InvalidParams
from ai_api.estimators.fusion import LateFusion, _aside
from ai_api.evaluation.evaluate import predict_table
from ai_api.evaluation.member_gains import gains
from ai_api.features.image import Pixels
from ai_api.images.reference import ImageRef
from ai_api.pipeline import build_pipeline
from ai_api.task import Kind, Recipe, Task
from ai_api.tasks.products import TASK, Product
from tests.ai.support.drawn import plain

pytestmark = pytest.mark.training

COLOURS = {"shirt": "red", "shoe": "blue", "watch": "lime"}
COLUMNS = {"words": ["designation"], "looks": ["image"]}
RED, BLUE = (ImageRef.of_bytes(plain(colour, (6, 8))) for colour in ("red", "blue"))


def rows(count: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray[tuple[int], np.dtype[np.object_]]]:
    """Three kinds. Some titles and images are neutral or of another kind, and some are missing."""
    random = np.random.default_rng(seed)
    kinds = list(COLOURS)
    truths = random.choice(np.array(kinds, dtype=object), count)
    images = {kind: ImageRef.of_bytes(plain(colour, (6, 8))) for kind, colour in (COLOURS | {"": "grey"}).items()}

    def mostly(kind: str, share: float) -> str:
        return str(random.choice([kind, "", *kinds], p=[share, 0.7 - share, 0.1, 0.1, 0.1]))

    lines = [
        {
            "designation": None if random.random() < 0.1 else f"a {mostly(truth, 0.5)} no {place}",
            "description": None,
            "image": None if random.random() < 0.1 else images[mostly(truth, 0.3)],
        }
        for place, truth in enumerate(truths)
    ]
    return frame(lines, Product.modalities()), truths


def member(column: str, features: object) -> Pipeline:
    steps = [("features", ColumnTransformer([("one", features, column)])), ("estimator", LogisticRegression(C=0.1))]
    return Pipeline(steps)


def unfitted(**params: object) -> LateFusion:
    looks = Pipeline([("see", Pixels(2, 2)), ("scale", _scale())])
    members = [("words", member("designation", CountVectorizer())), ("looks", member("image", looks))]
    return LateFusion(members, COLUMNS, **{"share": 0.2, **params})  # type: ignore[arg-type]


def _scale() -> object:
    from sklearn.preprocessing import MaxAbsScaler

    return MaxAbsScaler()


@cache
def fitted() -> LateFusion:
    return unfitted(refit=["words"]).fit(*rows(1_500))


def one(**values: object) -> pd.DataFrame:
    return frame([{name: values.get(name) for name in Product.model_fields}], Product.modalities())


def test_what_it_gains_over_each_member_is_measured_on_the_same_rows() -> None:
    inputs, truths = rows(400, seed=2)
    held_out = Table(inputs.to_dict("records"), truths)
    fused = Pipeline([("estimator", fitted())])
    predictions = predict_table(fused, TASK, held_out)
    found = gains(TASK, fused, held_out, predictions, rounds=100)
    assert {f"over {name}{end}" for name in ("words", "looks") for end in ("", " low", " high")} == found.keys()
    assert 0 < found["over words low"] < found["over words"] < found["over words high"] < found["over looks"]
    assert gains(TASK, fitted().members_["words"], held_out, predictions) == {}


def test_it_is_better_than_each_of_its_members() -> None:
    inputs, truths = rows(1_500, seed=1)
    both = (inputs["designation"] != "").to_numpy() & inputs["image"].notna().to_numpy()
    right = {name: (made.predict(inputs[both]) == truths[both]).mean() for name, made in fitted().members_.items()}
    right["fusion"] = (fitted().predict(inputs[both]) == truths[both]).mean()
    assert right["fusion"] > max(right["words"], right["looks"])
    assert right["words"] > right["looks"]


def test_its_probabilities_are_calibrated() -> None:
    inputs, truths = rows(3_000, seed=2)
    predictions = fitted().predict_proba(inputs)
    np.testing.assert_allclose(predictions.sum(axis=1), 1)
    assert predictions.max(axis=1).mean() == pytest.approx((fitted().predict(inputs) == truths).mean(), abs=0.03)


def test_a_member_has_a_positive_weight_only_for_rows_with_its_columns() -> None:
    assert (fitted().weights_["11"][:2] > 0.1).all()
    assert fitted().weights_["10"][1] == fitted().weights_["01"][0] == 0


def test_the_frequencies_of_labels_are_not_counted_once_per_member() -> None:
    random = np.random.default_rng(0)
    truths = np.where(random.random(4_000) < 0.1, "rare", "common").astype(object)
    signs = np.where(truths == "rare", 1.0, -1.0)[:, None] + random.normal(scale=1.5, size=(4_000, 2))
    inputs = pd.DataFrame(signs, columns=["one", "other"])
    members = [(name, Pipeline([("estimator", LogisticRegression())])) for name in inputs]
    made = LateFusion(members, {name: [name] for name in inputs}).fit(inputs[:3_000], truths[:3_000])
    *weights, frequencies = made.weights_["11"]
    assert weights == pytest.approx([1, 1], abs=0.35)
    assert frequencies == pytest.approx(-1, abs=0.35)
    whole = LogisticRegression().fit(inputs[:3_000], truths[:3_000])
    differences = made.predict_proba(inputs[3_000:]) - whole.predict_proba(inputs[3_000:])
    assert np.abs(differences).mean() < 0.05


def test_it_predicts_also_when_text_or_image_is_missing() -> None:
    def label(**values: object) -> str:
        return str(fitted().predict(one(**values))[0])

    assert label(designation="a shoe") == "shoe"
    assert label(image=RED) == "shirt"
    assert label(designation="a shoe", image=BLUE) == "shoe"
    assert label(designation="  ", image=BLUE) == "shoe"


def test_a_row_without_the_columns_of_any_member_gets_the_frequencies_of_the_labels() -> None:
    _, truths = rows(1_500)
    (probabilities,) = fitted().predict_proba(one(description="only this"))
    assert probabilities == pytest.approx([(truths == label).mean() for label in fitted().classes_])


def test_rows_have_the_same_predictions_alone_and_in_a_batch_with_any_gaps() -> None:
    inputs, _ = rows(60, seed=3)
    alone = np.concatenate([fitted().predict_proba(inputs.iloc[[place]]) for place in range(len(inputs))])
    np.testing.assert_allclose(fitted().predict_proba(inputs), alone, atol=1e-12)


def test_only_the_members_that_are_named_are_fitted_again_on_all_rows() -> None:
    inputs, truths = rows(400)
    plainly, again = unfitted().fit(inputs, truths), unfitted(refit=["words"]).fit(inputs, truths)
    words = [made.members_["words"][-1].coef_ for made in (plainly, again)]
    looks = [made.members_["looks"][-1].coef_ for made in (plainly, again)]
    assert words[0].shape[1] < words[1].shape[1]
    np.testing.assert_array_equal(*looks)
    np.testing.assert_array_equal(plainly.weights_["11"], again.weights_["11"])


def test_a_member_to_refit_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidParams, match="words, looks"):
        unfitted(refit=["numbers"]).fit(*rows(50))


def test_labels_of_a_single_row_and_labels_that_one_member_never_saw_are_known() -> None:
    inputs, truths = rows(400)
    inputs.loc[0, "designation"], truths[0] = "unique thing", "thing"
    inputs.at[0, "image"] = None
    for place in range(1, 40):
        inputs.loc[place, "designation"], truths[place] = "", "glove"
        inputs.at[place, "image"] = ImageRef.of_bytes(plain("black", (6, 8)))
    made = unfitted().fit(inputs, truths)
    assert list(made.classes_) == ["glove", "shirt", "shoe", "thing", "watch"]
    assert made.predict_proba(inputs).shape == (400, 5)
    assert made.predict(one(image=ImageRef.of_bytes(plain("black", (6, 8)))))[0] == "glove"
    assert made.members_["words"].classes_.tolist() == ["shirt", "shoe", "thing", "watch"]
    assert (made.predict_proba(one(designation="unique thing", image=RED)) > 0).all()


def test_rows_with_the_same_title_are_set_aside_together_and_no_label_as_a_whole() -> None:
    titles = [f"title {place // 3}" for place in range(3_000)]
    truths = np.array([f"kind {place // 3 % 40}" for place in range(2_997)] + ["rare"] * 3, dtype=object)
    aside = _aside(pd.DataFrame({"designation": titles}), truths, 0.1, seed=0)
    for title in set(titles):
        assert len(set(aside[[found == title for found in titles]])) == 1
    assert aside.mean() == pytest.approx(0.1, abs=0.03)
    assert not aside[truths == "rare"].any()
    assert all(not aside[truths == label].all() for label in set(truths))


def test_it_is_cloned_fitted_alike_saved_and_loaded_with_the_same_predictions() -> None:
    inputs, truths = rows(300)
    made, again = unfitted().fit(inputs, truths), clone(unfitted()).fit(inputs, truths)
    predictions = made.predict_proba(inputs)
    np.testing.assert_array_equal(predictions, again.predict_proba(inputs))
    saved = skops.io.dumps(made)
    loaded = skops.io.loads(saved, trusted=skops.io.get_untrusted_types(data=saved))
    np.testing.assert_array_equal(predictions, loaded.predict_proba(inputs))


def test_steps_that_change_training_rows_only_are_gone_from_its_members() -> None:
    words = member("designation", CountVectorizer())
    sampling = SamplingPipeline([words.steps[0], ("resample", RandomOverSampler(random_state=0)), words.steps[1]])
    made = LateFusion([("words", sampling)], {"words": ["designation"]}).fit(*rows(200))
    assert type(made.members_["words"]) is Pipeline
    assert [name for name, _ in made.members_["words"].steps] == ["features", "estimator"]


def test_the_device_is_set_on_its_members() -> None:
    made = unfitted()
    made.members = [("words", _with_device())]
    made.columns = {"words": ["designation"]}
    made.set_params(device="cpu").fit(*rows(100))
    assert made.members_["words"].get_params()["encode__device"] == "cpu"


def _with_device() -> Pipeline:
    from ai_api.features.image import Backbone

    class Lengths(Backbone):
        def fit(self, _: object, __: object = None) -> Lengths:
            self.digest_ = ""
            return self

        def transform(self, texts: pd.DataFrame) -> NDArray[np.float32]:
            return np.array([[len(text)] for text in texts["designation"]], dtype=np.float32)

    return Pipeline([("encode", Lengths()), ("estimator", LogisticRegression())])


def test_a_recipe_with_members_makes_one_that_reads_raw_rows() -> None:
    recipe = Recipe(
        "fusion",
        members=(
            Recipe("svm", text="tfidf"),
            Recipe("forest", image="pixels", params={"image__height": 4, "image__width": 3, "n_estimators": 5}),
        ),
        params={"refit": ["tfidf+svm"]},
    )
    inputs, truths = rows(300)
    task = Task("shop", Kind.CLASSIFICATION, Product, "accuracy", 0.01, load=lambda _: None, recipes=(recipe,))  # type: ignore[arg-type,return-value]
    made = build_pipeline(task, recipe, seed=3).fit(inputs, truths)
    assert (made.predict(inputs) == truths).mean() > 0.7
    assert made[-1].columns == {"tfidf+svm": ["designation", "description"], "pixels+forest": ["image"]}
    assert made[-1].random_state == 3
