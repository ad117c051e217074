"""The ai-api that attack_capacity.py attacks: the real app on uvicorn, with data-api and the registry in memory.

    python -P tests/bench/attack_server.py FOLDER SECRETS QUEUE_PORT

Prints a line of JSON with its port and the keys of its callers, and runs until it is ended. Which code it runs is
decided by PYTHONPATH, so an older checkout can be measured too.
"""

from __future__ import annotations

import json
import sys
import threading
from argparse import Namespace
from pathlib import Path
from typing import cast

import httpx
from fastapi import FastAPI

from ai_api import main as ai_api_main
from ai_api.commands.services import serve
from ai_api.registry.registry import Registry
from ai_api.settings import Settings
from ai_api.task import Recipe
from scripts.dev.ports import free_port
from tests.ai.support.app import filled_registry, settings_for
from tests.ai.support.data_api import MemoryDataAPI
from tests.ai.support.models import small_model
from tests.waiting import until


def main(folder: Path, secrets: Path, queue_port: int) -> None:
    """Serves tweets with a sentence encoder, and housing and products with small models."""
    data_api, create_app, port = MemoryDataAPI(), ai_api_main.create_app, free_port()
    keys = {name: data_api.add_user("trainer" if name == "trainer" else "user").key for name in CALLERS}
    registry = filled_registry()
    registry.add(small_model("tweets", Recipe("logreg", text="minilm"), 9), champion=True)

    def with_small_models(settings: Settings) -> FastAPI:
        return create_app(settings, registry=cast("Registry", registry), client=data_api.client())

    def announce() -> None:
        until(lambda: is_ready(f"http://127.0.0.1:{port}/health/ready"), "ai-api to be ready", 120)
        print(json.dumps({"url": f"http://127.0.0.1:{port}", **keys}), flush=True)

    ai_api_main.create_app = with_small_models  # type: ignore[assignment]
    threading.Thread(target=announce, daemon=True).start()
    addresses = {"port": port, "metrics_port": free_port()}
    serve(settings_for(folder, secrets_dir=secrets, queue_port=queue_port, **addresses), Namespace())


def is_ready(url: str) -> bool:
    """Whether every champion serves."""
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


CALLERS = ("attacker", "innocent", "trainer")

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
