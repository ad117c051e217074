"""Sentence vectors of pretrained models, each in memory once: transformers as Hugging Face's hub keeps them."""

from __future__ import annotations

import json
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ai_api.errors import MissingExtra, MissingWeights
from ai_api.task import MAX_TOKENS

from .operators import mend_torchvision
from .tensors import batches, find_device, padded
from .use import FETCH, SavedModel
from .weights import digest, find_model, find_weights

if TYPE_CHECKING:
    import torch

USE = "universal-sentence-encoder"
POOLINGS = ("cls", "mean", "max")


class SentenceModel(Protocol):
    """What makes vectors of texts. `digest` says which weights do."""

    digest: str

    def encode(self, texts: list[str], batch_tokens: int) -> NDArray[np.float32]:
        """A vector of length one for each text, which does not depend on its neighbours."""


_loading = threading.Lock()


def encoder(name: str, device: str) -> SentenceModel:
    """The model of this name (weights.find_model says where it may be), loaded once a process and device."""
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
    """A transformer with the pooling, and the dense layer if any, that its sentence-transformers files name.

    32-bit floats throughout: in bfloat16 the vectors of one text, alone and in a batch, differ by 0.001.
    Thread-safe.
    """

    def __init__(self, folder: Path, device: str) -> None:
        mend_torchvision()
        try:
            import torch
            from tokenizers import Tokenizer
            from transformers import AutoModel
        except ImportError as error:
            raise MissingExtra(f"{folder.name} needs the extra `text`, which is not installed.") from error
        self.device = find_device(device)
        self.model = (
            AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).to(self.device).eval()
        )
        self.pooling, dense = _modules(folder)
        self.dense = [_dense(layer).to(self.device).eval() for layer in dense]
        self.digest = digest([*sorted(folder.glob("*.safetensors")), *(layer / "model.safetensors" for layer in dense)])
        last = cast("torch.nn.Linear", self.dense[-1][0]) if self.dense else None
        self.width: int = last.out_features if last else self.model.config.hidden_size
        self.padding = self.model.config.pad_token_id or 0
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()

    def encode(self, texts: list[str], batch_tokens: int) -> NDArray[np.float32]:
        """Texts are sorted by length first, which saves a third of the work."""
        import torch

        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
        vectors = np.empty((len(tokens), self.width), dtype=np.float32)
        with torch.inference_mode():
            for places in batches(order, [len(ids) for ids in tokens], batch_tokens):
                vectors[places] = self._embed([tokens[place] for place in places]).cpu().numpy()
        return vectors

    def _embed(self, tokens: list[list[int]]) -> torch.Tensor:
        import torch

        ids, mask = (part.to(self.device) for part in padded(tokens, self.padding))
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
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

    MissingWeights when it names what this encoder does not do: its vectors would be other ones than the model's.
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
    """Newer files name the mode, older ones have a switch for each."""
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
