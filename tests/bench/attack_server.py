"""The ai-api that attack_capacity.py attacks: the real app on uvicorn, with data-api and the registry in memory.

    python -P tests/bench/attack_server.py FOLDER SECRETS QUEUE_PORT

Prints a line of JSON with its port and the keys of its callers, and runs until it is ended. Which code it runs is
decided by PYTHONPATH, so an older checkout can be measured too.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import cast

import uvicorn

from ai_api.main import create_app
from ai_api.registry.registry import Registry
from ai_api.task import Recipe
from scripts.dev.ports import free_port
from tests.ai.support.app import filled_registry, settings_for
from tests.ai.support.data_api import MemoryDataAPI
from tests.ai.support.models import small_model


def main(folder: Path, secrets: Path, queue_port: int) -> None:
    """Serves tweets with a sentence encoder, and housing and products with small models."""
    data_api, port = MemoryDataAPI(), free_port()
    keys = {name: data_api.add_user("trainer" if name == "trainer" else "user").key for name in CALLERS}
    registry = filled_registry()
    registry.add(small_model("tweets", Recipe("logreg", text="minilm"), 9), champion=True)
    settings = settings_for(folder, secrets_dir=secrets, queue_port=queue_port)
    app = create_app(settings, registry=cast("Registry", registry), client=data_api.client())

    def announce() -> None:
        while not (server.started and all(map(app.state.context.loader.serving, app.state.context.loader.tasks))):
            time.sleep(0.05)
        print(json.dumps({"url": f"http://127.0.0.1:{port}", **keys}), flush=True)

    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False))
    threading.Thread(target=announce, daemon=True).start()
    server.run()


CALLERS = ("attacker", "innocent", "trainer")

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
