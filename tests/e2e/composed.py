"""The composed stack as seen from the host: addresses, a key, and what the engine reports about containers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).resolve().parents[2]


class Composed:
    """The stack that `make test-stack` started, which passes ports, secrets and project in the environment."""

    def __init__(self) -> None:
        self.secrets = Path(os.environ["AI_SECRETS_DIR"])
        headers = {"X-API-Key": self.secret("demo_api_key")}
        self.ai = httpx.Client(base_url=self.address("AI_PORT"), headers=headers, timeout=30, trust_env=False)
        self.data = httpx.Client(base_url=self.address("DATA_PORT"), headers=headers, timeout=30, trust_env=False)

    def close(self) -> None:
        self.ai.close()
        self.data.close()

    def address(self, port: str) -> str:
        return f"http://127.0.0.1:{os.environ[port]}"

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text().strip()

    def services(self) -> list[str]:
        """The services that run."""
        return sorted(self._docker("compose", "ps", "--services", "--status", "running").split())

    def inspect(self, service: str) -> dict[str, Any]:
        """The engine's description of a service's container."""
        container = self._docker("compose", "ps", "--quiet", service).split()[0]
        found: list[dict[str, Any]] = json.loads(self._docker("inspect", container))
        return found[0]

    def network(self, name: str) -> dict[str, Any]:
        """The engine's description of one of the stack's networks."""
        found: list[dict[str, Any]] = json.loads(
            self._docker("network", "inspect", f"{os.environ['COMPOSE_PROJECT_NAME']}_{name}")
        )
        return found[0]

    def python(self, service: str, code: str) -> str:
        """The output of a piece of Python inside a container."""
        return self._docker("compose", "exec", "--no-TTY", service, "python3", "-c", code)

    def crash(self, service: str, module: str) -> None:
        """Ends the program of a container by SIGKILL, as in a crash (after `docker kill` it would not be restarted)."""
        self.python(
            service,
            "import os, pathlib\n"
            "for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
            f"    if path.parent.name not in ('1', str(os.getpid())) and b'{module}' in path.read_bytes():\n"
            "        os.kill(int(path.parent.name), 9)\n",
        )

    def _docker(self, *arguments: str) -> str:
        done = subprocess.run(["docker", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"docker {' '.join(arguments[:4])}: {done.stderr}"
        return done.stdout
