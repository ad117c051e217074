"""README and the pages of docs/ agree with the code: what they name exists, and what exists is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from fastapi import FastAPI

import ai_api.main
import data_api.main
from ai_api.__main__ import COMMANDS
from ai_api.__main__ import main as ai_command
from ai_api.datasets import Table, frame
from ai_api.estimators import find_estimators
from ai_api.evaluation.metrics import METRICS
from ai_api.features import find_features
from ai_api.features.sampling import SAMPLERS
from ai_api.pipeline import build_pipeline
from ai_api.settings import Settings as AISettings
from ai_api.sources import Source
from ai_api.task import Recipe, Task
from ai_api.tasks import find_tasks
from data_api.__main__ import main as data_command
from data_api.settings import Settings as DataSettings
from scripts.settings_table import with_table
from tests.platform.code.test_imports import LAYERS, ROOTS

REPOSITORY = Path(__file__).resolve().parents[3]
DOCS = sorted((REPOSITORY / "docs").glob("*.md"))
PAGES = [*(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "data-api/README.md")), *DOCS]
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
MAKEFILE = (REPOSITORY / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"\.?[\w-][\w.-]*(/[\w.-]+)*/?")
SHELL = ("sh", "bash", "console")
CODE = (".py", ".sh", ".md", ".yml", ".toml", ".ini", ".txt")
NOT_CODE = {".git", ".venv", "node_modules", "__pycache__"}
PACKAGES = tuple(ROOTS)
STATE = ("data/", "secrets/", "backups/", "mlruns/", "tombstones/", "docker-compose.digests.yml")
"""Folders and files that a running Volant or `make` writes."""


def text(name: str) -> str:
    return (REPOSITORY / name).read_text()


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", page.read_text())


@cache
def files() -> frozenset[str]:
    """Every file and folder of the repository, relative to its root."""
    found = set()
    for folder, folders, names in os.walk(REPOSITORY):
        folders[:] = [name for name in folders if name not in NOT_CODE]
        found |= {(Path(folder) / name).relative_to(REPOSITORY).as_posix() for name in [*folders, *names]}
    return frozenset(found)


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)}


def named(page: str, names: set[str]) -> set[str]:
    """Which of the names the page does not have in backticks."""
    return names - set(INLINE.findall(FENCE.sub("", text(page))))


def test_readme_is_at_most_200_lines() -> None:
    assert len(text("README.md").splitlines()) <= 200


@PAGE
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
            broken.append(link)
    assert broken == []


@PAGE
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    roots = ["", *(f"{root.relative_to(REPOSITORY).as_posix()}/" for root in ROOTS.values())]
    missing = []
    code = "\n".join(block for kind, block in FENCE.findall(page.read_text()) if kind in SHELL)
    for name in [
        *INLINE.findall(prose(page)),
        *re.findall(r"(?<![\w./])(?:tests|scripts|docs|data-api)/[\w./-]+", code),
    ]:
        if FILE.fullmatch(name) and is_file_name(name) and not name.startswith(STATE):
            path = name.rstrip("/")
            here = any(f"{root}{path}" in files() for root in roots)
            if not here and ("/" in name or not any(found.endswith(f"/{name}") for found in files())):
                missing.append(name)
    assert missing == []


def is_file_name(name: str) -> bool:
    """Whether a word in backticks names a file or folder of the repository."""
    tops = {path.partition("/")[0] for path in files()}
    modules = {path.name for root in ROOTS.values() for path in root.iterdir() if path.is_dir()}
    first, slash, _ = name.partition("/")
    return name.endswith(CODE) or bool(slash and first in tops | modules)


@PAGE
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    blocks = [block for kind, block in FENCE.findall(page.read_text()) if kind in SHELL]
    lines = [line for block in blocks for line in block.splitlines()] + INLINE.findall(prose(page))
    targets = {found[1] for line in lines if (found := re.match(r"(?:\w+=\S+ )*make ([a-z][a-z-]*)", line))}
    assert targets - TARGETS == set()


def test_every_make_target_is_documented() -> None:
    pages = "\n".join(page.read_text() for page in PAGES)
    offered = set(re.findall(r"^([a-z][a-z-]*):.*## ", MAKEFILE, re.MULTILINE)) - {"help"}
    assert {target for target in offered if not re.search(rf"make {target}\b(?!-)", pages)} == set()


@PAGE
def test_every_shell_block_is_valid_bash(page: Path) -> None:
    for kind, block in FENCE.findall(page.read_text()):
        if kind in SHELL:
            subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_the_settings_tables_are_those_of_the_settings_classes() -> None:
    page = text("docs/settings.md")
    assert with_table(page) == page, "run: python -m scripts.settings_table"


def test_every_secret_is_listed() -> None:
    script = next(path for path in files() if path.startswith("scripts/") and path.endswith("secrets.sh"))
    names = subprocess.run(["sh", script, "--names"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert named("docs/settings.md", set(names.split())) == set()


@pytest.mark.parametrize("package", sorted(ROOTS))
def test_every_prometheus_metric_is_listed(package: str) -> None:
    names = set(re.findall(r'"(volant_\w+)"', (ROOTS[package] / "metrics.py").read_text()))
    assert names
    assert named("docs/operations.md", names) == set()


def test_no_metric_is_listed_that_does_not_exist() -> None:
    sources = "".join((root / "metrics.py").read_text() for root in ROOTS.values())
    listed = set(re.findall(r"`(volant_\w+)`", text("docs/operations.md"))) - {"volant_app", "volant_public"}
    assert {name for name in listed if f'"{name}"' not in sources} == set()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    script = next(path for path in files() if path.startswith("scripts/") and path.endswith("secrets.sh"))
    subprocess.run(["sh", script, str(folder)], cwd=REPOSITORY, check=True)
    return folder


def calls(app: FastAPI) -> Iterator[tuple[str, str]]:
    for path, methods in app.openapi()["paths"].items():
        yield from ((method.upper(), path) for method in methods)


@pytest.mark.parametrize("service", ["ai-api", "data-api"])
def test_every_call_is_listed_and_no_other(service: str, secrets: Path) -> None:
    if service == "ai-api":
        app = ai_api.main.create_app(AISettings(secrets_dir=secrets))
    else:
        app = data_api.main.create_app(DataSettings(secrets_dir=secrets))
    task_call = re.compile(r"/predict/[^/{}]+")  # one per task in the document, one line in the page
    exist = {(method, task_call.sub("/predict/{task}", path)) for method, path in calls(app)}
    part = text("docs/calls.md").partition(f"## Calls of {service}")[2].partition("\n## ")[0]
    listed = {(method, path) for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) ([^`]+)`", part)}
    assert {call for call in exist if call not in listed} == set()
    assert {call for call in listed if call not in exist} == set()


def test_every_error_that_a_caller_can_get_is_listed() -> None:
    tables = [vars(module).get("STATUS", {}) for name, module in sys.modules.items() if name.startswith(PACKAGES)]
    statuses = {error.__name__: code for table in tables for error, code in table.items()}
    assert len(statuses) > 40
    assert named("docs/calls.md", {name for name, code in statuses.items() if code != 500}) == set()


def test_every_command_of_ai_api_is_listed() -> None:
    page = text("docs/tasks.md")
    assert {name for name in COMMANDS if f"`ai-api {name}" not in page} == set()


def test_every_command_of_data_api_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    commands = set()
    for name in choices(capsys, data_command, []):
        inner = choices(capsys, data_command, [name])
        commands |= {f"{name} {second}" for second in inner} or {name}
    assert len(commands) >= 6
    assert {name for name in commands if f"`data-api {name}" not in text("docs/operations.md")} == set()


def choices(capsys: pytest.CaptureFixture[str], main: object, arguments: list[str]) -> list[str]:
    """The subcommands that the help of a command names."""
    assert callable(main)
    with pytest.raises(SystemExit):
        main([*arguments, "--help"])
    found = re.search(r"^\s+\{([\w,-]+)\}", capsys.readouterr().out, re.MULTILINE)
    return found[1].split(",") if found else []


def test_the_help_of_ai_api_names_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ai_command(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("task", list(find_tasks().values()), ids=lambda task: task.name)
def test_the_row_of_a_task_has_its_metric_and_margin_and_its_recipes_are_listed(task: Task) -> None:
    [row] = re.findall(rf"^\| `{task.name}` \|.*\| {task.margin} \|$", text("docs/tasks.md"), re.MULTILINE)
    assert f"| `{task.metric}` |" in row
    [line] = [line for line in recipe_lines() if f"`{task.name}`" in line.split("|")[1]]
    listed = dict.fromkeys(re.findall(r"`([^`]+)`", line.split("|")[2]))
    assert set(listed) == {recipe.name for recipe in task.recipes}
    assert set(re.findall(r"\*\*`([^`]+)`\*\*", line)) == {r.name for r in task.recipes if r.is_default}


def recipe_lines() -> list[str]:
    part = text("docs/tasks.md").partition("\n## Recipes")[2].partition("\n## ")[0]
    return [line for line in part.splitlines() if line.startswith("| `")]


def test_every_estimator_is_listed() -> None:
    """Those of ai-api; a task file, which other tests may have read, brings its own."""
    every = find_estimators().items()
    ours = {name for (name, _), entry in every if entry.build.__module__.startswith("ai_api.estimators.")}
    assert len(ours) > 5
    assert named("docs/tasks.md", ours) == set()


def test_every_feature_is_listed() -> None:
    assert named("docs/tasks.md", {*find_features("text"), *find_features("image"), *find_features("table")}) == set()


def test_every_sampler_is_listed() -> None:
    assert named("docs/tasks.md", {name for step in SAMPLERS.values() for name in step}) == set()


def test_every_evaluation_metric_is_listed() -> None:
    assert named("docs/tasks.md", set(METRICS)) == set()


@pytest.mark.parametrize("cls", [Task, Recipe, Table])
def test_every_field_of_a_task_file_is_explained(cls: type) -> None:
    computed = {"hashes", "sides"}
    assert named("docs/tasks.md", {field.name for field in fields(cls)} - computed) == set()


def python_blocks(page: str) -> list[str]:
    return [block for kind, block in FENCE.findall(text(page)) if kind == "python"]


def test_the_task_file_of_the_docs_can_be_trained(tmp_path: Path) -> None:
    (tmp_path / "printed_wine.py").write_text(python_blocks("docs/tasks.md")[0])
    task = find_tasks(["wine"], tmp_path)["wine"]
    table = task.load(Source(raw=tmp_path))
    pipeline = build_pipeline(task, task.recipe("logreg")).fit(frame(table.rows, task.row.modalities()), table.truths)
    assert set(pipeline.classes_) == set(table.truths)


def test_the_estimator_of_the_docs_can_be_registered_and_built(monkeypatch: pytest.MonkeyPatch) -> None:
    known = find_estimators()
    assert isinstance(known, dict)
    before = dict(known)
    exec(python_blocks("docs/tasks.md")[1], {})
    added = {name for name, _ in set(known) - set(before)}
    known.clear()
    known.update(before)
    assert added <= {"naive-bayes"}


@pytest.mark.parametrize("package", sorted(LAYERS))
def test_the_table_of_layers_is_that_of_the_import_test(package: str) -> None:
    shown = text("docs/architecture.md").partition("<!-- layers -->")[2].partition("<!-- /layers -->")[0]
    lines = [" | ".join(" ".join(family.split()) for family in layer) for layer in LAYERS[package]]
    expected = "\n".join([package, *(f"    {line}" for line in lines)])
    assert expected in shown, f"docs/architecture.md must show:\n{expected}"


def test_the_terms_of_the_glossary_are_sorted_and_unique() -> None:
    terms = [line.split("|")[1].strip() for line in text("docs/glossary.md").splitlines() if line.startswith("| ")][1:]
    assert len(terms) > 50
    assert [term for term, count in Counter(map(str.casefold, terms)).items() if count > 1] == []
    assert terms == sorted(terms, key=str.casefold)


def test_the_licence_is_the_text_of_apache_2() -> None:
    assert "Apache License" in text("LICENSE")
    assert "END OF TERMS AND CONDITIONS" in text("LICENSE")
    assert text("NOTICE").endswith("Copyright 2026 The Volant authors\n")


def test_each_promise_of_security_names_a_test_that_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)?(?:::)?(test_\w+)?`", text("docs/security.md"))
    file, missing = "", []
    for path, test in named:
        file = path or file
        if test and f"def {test}(" not in text(file):
            missing.append(f"{file}::{test}")
    assert len(named) > 60
    assert missing == []
