"""One name, one thing: no two public classes or type aliases of a service share a name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
ROOTS = {"ai_api": REPOSITORY / "ai-api" / "ai_api", "data_api": REPOSITORY / "data-api" / "data_api"}


def public_classes(root: Path) -> dict[str, set[str]]:
    """The files, relative to `root`, that define each public class or type alias."""
    files: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(root.rglob("*.py")):
        for name in defined(ast.parse(path.read_text())):
            if not name.startswith("_"):
                files[name].add(path.relative_to(root).as_posix())
    return files


def defined(module: ast.Module) -> Iterator[str]:
    """Classes, wherever in the module, and aliases such as `Rows = list[Row]` at its top."""
    yield from (node.name for node in ast.walk(module) if isinstance(node, ast.ClassDef))
    for node in module.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Subscript)
            and isinstance(target := node.targets[0], ast.Name)
            and not target.id.isupper()
        ):
            yield target.id


@pytest.mark.parametrize("service", sorted(ROOTS))
def test_public_class_names_are_unique_within_a_service(service: str) -> None:
    shared = {name: sorted(files) for name, files in public_classes(ROOTS[service]).items() if len(files) > 1}
    assert shared == {}
