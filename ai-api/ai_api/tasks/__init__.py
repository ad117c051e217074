"""Finds the tasks: every module of this folder that has a `TASK`, and every file of a folder outside the package."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import sys
import traceback
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType

from ai_api.errors import ConfigurationError
from ai_api.task import Task

EARLY, LATE = ("tweets", "housing"), ("products", "fashion")
"""Tasks that train their starters first, and tasks that train them last because images take long."""
NAME = re.compile(r"[a-z][a-z0-9_-]*")


def find_tasks(names: Collection[str] = (), folder: Path | None = None) -> dict[str, Task]:
    """The tasks by name, in the order in which their starters are trained; or only `names`, in their order.

    `folder` holds tasks from outside: a Python file each, with a `TASK`, which may register estimators and features of
    its own. ConfigurationError names the file that cannot be used, or the unknown task.
    """
    found = {task.name: task for task in _own()}
    for path, task in _from_outside(folder) if folder else ():
        if task.name in found:
            raise ConfigurationError(f"{path}: there is a task {task.name!r} already. Give this one another name.")
        found[task.name] = task
    if missing := [name for name in names if name not in found]:
        raise ConfigurationError(f"AI_TASKS names {', '.join(missing)}. There are {', '.join(sorted(found))}.")
    return {name: found[name] for name in names or sorted(found, key=_order)}


def _order(name: str) -> tuple[int, str]:
    if name in EARLY:
        return EARLY.index(name) - len(EARLY), name
    return LATE.index(name) + 1 if name in LATE else 0, name


def _own() -> Iterator[Task]:
    for module in pkgutil.iter_modules(__path__):
        task = getattr(importlib.import_module(f"{__name__}.{module.name}"), "TASK", None)
        if isinstance(task, Task):
            yield task


def _from_outside(folder: Path) -> Iterator[tuple[Path, Task]]:
    if not folder.is_dir():
        raise ConfigurationError(f"AI_TASKS_DIR names {folder}, which is no folder.")
    for path in sorted(folder.glob("*.py")):
        task = getattr(_imported(path), "TASK", None)
        if not isinstance(task, Task):
            raise ConfigurationError(
                f"{path} holds no task: it needs `TASK = Task(…)`, as the files of ai_api/tasks have it."
            )
        if not NAME.fullmatch(task.name):
            raise ConfigurationError(
                f"{path}: the name of a task is made of small letters, digits, - and _, not {task.name!r}."
            )
        yield path, task


def _imported(path: Path) -> ModuleType:
    """The file as a module of this package, so that classes in a saved model are found under the same name."""
    name = f"{__name__}.{path.stem}"
    there = sys.modules.get(name) or importlib.util.find_spec(name)
    if isinstance(there, ModuleType) and there.__file__ == str(path):
        return there
    if there is not None:
        raise ConfigurationError(f"{path}: there is a file {path.name} already. Give this one another name.")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} cannot be imported: its name is none of a Python module.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigurationError(
            f"{path}{_line(error, path)} cannot be used: {type(error).__name__}: {error}"
        ) from error
    return module


def _line(error: Exception, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno},"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}," if lines else ""
