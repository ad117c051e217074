"""The classes that a version may be built from: an exact list, checked in the file's schema before anything is loaded.

A skops file is a zip with `schema.json`, a tree of nodes. Each node names a loader of skops and a class. Both are
checked, because some loaders call whatever they are given (`ConstructorFromReduceNode`, `MethodNode`, `PartialNode`).
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from io import BytesIO

from sklearn.base import BaseEstimator

from ai_api.errors import ModelRefused

OUR_CLASSES = frozenset(
    {
        "ai_api.estimators.bert.TransformerClassifier",
        "ai_api.estimators.catboost.CatBoostClassifier",
        "ai_api.estimators.catboost.CatBoostRegressor",
        "ai_api.estimators.cnn.PictureClassifier",
        "ai_api.estimators.fusion.LateFusion",
        "ai_api.estimators.lightgbm.LightGBMClassifier",
        "ai_api.estimators.lightgbm.LightGBMRegressor",
        "ai_api.estimators.svm.LinearSvm",
        "ai_api.estimators.xgboost.XGBoostClassifier",
        "ai_api.estimators.xgboost.XGBoostRegressor",
        "ai_api.features.clean.Clean",
        "ai_api.features.clean.Join",
        "ai_api.features.geo.Turned",
        "ai_api.features.image.Backbone",
        "ai_api.features.image.Pixels",
        "ai_api.features.table.Native",
        "ai_api.features.table.Ordinal",
        "ai_api.features.table.Scaled",
        "ai_api.features.table.TableFeatures",
        "ai_api.features.text.Frequent",
        "ai_api.features.text.SentenceEncoder",
        "ai_api.features.text.Texts",
        "ai_api.features.word_vectors.GloVe",
        "ai_api.features.word_vectors.Word2Vec",
    }
)
"""Our estimators and features, by full name. A new one is added here."""
TASK_FILES = "ai_api.tasks."
"""The package of the task files. A class that one of them defines may be part of a version of its task."""
SCIKIT_LEARN_PARTS = frozenset({"sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"})
"""Parts of scikit-learn's estimators, beyond those that skops lists."""
PROTOCOL = 2
"""skops's format since its release 0.10. Files of older formats have other loaders."""
LARGEST_SCHEMA = 512 * 2**20
"""Bytes of the largest schema that is read."""


@cache
def allowed() -> Mapping[str, frozenset[str]]:
    """The classes by the loader that may build them."""
    from skops.io import _trusted_types as skops_types
    from skops.io._sklearn import ALLOWED_LOSSES

    losses = frozenset(f"{loss.__module__}.{loss.__name__}" for loss in ALLOWED_LOSSES)
    scalars = frozenset(skops_types.NUMPY_DTYPE_TYPE_NAMES) - {"numpy.object_", "numpy.void"}
    return {
        "DictNode": frozenset({"builtins.dict"}),
        "ListNode": frozenset({"builtins.list"}),
        "TupleNode": frozenset({"builtins.tuple"}),
        "SetNode": frozenset({"builtins.set"}),
        "SliceNode": frozenset({"builtins.slice"}),
        "JsonNode": frozenset({"builtins.str"}),
        "BytesNode": frozenset({"builtins.bytes"}),
        "TypeNode": frozenset({"builtins.str", "builtins.int", "builtins.float", "builtins.bool"}) | scalars,
        "NdArrayNode": frozenset({"numpy.ndarray"}) | scalars,
        "RandomGeneratorNode": frozenset({"numpy.random._generator.Generator"}),
        "RandomStateNode": frozenset({"numpy.random.mtrand.RandomState"}),
        "SparseMatrixNode": frozenset({"scipy.sparse._csr.csr_matrix", "scipy.sparse._csr.csr_array"}),
        "TreeNode": frozenset({"sklearn.tree._tree.Tree"}),
        "LossNode": losses,
        # Versions of earlier releases name it as a preprocessor: it maps one text to another, and nothing else.
        "FunctionNode": frozenset({"ai_api.datasets.normalise"}),
        "ObjectNode": OUR_CLASSES
        | SCIKIT_LEARN_PARTS
        | frozenset(skops_types.SKLEARN_ESTIMATOR_TYPE_NAMES)
        | frozenset(skops_types.SKLEARN_INTERNAL_TYPE_NAMES),
    }


def check_types(content: bytes) -> list[str]:
    """The full names of all classes in a skops file, sorted; ModelRefused names each that is not allowed.

    Nothing of the file is built and no module is imported by it.
    """
    nodes = set(_nodes(_schema(content)))
    refused = sorted(
        {
            name if loader in allowed() else f"{name} by {loader}"
            for loader, name in nodes
            if not _is_allowed(loader, name)
        }
    )
    if refused:
        raise ModelRefused(
            f"A version may not contain {', '.join(refused)}. An estimator or feature of your own is allowed when its"
            " class is defined in its task's file; one of Volant's is listed in registry/allowed_types.py."
        )
    return sorted({name for _, name in nodes})


def _is_allowed(loader: str, name: str) -> bool:
    return name in allowed().get(loader, ()) or (loader == "ObjectNode" and _is_of_task_file(name))


def _is_of_task_file(name: str) -> bool:
    """Whether a task file that this process has imported defines the class, as an estimator or a feature."""
    module, _, attribute = name.rpartition(".")
    found = getattr(sys.modules.get(module), attribute, None) if module.startswith(TASK_FILES) else None
    return isinstance(found, type) and found.__module__ == module and issubclass(found, BaseEstimator)


def _schema(content: bytes) -> dict[str, object]:
    """The tree of nodes of a skops file; ModelRefused when it cannot be read as one."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as file:
            if file.getinfo("schema.json").file_size > LARGEST_SCHEMA:
                raise ModelRefused("The schema of its model.skops is too large.")
            schema = json.loads(file.read("schema.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RecursionError, OSError) as error:
        raise ModelRefused("Its model.skops is not a file of skops.") from error
    if not isinstance(schema, dict) or schema.get("protocol") != PROTOCOL:
        raise ModelRefused(f"Its model.skops is not in the format {PROTOCOL} of skops.")
    return schema


def _nodes(schema: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Loader and full class name of every node, at any depth."""
    left: list[object] = [schema]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            left.extend(value.values())
            if value.keys() & {"__loader__", "__class__", "__module__"}:
                yield str(value.get("__loader__")), f"{value.get('__module__')}.{value.get('__class__')}"
