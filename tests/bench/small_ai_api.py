"""`ai-api serve` with models of test size and data-api in memory, for measurements: no MLflow, no data set.

    python -m tests.bench.small_ai_api <folder> <port> <metrics port>

Prints the API key of a user.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import cast

from fastapi import FastAPI

from ai_api import main as ai_api_main
from ai_api.commands.services import serve
from ai_api.registry.registry import Registry
from ai_api.settings import Settings
from tests.ai.support.app import filled_registry, settings_for
from tests.ai.support.data_api import MemoryDataAPI


def main(folder: str, port: str, metrics_port: str) -> None:
    data_api, create_app = MemoryDataAPI(), ai_api_main.create_app
    print(data_api.add_user().key, flush=True)

    def with_small_models(settings: Settings) -> FastAPI:
        return create_app(settings, registry=cast("Registry", filled_registry()), client=data_api.client())

    ai_api_main.create_app = with_small_models  # type: ignore[assignment]
    serve(settings_for(Path(folder), port=int(port), metrics_port=int(metrics_port)), Namespace())


if __name__ == "__main__":
    main(*sys.argv[1:])
