"""Small weights in the real formats and under the real names, for recipes that read public files."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from ai_api.features.text import MINILM
from ai_api.features.torchvision_patch import patch_torchvision

WORDS = ("late", "again", "thanks", "love", "hate", "great", "awful", "happy", "broken", "train", "phone", "today", ",")
ENCODER = "tiny"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


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


def give_encoder(folder: Path, words: Iterable[str] = WORDS) -> Path:
    """Adds ENCODER to a folder of weights: untrained, of two layers, as Hugging Face's hub lays one out."""
    patch_torchvision()
    from transformers import BertConfig, BertModel

    vocabulary = {word: place for place, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    )
    shape: dict[str, Any] = {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 16,
    }
    BertModel(BertConfig(vocab_size=len(vocabulary), hidden_size=32, **shape)).save_pretrained(folder / ENCODER)
    tokenizer.save(str(folder / ENCODER / "tokenizer.json"))
    return folder


def minilm_folder() -> Path:
    """The model that the package carries, in Hugging Face's format."""
    found = importlib.util.find_spec(MINILM)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "model"
