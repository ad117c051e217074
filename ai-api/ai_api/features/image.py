"""Features of images: their pixels, or the vectors of a pretrained network."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from ai_api.errors import InvalidParams, MissingExtra, MissingWeights, ModelRefused
from ai_api.images.reference import ImageRef, InvalidImage, opened

from . import image_features
from .onednn import pack_convolutions
from .tensors import find_device, on_one_thread_each
from .torchvision_patch import patch_torchvision
from .weights import find_model, weights_dir

if TYPE_CHECKING:
    from types import ModuleType

    from PIL.Image import Image

log = logging.getLogger(__name__)

Bytes = NDArray[np.uint8]
GREY = 128
"""The value of every byte of a missing image."""
CHUNK = 64
"""Images that one thread decodes at a time."""
LARGE_PIXELS = 4_000_000
"""An image of more pixels is reduced tile by tile."""
TILE = 1_000
"""About how many pixels wide and high the part of a large image is that is reduced at a time."""
PATTERNS = ("model.safetensors", "*.safetensors", "*.pth", "pytorch_model.bin")
"""The files of a folder of weights: timm's on Hugging Face's hub, or torchvision's."""


@image_features("pixels")
def pixels() -> Pixels:
    """The pixels of the image, for a network that is trained on pixels."""
    return Pixels()


@image_features("backbone")
def backbone() -> Backbone:
    """The vector of the image from a pretrained network."""
    for library in ("torch", "torchvision", "timm"):
        if find_spec(library) is None:
            raise MissingExtra(f"A pretrained backbone needs the extra `image`: {library} is not installed.")
    return Backbone()


class Pixels(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Arrays (n, height * width * 3) of bytes, row by row, red, green and blue of a pixel together.

    An image is rotated as its EXIF orientation requires, put on white where it is transparent, and resized to height
    and width (antialiased). All bytes of a row are GREY when it has no image or one that cannot be decoded.
    """

    def __init__(self, height: int = 40, width: int = 30) -> None:
        self.height = height
        self.width = width

    def fit(self, _: Iterable[object], __: object = None) -> Pixels:
        return self

    def transform(self, images: Iterable[ImageRef | bytes | None]) -> Bytes:
        return decode(list(images), self.height, self.width)

    def __sklearn_is_fitted__(self) -> bool:
        return True


class Backbone(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Vectors of a pretrained network without its last layer.

    Its weights are read from the folder `name` of AI_WEIGHTS_DIR, else fetched as `timm/<name>` from Hugging Face's
    hub. They are not saved with a version, only their digest.

    Parameters
    ----------
    name : the network and its weights, as timm names them (timm 1.0 has some 1,500). Wightman et al., "ResNet strikes
        back" (2021), describe the default.
    device : "auto", "cpu" or "cuda". It is not fitted: a loaded version takes the setting of the machine.
    batch_rows : images in one call on a GPU.

    Attributes
    ----------
    digest_ : sha256 of the weights at `fit`. Other weights under the same name are refused.
    batch_invariant_ : whether an image's vector is the same, to the last bit, alone and in a batch. In versions saved
        by 0.1 it is the same to 1e-5 only: their estimators were trained on such vectors.

    """

    batch_invariant_ = False

    def __init__(self, name: str = "resnet18.a1_in1k", device: str = "auto", batch_rows: int = 32) -> None:
        self.name = name
        self.device = device
        self.batch_rows = batch_rows

    def fit(self, _: Iterable[object], __: object = None) -> Backbone:
        self.digest_ = network(self.name, self.device).digest
        self.batch_invariant_ = True
        return self

    def transform(self, images: Iterable[ImageRef | bytes | None]) -> NDArray[np.float32]:
        model = network(self.name, self.device)
        if model.digest != self.digest_:
            raise ModelRefused(f"The weights of {self.name} are not those that this version was trained with.")
        return model.encode(list(images), self.batch_rows, self.batch_invariant_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "digest_")


def decode(images: Sequence[ImageRef | bytes | None], height: int, width: int) -> Bytes:
    """The pixels of each image: (n, height * width * 3). More than CHUNK images are decoded by joblib's threads."""
    lines = np.full((len(images), height * width * 3), GREY, dtype=np.uint8)
    work = partial(_fill, images, lines, (width, height))
    starts = range(0, len(images), CHUNK)
    if len(starts) < 2:
        failed = sum(map(work, starts))
    else:
        from joblib import Parallel, delayed

        failed = sum(Parallel(require="sharedmem")(delayed(work)(start) for start in starts))
    if failed:
        log.warning("%d of %d images cannot be decoded and count as missing", failed, len(images))
    return lines


def _fill(images: Sequence[ImageRef | bytes | None], lines: Bytes, size: tuple[int, int], start: int) -> int:
    """Decodes a chunk into its lines and returns the number of images that cannot be decoded."""
    failed = 0
    for place, image in enumerate(images[start : start + CHUNK], start):
        if image is None:
            continue
        try:
            lines[place] = _pixels(image if isinstance(image, bytes) else image.read(), size)
        except InvalidImage:
            failed += 1
    return failed


def _pixels(content: bytes, size: tuple[int, int]) -> Bytes:
    from PIL import Image

    longer = 2 * max(size)  # twice the final size: the second reduction then gives nearly the same pixels
    with opened(content, shrink=(longer, longer)) as image:
        is_large = image.width * image.height > LARGE_PIXELS
        upright = _upright(_reduced(image, size)) if is_large else _rgb(_upright(image))
        small = upright if upright.size == size else upright.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(small, dtype=np.uint8).reshape(-1)


def _reduced(image: Image, size: tuple[int, int]) -> Image:
    """A large image in red, green and blue, each side at most twice as long as needed.

    Tile by tile, because a second copy of the whole would take up to 64 MB.
    """
    from PIL import Image

    longer = 2 * max(size)
    across, down = (max(1, side // longer) for side in image.size)
    width, height = across * max(1, TILE // across), down * max(1, TILE // down)
    small = Image.new("RGB", (-(-image.width // across), -(-image.height // down)))
    for left, top in product(range(0, image.width, width), range(0, image.height, height)):
        tile = image.crop((left, top, min(left + width, image.width), min(top + height, image.height)))
        small.paste(_rgb(tile).reduce((across, down)), (left // across, top // down))
    covered = (0, 0, image.width / across, image.height / down)  # the last tiles may fill their pixels in part
    small = small.resize((min(longer, image.width), min(longer, image.height)), Image.Resampling.BILINEAR, covered)
    small.info = image.info  # it has the EXIF data
    return small


def _upright(image: Image) -> Image:
    from PIL import ImageOps

    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # broken EXIF data raises errors of many types; the image then stays as it is
        return image
    return image


def _rgb(image: Image) -> Image:
    if image.mode.startswith("I"):  # 16 bits a pixel; `convert` would keep the lower 8
        image = image.point(lambda value: value / 256).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    from PIL import Image

    clear = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


class Network:
    """One pretrained network in memory, shared by every version that names it. Thread-safe."""

    def __init__(self, name: str, device: str) -> None:
        import torch

        timm = _timm()
        if not timm.is_model(name):
            raise InvalidParams("timm has no network of this name. timm.list_models() names them.")
        self.device = find_device(device)
        overlay = {"file": str(_weights(name)), "hf_hub_id": None}
        try:
            # With its last layer: without it, timm accepts a file of which no weight fits.
            model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
        except Exception as error:  # each format of files has its own kinds of errors
            raise MissingWeights(f"{overlay['file']} does not hold the weights of {name}, or not whole.") from error
        model.reset_classifier(0)
        self.digest = _digest(model.state_dict())
        self.model = model.to(self.device).eval()
        if self.device.type == "cpu":
            pack_convolutions(self.model)
        _, self.height, self.width = model.pretrained_cfg["input_size"]
        shape = (1, 3, 1, 1)
        self.mean = torch.tensor(model.pretrained_cfg["mean"], device=self.device).reshape(shape) * 255
        self.std = torch.tensor(model.pretrained_cfg["std"], device=self.device).reshape(shape) * 255

    def encode(
        self, images: Sequence[ImageRef | bytes | None], batch_rows: int, batch_invariant: bool = True
    ) -> NDArray[np.float32]:
        """The vector of each image: (n, features).

        Batch-invariant: each image is computed by itself on one thread of the processor, or on a GPU in a block that is
        filled up to `batch_rows`. Otherwise in batches, as in version 0.1.
        """
        starts = range(0, len(images), batch_rows)
        parts = [images[start : start + batch_rows] for start in starts]
        empty = np.empty((0, self.model.num_features), dtype=np.float32)
        if not batch_invariant or self.device.type != "cpu":
            rows = batch_rows if batch_invariant else 0
            return np.concatenate([empty, *(self._vectors(part, rows) for part in parts)])
        return np.concatenate([empty, *on_one_thread_each(self._by_rows, parts)])

    def _by_rows(self, images: Sequence[ImageRef | bytes | None]) -> NDArray[np.float32]:
        return np.concatenate([self._vectors([image]) for image in images])

    def _vectors(self, images: Sequence[ImageRef | bytes | None], rows: int = 0) -> NDArray[np.float32]:
        """The vectors of images in one call of the network, filled up to `rows` with grey images."""
        import torch

        block = [*images, *[None] * (rows - len(images))]
        raw = decode(block, self.height, self.width).reshape(-1, self.height, self.width, 3)
        with torch.inference_mode():
            inputs = (torch.from_numpy(raw).to(self.device).permute(0, 3, 1, 2).float() - self.mean) / self.std
            vectors: NDArray[np.float32] = self.model(inputs)[: len(images)].float().cpu().numpy()
        return vectors


_loading = threading.Lock()


def network(name: str, device: str) -> Network:
    """The network with its weights, loaded once per process and device."""
    with _loading:
        return _load(name, device, weights_dir())


@lru_cache(maxsize=2)
def _load(name: str, device: str, _: Path) -> Network:
    return Network(name, device)


def _weights(name: str) -> Path:
    """The file of weights: of AI_WEIGHTS_DIR, else fetched there; MissingWeights when neither has it."""
    if (file := _weights_in(weights_dir() / name)) is None:
        try:
            file = _weights_in(find_model(f"timm/{name}"))
        except MissingWeights as error:
            raise MissingWeights(
                f"The weights of {name} are neither on this machine nor to be had from Hugging Face's hub. Fetch"
                f" model.safetensors from https://huggingface.co/timm/{name}, or torchvision's .pth of the same"
                f" network, and put it into {weights_dir() / name} (AI_WEIGHTS_DIR)."
            ) from error
    if file is None:
        raise MissingWeights(f"The folder of {name} in AI_WEIGHTS_DIR has neither model.safetensors nor a .pth file.")
    return file


def _weights_in(folder: Path) -> Path | None:
    found: Iterator[Path] = (path for pattern in PATTERNS for path in sorted(folder.glob(pattern)))
    return next(found, None)


def _digest(state: dict[str, object]) -> str:
    """sha256 over names and values, so that the same weights in files of other formats have the same digest."""
    whole = hashlib.sha256()
    for name, value in sorted(state.items()):
        whole.update(f"{name} ".encode() + value.cpu().numpy().tobytes())  # type: ignore[attr-defined]
    return whole.hexdigest()


def _timm() -> ModuleType:
    """timm, which imports torchvision."""
    patch_torchvision()
    import timm

    return timm
