"""What loading a pipeline takes: its classes, and the packages that they are from."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

from sklearn.pipeline import Pipeline

from .allowed_types import check_types

ALWAYS = ("scikit-learn", "skops", "numpy", "pandas")


@dataclass(frozen=True)
class Requirements:
    """What loading a pipeline takes: classes to trust beyond skops's own list, and pinned packages to install."""

    types: list[str]
    packages: list[str]


def requirements_of(pipeline: Pipeline) -> Requirements:
    """ModelRefused when the pipeline contains a class that is not allowed."""
    import skops.io

    content = skops.io.dumps(pipeline)
    types = check_types(content)
    modules = {name.rpartition(".")[0] for name in types}
    modules |= {str(value) for name, value in pipeline.get_params().items() if name.endswith("__package")}
    return Requirements(skops.io.get_untrusted_types(data=content), _packages(modules))


def _packages(modules: Iterable[str]) -> list[str]:
    """`name==version` of the packages of these modules, and of those that our own modules among them have imported."""
    own = {name for name in modules if name.startswith("ai_api.")}
    roots = {name.partition(".")[0] for name in modules} | {
        root for name in own for root in _imports(name) if root in sys.modules
    }
    packages = _packages_by_module()
    names = {
        packages[root][0] for root in roots - {"ai_api"} if root in packages and root not in sys.stdlib_module_names
    }
    pinned = {name: version(name).partition("+")[0] for name in sorted({*ALWAYS, *names})}
    return [f"{name}=={number}" for name, number in pinned.items()]


@cache
def _packages_by_module() -> Mapping[str, list[str]]:
    """Package names by the name of their top module. Reads the records of all installed files, so once a process."""
    return packages_distributions()


def _imports(module: str) -> Iterator[str]:
    """The top names of all modules that a module's source imports, inside functions too."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
