"""Small weights in the real formats and under the real names, for recipes that read public files."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ai_api.features.text import MINILM

WORDS = ("late", "again", "thanks", "love", "hate", "great", "awful", "happy", "broken", "train", "phone", "today", ",")


def give_weights(folder: Path, words: Iterable[str] = WORDS) -> Path:
    """Fills a folder to be named by AI_WEIGHTS_DIR: GloVe's file with a few words, and the sentence encoder that a
    package carries in the place of larger ones, which it stands in for.
    """
    random = np.random.default_rng(0)
    lines = [f"{word} {' '.join(f'{number:.5f}' for number in random.normal(size=100))}\n" for word in words]
    (folder / "glove.twitter.27B.100d.txt").write_text("".join(lines))
    (folder / "sentence-transformers").mkdir()
    for name in ("universal-sentence-encoder", "sentence-transformers/all-mpnet-base-v2"):
        (folder / name).symlink_to(minilm_folder(), target_is_directory=True)
    return folder


def minilm_folder() -> Path:
    """The model that the package carries, in Hugging Face's format."""
    found = importlib.util.find_spec(MINILM)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "model"
