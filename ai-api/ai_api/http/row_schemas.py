"""The rows of the tasks in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from ai_api.task import Modality, Row, Task

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
"""Content types of forms. A row with images takes the second only."""


def request_body(task: Task) -> dict[str, object]:
    """The OpenAPI request body of a task's own call: one row as JSON or as a form."""
    name = task.row.__name__
    forms = {"multipart/form-data": f"{name}Form"} if task.row.columns(Modality.IMAGE) else dict.fromkeys(FORMS, name)
    content = {
        kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}}
        for kind, schema in {"application/json": name, **forms}.items()
    }
    return {"requestBody": {"required": True, "content": content}}


def row_schemas(tasks: Mapping[str, Task]) -> dict[str, dict[str, object]]:
    """The schema of each row by class name, and for rows with images another one of a form with files."""
    rows = list(dict.fromkeys(task.row for task in tasks.values()))
    forms = {f"{row.__name__}Form": form_schema(row) for row in rows if row.columns(Modality.IMAGE)}
    return {row.__name__: row.model_json_schema() for row in rows} | forms


def form_schema(row: type[Row]) -> dict[str, object]:
    """The schema of a row in which images are files."""
    schema = row.model_json_schema()
    for name in row.columns(Modality.IMAGE):
        kept = {key: value for key, value in schema["properties"][name].items() if key in ("title", "description")}
        schema["properties"][name] = {"type": "string", "format": "binary", **kept}
    return schema


def document_rows(app: FastAPI, tasks: Mapping[str, Task]) -> None:
    """Adds the row schemas to the app's OpenAPI document, where each task's own call refers to them."""
    generate, schemas = app.openapi, row_schemas(tasks)

    def with_rows() -> dict[str, Any]:
        document = generate()
        document["components"]["schemas"].update(schemas)
        return document

    app.openapi = with_rows  # type: ignore[method-assign]
