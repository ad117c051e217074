"""Base of the neural estimators: one training loop, and weights that are saved as plain arrays."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from numbers import Integral
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils._param_validation import Interval, StrOptions

from ai_api.errors import TrainingFailed
from ai_api.features.tensors import find_device

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Weights = dict[str, NDArray[np.generic]]
"""A module's state by name: matrices as float16, vectors and counts as they were."""
LossHistory = list[tuple[str, float, int]]
"""The metrics of a training: name, value, number of steps so far."""
Group = dict[str, "list[nn.Parameter] | float"]
"""A parameter group of a torch optimizer: `params`, `lr` and `weight_decay`."""
Places = slice | list[int]
"""The rows that a batch of scores belongs to."""
Batch = tuple[tuple["Tensor", ...], "Tensor"]
"""The inputs of the module, and the indices of the true classes."""

HISTORY_POINTS = 100
AVERAGE_EVERY = 5
"""Steps between two updates of the moving average: each update passes over all weights."""


@dataclass(frozen=True)
class TrainingSchedule:
    """Hyperparameters of a training. The learning rate rises for the first `warm_up` share of the steps, then falls
    to zero.

    `average` is the decay per step of the moving average of the weights, which is saved; `clip` the largest norm
    of the gradient; `smoothing` that of the labels; `class_weights` one factor a class in the loss.
    """

    steps: int
    warm_up: float = 0.1
    average: float = 0.999
    clip: float = 1.0
    smoothing: float = 0.0
    class_weights: NDArray[np.float32] | None = None

    def rate(self, step: int) -> float:
        """The factor of the learning rate at a step, 0 to 1."""
        rising = max(1.0, self.warm_up * self.steps)
        if step < rising:
            return (step + 1) / (rising + 1)
        return max(0.0, (self.steps - step) / (self.steps - rising + 1))


class NeuralClassifier(ClassifierMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A classifier that is saved as arrays and strings; its torch module is built at the first prediction.

    `device` ("auto", "cpu", "cuda") is not fitted: a loaded version takes the setting of the machine.
    On the CPU the same seed, data and number of threads give the same weights. `predict` is thread-safe.

    Attributes
    ----------
    classes_ : the labels, sorted. weights_ : see Weights. history_ : the loss by step, see LossHistory.

    """

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "device": [StrOptions({"auto", "cpu", "cuda"})],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    }
    device: str
    random_state: int
    _built: tuple[str, nn.Module] | None = None

    @abstractmethod
    def _architecture(self) -> nn.Module:
        """The module of the fitted size, with any weights."""

    @abstractmethod
    def _scores(self, module: nn.Module, inputs: object, device: torch.device) -> Iterator[tuple[Places, Tensor]]:
        """Scores before the softmax, by batch: the places of its rows, and a line of scores for each."""

    def predict_proba(self, inputs: object) -> NDArray[np.float64]:
        import torch

        device = find_device(self.device)
        probabilities = np.empty((len(inputs), len(self.classes_)))  # type: ignore[arg-type]
        module = self._module(str(device))
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for places, scores in self._scores(module, inputs, device):
                probabilities[places] = scores.double().softmax(1).cpu().numpy()
        return probabilities

    def predict(self, inputs: object) -> NDArray[np.object_]:
        best: NDArray[np.object_] = self.classes_[self.predict_proba(inputs).argmax(axis=1)]
        return best

    def _module(self, device: str) -> nn.Module:
        """The trained module on this device, built again when the device changes."""
        import torch

        with _building:
            if self._built is None or self._built[0] != device:
                with torch.random.fork_rng(devices=[]):
                    module = self._architecture()
                module.load_state_dict({name: torch.tensor(value) for name, value in self.weights_.items()})
                self._built = device, module.to(device).eval()
            return self._built[1]

    def _keep(self, module: nn.Module, history: LossHistory) -> None:
        """Stores the weights rounded as they are saved, so that evaluation and serving use the same weights."""
        self.weights_ = {name: _rounded(value) for name, value in module.state_dict().items()}
        self.history_ = history
        self._built = None

    def __getstate__(self) -> dict[str, object]:
        state: dict[str, object] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_built"}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")


_building = threading.Lock()
_training = threading.Lock()


def require(*libraries: str) -> None:
    """ImportError for a library that is not installed, without the seconds that importing it takes."""
    for name in libraries:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def seeded(seed: int, device: torch.device, threads: int | None = None) -> Iterator[None]:
    """Seeds torch's generators, which dropout and initial weights use, and restores them afterwards. `threads`: number
    of torch's threads meanwhile; None: unchanged.

    Both are global to the process, so only one training runs at a time.
    """
    import torch

    with _training, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def train(
    module: nn.Module, groups: list[Group], batches: Iterable[Batch], schedule: TrainingSchedule, device: torch.device
) -> LossHistory:
    """Trains a module that is on `device` with AdamW (Loshchilov & Hutter, ICLR 2019) and leaves the averaged weights
    in it. TrainingFailed when the loss is not finite.

    Half precision (bfloat16) where the processor computes in it: on such CPUs a step takes half the time.
    """
    import torch
    from tqdm import tqdm  # type: ignore[import-untyped]

    optimizer = torch.optim.AdamW(groups, fused=True)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.rate)
    loss_of = _loss(schedule, device)
    average = _Average(module, schedule.average)
    history: LossHistory = []
    every = max(1, schedule.steps // HISTORY_POINTS)
    lost = torch.zeros((), device=device)
    module.train()
    for step, (inputs, truths) in enumerate(tqdm(batches, total=schedule.steps, disable=None, leave=False), start=1):
        with torch.autocast(device.type, torch.bfloat16, enabled=_has_bfloat16(device)):
            scores = module(*(_moved(part, device) for part in inputs))
        loss = loss_of(scores.float(), _moved(truths, device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), schedule.clip)
        optimizer.step()
        rates.step()
        lost += loss.detach()
        if step % AVERAGE_EVERY == 0 or step == schedule.steps:
            average.update(step)
        if step % every == 0:
            history.append(("loss", _finite(lost.item() / every), step))
            lost.zero_()
    average.copy_to_module()
    module.eval()
    return history


def _loss(schedule: TrainingSchedule, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    import torch

    weights = None if schedule.class_weights is None else torch.from_numpy(schedule.class_weights).to(device)
    return torch.nn.CrossEntropyLoss(weight=weights, label_smoothing=schedule.smoothing)


class _Average:
    """An exponential moving average of a module's floats: as good as many more steps at a low learning rate."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._last_step = 0
        self._live = [value for value in module.state_dict().values() if value.is_floating_point()]
        self._means = [value.clone() for value in self._live]

    def update(self, step: int) -> None:
        """Decay warm-up: the first updates count for more, so that the initial weights do not stay in the mean."""
        import torch

        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._means, self._live, 1 - decay ** (step - self._last_step))
        self._last_step = step

    def copy_to_module(self) -> None:
        """Puts the means into the module."""
        for value, mean in zip(self._live, self._means, strict=True):
            value.copy_(mean)


def _has_bfloat16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return True
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _rounded(value: Tensor) -> NDArray[np.generic]:
    found: NDArray[np.generic] = value.detach().cpu().numpy()
    return found.astype(np.float16) if found.dtype == np.float32 and found.ndim > 1 else found.copy()


def _finite(loss: float) -> float:
    if not np.isfinite(loss):
        raise TrainingFailed("The loss is not a finite number any more. A lower learning_rate may help.")
    return loss
