"""Task and recipe make a pipeline, from a frame of raw rows to answers: training and serving cannot disagree.

    augment ─▶ features ─▶ resample ─▶ estimator
               text:  join ─▶ clean ─▶ encode
               image_<column>
               table: numbers and categories

`augment` and `resample` change the training rows only, and are gone from what is saved and served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from .errors import InvalidParams, UnknownRecipe
from .estimators import Space, build_estimator, find_estimator
from .features import build_features
from .features.clean import Clean, Join
from .features.sampling import build_sampler
from .task import Modality, Recipe, Task

TRAINING_STEPS = ("augment", "resample")
MOST_TRIALS = 1_000
"""Of one search: more would outlast the longest job."""
PREFIXES = {"clean": "features__text__clean", "text": "features__text__encode", "table": "features__table"}


def build_pipeline(task: Task, recipe: Recipe, seed: int = 0) -> Pipeline:
    """The recipe's pipeline, unfitted. Parameters go to the estimator, or by prefix to a step: `clean__`, `text__`,
    `image__`, `table__`, `augment__`, `resample__`.

    UnknownRecipe, InvalidParams or MissingExtra come from here, before any data is read.
    """
    own, of_steps = _sorted_params(task, recipe)
    if recipe.members:
        return Pipeline([("estimator", _fusion(task, recipe, own, seed))])
    last = build_estimator(recipe.estimator, task.kind, own, seed)
    samplers = {
        step: build_sampler(step, name, seed)
        for step, name in (("augment", recipe.augment), ("resample", recipe.resample))
        if name
    }
    steps = [
        *([("augment", samplers["augment"])] if recipe.augment else []),
        ("features", _features(task, recipe)),
        *([("resample", samplers["resample"])] if recipe.resample else []),
        ("estimator", last),
    ]
    pipeline = _pipeline(steps, has_samplers=bool(samplers))
    try:
        return pipeline.set_params(**of_steps)
    except ValueError as error:
        raise InvalidParams(f"{recipe.name}: {str(error).partition(' Valid ')[0]}") from error


def for_serving(pipeline: Pipeline) -> Pipeline:
    """The fitted pipeline without the steps that change training rows."""
    return Pipeline([(name, step) for name, step in pipeline.steps if name not in TRAINING_STEPS])


def check_params(task: Task, recipe: Recipe, params: Mapping[str, object]) -> tuple[Recipe, int]:
    """The recipe with these parameters, and the seed that stands among them; so may `tune`, the trials of a search.

    InvalidParams when one does not fit.
    """
    seed = _whole(params.get("seed", 0), "seed", 2**32 - 1)
    tune = _whole(params.get("tune", recipe.tune), "tune", MOST_TRIALS)
    chosen = recipe.with_params({name: value for name, value in params.items() if name not in ("seed", "tune")})
    if tune:
        space_of(task, recipe)
    build_pipeline(task, chosen, seed)
    return replace(chosen, tune=tune), seed


def space_of(task: Task, recipe: Recipe) -> Space:
    """Where the parameters of a recipe's estimator are looked for; InvalidParams when nobody has said."""
    space = find_estimator(recipe.estimator, task.kind).space
    if space is None:
        raise InvalidParams(f"{recipe.name} cannot be tuned: {recipe.estimator} has no search space.")
    return space


def _whole(value: object, name: str, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidParams(f"{name} must be a whole number from 0 to {most}.")
    return value


def columns_of(task: Task, recipe: Recipe) -> list[str]:
    """The columns that a recipe reads."""
    if recipe.members:
        return list(dict.fromkeys(column for member in recipe.members for column in columns_of(task, member)))
    wanted = [
        *([Modality.TEXT] if recipe.text else []),
        *([Modality.IMAGE] if recipe.image else []),
        *([] if (recipe.text or recipe.image) and not recipe.table else [Modality.NUMBER, Modality.CATEGORY]),
    ]
    return task.row.columns(*wanted)


def _features(task: Task, recipe: Recipe) -> ColumnTransformer:
    reads = set(columns_of(task, recipe))
    texts, images, numbers, categories = (
        [name for name in task.row.columns(modality) if name in reads]
        for modality in (Modality.TEXT, Modality.IMAGE, Modality.NUMBER, Modality.CATEGORY)
    )
    parts: list[tuple[str, BaseEstimator, str | list[str]]] = []
    if recipe.text and texts:
        encode = build_features("text", recipe.text)
        parts.append(("text", Pipeline([("join", Join()), ("clean", Clean()), ("encode", encode)]), texts))
    if recipe.image:
        parts += [(f"image_{name}", build_features("image", recipe.image), name) for name in images]
    if numbers or categories:
        table = recipe.table or find_estimator(recipe.estimator, task.kind).table
        parts.append(("table", build_features("table", table, numbers, categories), numbers + categories))
    if not parts or (recipe.text and not texts) or (recipe.image and not images):
        raise UnknownRecipe(
            f"{recipe.name} does not fit the rows of {task.name}: text features need a text, image features an image,"
            " and all others numbers or categories."
        )
    return ColumnTransformer(parts)


def _fusion(task: Task, recipe: Recipe, params: Mapping[str, object], seed: int) -> BaseEstimator:
    members = [(member.name, build_pipeline(task, member, seed)) for member in recipe.members]
    columns = {member.name: columns_of(task, member) for member in recipe.members}
    return build_estimator(recipe.estimator, task.kind, {"members": members, "columns": columns, **params}, seed)


def _sorted_params(task: Task, recipe: Recipe) -> tuple[dict[str, object], dict[str, object]]:
    """The estimator's own parameters, and those of the other steps by their place in the pipeline."""
    own: dict[str, object] = {}
    others: dict[str, object] = {}
    for name, value in recipe.params.items():
        step, _, rest = name.partition("__")
        if step == "image" and rest:
            others.update({f"features__image_{c}__{rest}": value for c in task.row.columns(Modality.IMAGE)})
        elif rest and (step in PREFIXES or step in TRAINING_STEPS):
            others[f"{PREFIXES.get(step, step)}__{rest}"] = value
        else:
            own[name] = value
    return own, others


def _pipeline(steps: list[tuple[str, BaseEstimator]], *, has_samplers: bool) -> Pipeline:
    if not has_samplers:
        return Pipeline(steps)
    from imblearn.pipeline import Pipeline as SamplingPipeline

    return SamplingPipeline(steps)
