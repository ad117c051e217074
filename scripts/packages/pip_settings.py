"""What pip is configured to do on this machine, as the environment variables of uv, which does not read it itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterable, Mapping

LINE = re.compile(r"^(?P<section>[\w:-]+)\.(?P<name>[\w-]+)=(?P<value>.+)$")
SECTIONS = ("global", "install", ":env:")
"""Sections of pip's configuration that hold for `pip install`, the strongest last."""
FLAGS = {"no-index": "UV_NO_INDEX", "no-cache-dir": "UV_NO_CACHE", "pre": "UV_PRERELEASE"}
WORDS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "proxy": "ALL_PROXY",
}
"""Options of pip by the variable of uv; several words are parted by spaces in both."""


def uv_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for uv: `environment`, whose UV_… variables win, and pip's settings under uv's names.

    Of several indexes the best version counts, as pip does it; certificates of the system are trusted.
    """
    options = parsed(pip_config(environment))
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_SYSTEM_CERTS": "1", "UV_NO_PROGRESS": "1"}
    found |= {variable: options[name] for name, variable in WORDS.items() if options.get(name)}
    if links := options.get("find-links"):
        found["UV_FIND_LINKS"] = ",".join(links.split())
    for name, variable in FLAGS.items():
        if options.get(name, "").lower() in ("1", "true", "yes", "on"):
            found[variable] = "allow" if name == "pre" else "1"
    return found | dict(environment)


def pip_config(environment: Mapping[str, str]) -> list[str]:
    """The lines of `pip config list`: configuration files and PIP_… variables, each value as a Python string."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def parsed(lines: Iterable[str]) -> dict[str, str]:
    """Options by name; words of a list are parted by one space."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for match in filter(None, map(LINE.match, lines)):
        if match["section"] in found:
            found[match["section"]][match["name"]] = " ".join(str(literal_eval(match["value"])).split())
    return {name: value for section in SECTIONS for name, value in found[section].items()}
