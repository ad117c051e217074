"""Weights in a package are loaded only if every file is the published one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ai_api.errors import ModelRefused
from ai_api.features import weights
from ai_api.features.text import MINILM
from ai_api.features.weights import PUBLISHED, find_model

FILES = {"model.safetensors": b"numbers", "config.json": b"{}", "1_Pooling/config.json": b"{}"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `model` of an installed package whose files are published."""
    name = f"model_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name / "model"
    for file, content in FILES.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    published = {file: hashlib.sha256(content).hexdigest() for file, content in FILES.items()}
    monkeypatch.setitem(PUBLISHED, name, published)
    weights._check.cache_clear()
    return folder


def test_published_weights_are_found_and_read_once_per_process(package: Path) -> None:
    name = package.parent.name
    assert find_model(name) == package
    (package / "model.safetensors").unlink()
    assert find_model(name) == package


@pytest.mark.parametrize(
    ("change", "file"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"other"), "model.safetensors"),
        (lambda folder: (folder / "1_Pooling/config.json").write_bytes(b"[]"), "1_Pooling/config.json"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "pytorch_model.bin").write_bytes(b"pickle"), "pytorch_model.bin"),
        (lambda folder: (folder / "adapter_config.json").symlink_to("nowhere"), "adapter_config.json"),
    ],
    ids=["other weights", "other settings", "a missing file", "another file", "a link"],
)
def test_a_package_with_other_files_is_refused_and_names_them(
    package: Path, change: Callable[[Path], object], file: str
) -> None:
    change(package)
    with pytest.raises(ModelRefused, match=f"not the published ones: {file}. Install it anew"):
        find_model(package.parent.name)


def test_the_package_of_the_default_encoder_holds_the_published_weights() -> None:
    assert find_model(MINILM).name == "model"
    assert "model.safetensors" in PUBLISHED[MINILM]


def test_only_safetensors_are_read_also_beside_another_format() -> None:
    """transformers would read pytorch_model.bin, a pickle, where model.safetensors is missing."""
    for module in ("features/encoder.py", "estimators/bert.py"):
        text = (Path(weights.__file__).parents[1] / module).read_text()
        assert text.count("AutoModel.from_pretrained(") == text.count("use_safetensors=True") == 1, module
