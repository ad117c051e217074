"""GET /docs: Swagger UI over the OpenAPI document. Its files come from a package, so the page needs no other host."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from ai_api.errors import ConfigurationError

PACKAGE = "fastapi_swagger"
"""Carries the files of Swagger UI. None of its code is run."""
FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
START = """
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Volant ai-api</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
KEPT = {"Cache-Control": "max-age=3600"}


def add_docs(app: FastAPI) -> None:
    """Adds the page and its files. They take no credentials and are in no limit of requests."""
    folder = files_folder()

    async def page(_: Request) -> Response:
        return HTMLResponse(PAGE, headers=HEADERS)

    async def start(_: Request) -> Response:
        return Response(START, media_type="text/javascript", headers=KEPT)

    async def file(_: Request, name: str) -> Response:
        return FileResponse(folder / name, headers=KEPT)

    app.add_route("/docs", page, include_in_schema=False)
    app.add_route("/docs/start.js", start, include_in_schema=False)
    for name in FILES:
        app.add_route(f"/docs/{name}", partial(file, name=name), include_in_schema=False)


def files_folder() -> Path:
    """The folder with the files of Swagger UI; ConfigurationError when the package is not installed."""
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ConfigurationError("The package fastapi-swagger is not installed: `make venv` installs all packages.")
    return Path(package.origin).parent / "resources"
