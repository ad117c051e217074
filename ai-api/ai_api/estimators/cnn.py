"""A small convolutional network that is trained from random weights on images, on a few cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from ai_api.features.tensors import find_device
from ai_api.task import Kind

from . import estimator
from .neural import Batch, Group, NeuralClassifier, Places, TrainingSchedule, require, seeded, train

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Images = NDArray[np.uint8]
"""Height, width and colour of each: (n, h, w, 3)."""

STAGES = 4
SMALLEST = 20
"""Least height and width. Below, the input of the last stage is one pixel wide, for which oneDNN's bfloat16 gradients
are wrong (2026)."""
SHIFT = 0.06
"""Largest shift of an augmented image, as a share of its height and width."""


@estimator("cnn", kinds=[Kind.CLASSIFICATION])
def cnn(**params: object) -> PictureClassifier:
    """Four residual stages on the image feature `pixels`, which must have the same height and width."""
    require("torch")
    return PictureClassifier(**params)  # type: ignore[arg-type]


class PictureClassifier(NeuralClassifier):
    """A residual network (He et al., CVPR 2016) of four stages, each half as large and twice as wide as the one before.

    It is trained with one cycle of the learning rate (Smith & Topin, 2018), and its weights are averaged. It reads rows
    of height x width x 3 bytes, a pixel's colours side by side. Many epochs on small images gave better results than
    few on large ones, which take four times as long at twice the height.

    Parameters
    ----------
    height, width : of the images, in pixels.
    channels, blocks : how wide the first stage is, and how many residual blocks a stage has.
    epochs, batch_size : passes over the images, and images in one step.
    learning_rate, weight_decay : of AdamW, the rate at its highest.
    label_smoothing : the share of certainty spread over all labels.
    ema_decay : of the moving average of the weights, a step.
    threads : of the processor, in training. Kernels of this size synchronise thousands of times a second: beside other
        work, such as serving, two threads took ten times as long as one.
    augment : whether images are mirrored and moved, differently in each epoch.
    batch_rows : most images in one call when predicting.

    """

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        **NeuralClassifier._parameter_constraints,
        "height": [Interval(Integral, SMALLEST, 1024, closed="both")],
        "width": [Interval(Integral, SMALLEST, 1024, closed="both")],
        "channels": [Interval(Integral, 4, 512, closed="both")],
        "blocks": [Interval(Integral, 1, 16, closed="both")],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, 1, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="left")],
        "threads": [Interval(Integral, 1, None, closed="left")],
        "augment": ["boolean"],
        "batch_rows": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        height: int = 40,
        width: int = 30,
        channels: int = 32,
        blocks: int = 1,
        epochs: int = 16,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.05,
        label_smoothing: float = 0.0,
        ema_decay: float = 0.998,
        threads: int = 1,
        augment: bool = True,
        batch_rows: int = 256,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.height = height
        self.width = width
        self.channels = channels
        self.blocks = blocks
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.ema_decay = ema_decay
        self.threads = threads
        self.augment = augment
        self.batch_rows = batch_rows
        self.device = device
        self.random_state = random_state

    def fit(self, pixels: NDArray[np.uint8], labels: Sequence[str] | NDArray[np.object_]) -> PictureClassifier:
        images = self._images(pixels)
        self.classes_, truths = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
        device = find_device(self.device)
        schedule = TrainingSchedule(
            steps=self.epochs * -(-len(images) // self.batch_size),
            warm_up=0.25,
            average=self.ema_decay,
            smoothing=self.label_smoothing,
        )
        with seeded(self.random_state, device, self.threads):
            module = self._architecture().to(device)
            history = train(module, self._groups(module), self._batches(images, truths), schedule, device)
        self._keep(module, history)
        return self

    def _architecture(self) -> nn.Module:
        return _network(self.channels, self.blocks, len(self.classes_))

    def _scores(self, module: nn.Module, inputs: object, device: torch.device) -> Iterator[tuple[Places, Tensor]]:
        import torch

        images = self._images(inputs)
        for start in range(0, len(images), self.batch_rows):
            places = slice(start, start + self.batch_rows)
            yield places, module(torch.from_numpy(images[places]).to(device))

    def _images(self, pixels: object) -> Images:
        lines = np.asarray(pixels)
        shape = (self.height, self.width, 3)
        if lines.dtype != np.uint8 or lines.shape[1:] != (int(np.prod(shape)),):
            raise ValueError(f"cnn reads one image of {shape[0]} x {shape[1]} x 3 bytes a row.")
        return lines.reshape(-1, *shape)

    def _batches(self, images: Images, truths: NDArray[np.intp]) -> Iterator[Batch]:
        import torch

        random = np.random.default_rng(self.random_state)
        for _ in range(self.epochs):
            for places in np.array_split(random.permutation(len(images)), -(-len(images) // self.batch_size)):
                seen = _augmented(images[places], random) if self.augment else images[places]
                yield (torch.from_numpy(seen),), torch.from_numpy(truths[places])

    def _groups(self, module: nn.Module) -> list[Group]:
        """Two parameter groups: matrices with weight decay; vectors (biases, norms) without."""
        matrices = [value for value in module.parameters() if value.ndim > 1]
        vectors = [value for value in module.parameters() if value.ndim < 2]
        rate = self.learning_rate
        return [
            {"params": matrices, "lr": rate, "weight_decay": self.weight_decay},
            {"params": vectors, "lr": rate, "weight_decay": 0.0},
        ]


def _augmented(images: Images, random: np.random.Generator) -> Images:
    """Each image mirrored or not, and shifted by up to SHIFT; edge pixels are repeated.

    Zooming and erasing parts help longer trainings; in one as short as this they cost two points of F1.
    """
    count, height, width, _ = images.shape
    rows = _places(height, random, count)
    columns = _places(width, random, count)
    mirrored = random.random(count) < 0.5
    columns[mirrored] = columns[mirrored, ::-1]
    seen: Images = images[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return seen


def _places(size: int, random: np.random.Generator, count: int) -> NDArray[np.intp]:
    """The line of the image that each line of the shifted image copies: (n, size)."""
    shift = np.rint(random.uniform(-SHIFT, SHIFT, size=(count, 1)) * size).astype(np.intp)
    places: NDArray[np.intp] = np.clip(np.arange(size) + shift, 0, size - 1)
    return places


def _network(channels: int, blocks: int, labels: int) -> nn.Module:
    """From (n, h, w, 3) bytes to (n, labels) scores."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        """Two convolutions and a shortcut."""

        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.way = nn.Sequential(
                *_convolution(before, after, 3, stride), nn.ReLU(inplace=True), *_convolution(after, after, 3, 1)
            )
            self.around = nn.Sequential()
            if before != after:
                self.around.extend([nn.AvgPool2d(stride, ceil_mode=True), *_convolution(before, after, 1, 1)])

        def forward(self, seen: Tensor) -> Tensor:
            return torch.relu(self.way(seen) + self.around(seen))

    class ConvolutionalNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [channels * 2**stage for stage in range(STAGES)]
            self.stem = nn.Sequential(*_convolution(3, channels, 3, 2), nn.ReLU(inplace=True))
            self.stages = nn.Sequential(
                *(
                    Residual(widths[max(0, stage - (block == 0))], widths[stage], 2 if stage and not block else 1)
                    for stage in range(STAGES)
                    for block in range(blocks)
                )
            )
            self.head = nn.Linear(widths[-1], labels)

        def forward(self, images: Tensor) -> Tensor:
            seen = (images.permute(0, 3, 1, 2).float() - 128) / 64  # a view in the fast channels-last layout
            scores: Tensor = self.head(self.stages(self.stem(seen)).mean(dim=(2, 3)))
            return scores

    network: nn.Module = ConvolutionalNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _convolution(before: int, after: int, size: int, stride: int) -> list[nn.Module]:
    from torch import nn

    return [nn.Conv2d(before, after, size, stride, size // 2, bias=False), nn.BatchNorm2d(after)]
