"""Finds the tasks: every module of this folder that has a `TASK`."""

from __future__ import annotations

import importlib
import pkgutil

from ai_api.task import Task


def find_tasks() -> dict[str, Task]:
    """All tasks by name."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return {module.TASK.name: module.TASK for module in modules}
