"""Sentence vectors of pretrained models, each in memory once: transformers as Hugging Face's hub keeps them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ai_api.errors import MissingExtra, MissingWeights
from ai_api.task import MAX_TOKENS

from .bert_rows import BertRows, is_plain_bert
from .tensors import Block, batches, blocks, find_device, on_one_thread_each, padded, threads
from .torchvision_patch import patch_torchvision
from .use import FETCH, SavedModel
from .weights import digest, find_model, find_weights

if TYPE_CHECKING:
    import torch

USE = "universal-sentence-encoder"
POOLINGS = ("cls", "mean", "max")
PART_ROWS = 32
"""Most rows that one thread takes through the layers together. Fewer rows are divided among the threads."""


class SentenceModel(Protocol):
    """A model that encodes texts as vectors. `digest` identifies its weights."""

    digest: str

    def encode(self, texts: list[str], batch_tokens: int, batch_invariant: bool = True) -> NDArray[np.float32]:
        """A vector of length one for each text.

        Batch-invariant: to the last bit the same in every batch. Otherwise in padded batches, as in version 0.1:
        the last bits depend on the batch (by up to 3e-7). For versions that were trained on such vectors.
        """


_loading = threading.Lock()


def encoder(name: str, device: str) -> SentenceModel:
    """The model of this name (see weights.find_model), loaded once per process and device."""
    with _loading:
        folder = find_weights(name, FETCH) if name == USE else find_model(name)
        return _load(folder, device)


@lru_cache(maxsize=4)
def _load(folder: Path, device: str) -> SentenceModel:
    if (folder / "saved_model.pb").is_file():
        return SavedModel(folder)
    for file in ("config.json", "tokenizer.json"):
        if not (folder / file).is_file():
            raise MissingWeights(f"{folder} holds no model: it has neither saved_model.pb nor {file}.")
    if not any(folder.glob("*.safetensors")):
        raise MissingWeights(f"{folder} has no model.safetensors. Other formats of weights are not read.")
    return Encoder(folder, device)


class Encoder:
    """A transformer with the pooling and the dense layers that its sentence-transformers files name.

    32-bit floats throughout: in bfloat16 the vectors of one text, alone and in a batch, differ by 0.001.
    Thread-safe.

    Batch-invariant because each text is computed by operations of its own shape (its tokens, no padding), on one
    thread. In a padded batch the last bits depend on the number of rows and on the padding: 85 % of all values change,
    by up to 2e-7, with MKL's kernels for AMD (AVX2) and for Intel (AVX-512). Trees then give other predictions,
    since a value may lie on a threshold. Rounding alone does not prevent it: at an edge a value moves by a whole step.

    On a GPU, which single rows would leave idle, each text goes into a block of a fixed shape that its own length
    decides (tensors.blocks). Another processor gives other last bits than this one.
    """

    def __init__(self, folder: Path, device: str) -> None:
        patch_torchvision()
        try:
            import torch
            from tokenizers import Tokenizer
            from transformers import AutoModel
        except ImportError as error:
            raise MissingExtra(f"{folder.name} needs the extra `text`, which is not installed.") from error
        self.device = find_device(device)
        self.model = (
            AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
            .to(self.device)
            .eval()
        )
        self.bert_rows = BertRows(self.model) if self.device.type == "cpu" and is_plain_bert(self.model) else None
        self.pooling, dense = _modules(folder)
        self.dense = [_dense(layer).to(self.device).eval() for layer in dense]
        self.digest = digest([*sorted(folder.glob("*.safetensors")), *(layer / "model.safetensors" for layer in dense)])
        last = cast("torch.nn.Linear", self.dense[-1][0]) if self.dense else None
        self.width: int = last.out_features if last else self.model.config.hidden_size
        self.padding = self.model.config.pad_token_id or 0
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()

    def encode(self, texts: list[str], batch_tokens: int, batch_invariant: bool = True) -> NDArray[np.float32]:
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        lengths = [len(ids) for ids in tokens]
        if not batch_invariant:
            order = sorted(range(len(tokens)), key=lambda place: lengths[place])
            cut = batches(order, lengths, batch_tokens)
            return self._in_blocks(tokens, ((places, len(places), 0) for places in cut))
        if self.device.type != "cpu":
            return self._in_blocks(tokens, blocks(lengths, batch_tokens, MAX_TOKENS))
        rows = min(PART_ROWS, ceil(len(tokens) / threads()) or 1)
        parts = [tokens[start : start + rows] for start in range(0, len(tokens), rows)]
        return np.concatenate([np.empty((0, self.width), np.float32), *on_one_thread_each(self._by_rows, parts)])

    def _by_rows(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        import torch

        rows = [torch.tensor([ids]) for ids in tokens]
        masks = [torch.ones_like(ids) for ids in rows]
        if self.bert_rows:
            hidden = self.bert_rows(rows)
        else:
            hidden = [self._hidden(ids, mask) for ids, mask in zip(rows, masks, strict=True)]
        vectors = [self._vectors(row, mask) for row, mask in zip(hidden, masks, strict=True)]
        return torch.cat(vectors).numpy()

    def _in_blocks(self, tokens: list[list[int]], blocks: Iterable[Block]) -> NDArray[np.float32]:
        import torch

        vectors = np.empty((len(tokens), self.width), dtype=np.float32)
        with torch.inference_mode():
            for places, rows, width in blocks:
                lines = [tokens[place] for place in places]
                lines += lines[:1] * (rows - len(lines))
                ids, mask = (part.to(self.device) for part in padded(lines, self.padding, width))
                vectors[places] = self._vectors(self._hidden(ids, mask), mask)[: len(places)].cpu().numpy()
        return vectors

    def _hidden(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return hidden

    def _vectors(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        import torch

        vectors = self._pooled(hidden, mask[..., None])
        for layer in self.dense:
            vectors = layer(vectors)
        return torch.nn.functional.normalize(vectors, dim=1)

    def _pooled(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.pooling == "cls":
            return hidden[:, 0]
        if self.pooling == "max":
            return hidden.masked_fill(mask == 0, -np.inf).amax(dim=1)
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1)


def _modules(folder: Path) -> tuple[str, list[Path]]:
    """The pooling and the folders of the dense layers that `modules.json` names; the mean where there is no such file.

    MissingWeights when it names a module that this encoder does not compute.
    """
    if not (folder / "modules.json").is_file():
        return "mean", []
    pooling, dense = "mean", []
    for module in json.loads((folder / "modules.json").read_text()):
        kind, place = module["type"].rpartition(".")[2], folder / module["path"]
        if kind == "Pooling":
            pooling = _pooling(json.loads((place / "config.json").read_text()))
        elif kind == "Dense":
            dense.append(place)
        elif kind not in ("Transformer", "Normalize"):
            raise MissingWeights(f"{folder} has a part that is not read here: {kind}.")
    if pooling not in POOLINGS:
        raise MissingWeights(f"{folder} pools by {pooling}; what is read here is {', '.join(POOLINGS)}.")
    return pooling, dense


def _pooling(config: dict[str, object]) -> str:
    """The pooling mode. Newer files name it, older ones have a boolean for each mode."""
    older = [
        name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for name, value in config.items()
        if name.startswith("pooling_mode_") and value
    ]
    return str(config.get("pooling_mode") or "+".join(older))


def _dense(folder: Path) -> torch.nn.Sequential:
    import torch
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=config["bias"])
    state = load_file(folder / "model.safetensors")
    linear.load_state_dict({name.removeprefix("linear."): value for name, value in state.items()})
    activation = getattr(torch.nn, config["activation_function"].rpartition(".")[2])
    return torch.nn.Sequential(linear, activation())
