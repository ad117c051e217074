"""Which modules may import which others, in both packages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]

# One line per layer. A module may import the modules of the lines below, and those in the same string.
LAYERS: dict[str, list[list[str]]] = {
    "ai_api": [
        ["__main__"],
        ["commands"],
        ["main routes"],
        ["http auth"],
        ["results", "jobs"],
        ["training", "serving"],
        ["evaluation tracking", "outbox privacy"],
        ["pipeline", "registry", "data_client"],
        ["tasks", "estimators", "inference"],
        ["features"],
        ["task sources datasets corrections images"],
        ["errors metrics process slices"],
    ],
    "data_api": [
        ["main __main__ commands routes admin"],
        ["http schemas accuracy", "maintenance", "setup", "signing_keys"],
        ["crud", "security keyring"],
        ["models", "tally"],
        ["database"],
        ["errors metrics ids"],
    ],
}
FREE = {"__init__", "settings"}
"""`__init__` holds the version; `settings` has a rule of its own."""
READS_SETTINGS = {"main", "__main__", "commands", "settings"}
ROOTS = {"ai_api": REPOSITORY / "ai-api" / "ai_api", "data_api": REPOSITORY / "data-api" / "data_api"}
PACKAGES = pytest.mark.parametrize("package", sorted(LAYERS))


@PACKAGES
def test_every_module_has_a_layer(package: str) -> None:
    placed = {name for layer in LAYERS[package] for family in layer for name in family.split()}
    present = {source for source, _, _ in imports(package)}
    assert present - placed - FREE == set(), "add these to LAYERS"


@PACKAGES
def test_every_module_in_the_table_exists(package: str) -> None:
    placed = {name for layer in LAYERS[package] for family in layer for name in family.split()}
    present = {source for source, _, _ in imports(package)}
    assert placed - present == set()


@PACKAGES
def test_modules_import_only_from_layers_below(package: str) -> None:
    wrong = [
        f"{path}: {source} imports {target}"
        for source, target, path in imports(package)
        if not FREE & {source, target} and not may_import(package, source, target)
    ]
    assert wrong == []


@PACKAGES
def test_settings_are_imported_by_the_entry_points_only(package: str) -> None:
    wrong = [path for source, target, path in imports(package) if target == "settings" and source not in READS_SETTINGS]
    assert wrong == []


def test_the_services_do_not_import_each_other() -> None:
    for package, other in (("ai_api", "data_api"), ("data_api", "ai_api")):
        for path in ROOTS[package].rglob("*.py"):
            assert not {name for name in imported(ast.parse(path.read_text())) if name.split(".")[0] == other}, path


@pytest.mark.parametrize(
    ("library", "modules"),
    [
        ("procrastinate", {"jobs/database.py", "jobs/worker.py"}),
        (
            "mlflow",
            {"registry/connection.py", "registry/entities.py", "registry/run_log.py", "registry/saving.py"},
        ),
        ("psycopg", {"jobs/database.py", "jobs/store.py", "jobs/lock.py"}),
    ],
)
def test_a_library_is_imported_by_its_modules_only(library: str, modules: set[str]) -> None:
    users = {
        path.relative_to(ROOTS["ai_api"]).as_posix()
        for path in ROOTS["ai_api"].rglob("*.py")
        if any(name.split(".")[0] == library for name in imported(ast.parse(path.read_text())))
    }
    assert users <= modules


def may_import(package: str, source: str, target: str) -> bool:
    depth = {
        name: (number, family)
        for number, layer in enumerate(LAYERS[package])
        for family in layer
        for name in family.split()
    }
    if source == target or source not in depth or target not in depth:
        return True
    return depth[source][0] < depth[target][0] or depth[source] == depth[target]


def imports(package: str) -> Iterator[tuple[str, str, str]]:
    """(module at the top of the package, imported module at its top, path) for every import inside the package."""
    root = ROOTS[package]
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        source = parts[0]
        yield source, source, path.as_posix()
        for name in imported(ast.parse(path.read_text()), (package, *parts[:-1])):
            if name.startswith(f"{package}."):
                yield source, name.split(".")[1], path.relative_to(root).as_posix()


def imported(tree: ast.Module, here: tuple[str, ...] = ()) -> Iterator[str]:
    """Absolute names of everything a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            start = ".".join(chain(base, [node.module] if node.module else []))
            yield start
            yield from (f"{start}.{alias.name}" for alias in node.names)
