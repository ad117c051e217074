"""Features of images do not depend on the format of the image or on the other images of a batch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

from ai_api.errors import InvalidParams, MissingWeights, ModelRefused
from ai_api.features import build_features, image
from ai_api.features.image import CHUNK, GREY, Backbone, Pixels
from ai_api.images.reference import ImageRef, InvalidImage
from tests.ai.support.drawn import encoded, plain

SMALL = "test_resnet.r160_in1k"
"""The smallest network that timm has weights for."""


def pixels_of(content: bytes, height: int = 8, width: int = 6) -> NDArray[np.uint8]:
    return Pixels(height, width).transform([content]).reshape(height, width, 3)


def halves(left: str, right: str, size: tuple[int, int] = (120, 160)) -> Image.Image:
    canvas = Image.new("RGB", size, left)
    canvas.paste(right, (size[0] // 2, 0, *size))
    return canvas


def test_a_line_holds_the_pixels_row_by_row() -> None:
    line = pixels_of(encoded(halves("red", "blue")))
    assert line.dtype == np.uint8
    np.testing.assert_array_equal(line[:, 0], [[255, 0, 0]] * 8)
    np.testing.assert_array_equal(line[:, -1], [[0, 0, 255]] * 8)


def test_missing_images_and_images_that_cannot_be_decoded_are_grey(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        lines = Pixels(8, 6).transform([None, plain()[:-40], ImageRef.of_bytes(b"no image")])
    assert (lines == GREY).all()
    assert "2 of 3 images cannot be decoded" in caplog.text


def test_an_image_is_rotated_as_its_exif_orientation_requires() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees clockwise
    lying = halves("red", "blue", (160, 120)).transpose(Image.Transpose.ROTATE_90)
    upright = pixels_of(encoded(lying, "JPEG", exif=exif, quality=95))
    assert upright[:, 0].mean(axis=0) == pytest.approx((254, 0, 0), abs=4)
    assert upright[:, -1].mean(axis=0) == pytest.approx((0, 0, 254), abs=4)


@pytest.mark.parametrize(
    ("content", "colour"),
    [
        (encoded(Image.new("RGBA", (9, 9), (255, 0, 0, 0))), (255, 255, 255)),
        (encoded(Image.new("RGBA", (9, 9), (255, 0, 0, 128))), (255, 127, 127)),
        (encoded(Image.new("LA", (9, 9), (0, 0))), (255, 255, 255)),
        (encoded(Image.new("RGB", (9, 9), "lime").convert("P"), "GIF"), (0, 255, 0)),
        (encoded(Image.new("I;16", (9, 9), 200 * 256)), (200, 200, 200)),
        (encoded(Image.new("L", (9, 9), 70), "BMP"), (70, 70, 70)),
        (encoded(Image.new("1", (9, 9), 1)), (255, 255, 255)),
        (encoded(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG", quality=95), (255, 0, 0)),
        (encoded(Image.new("RGB", (9, 9), "navy"), "WEBP", lossless=True), (0, 0, 128)),
    ],
    ids=["clear", "half clear", "clear grey", "palette", "16 bits", "grey", "black and white", "CMYK", "WebP"],
)
def test_images_of_every_mode_become_rgb(content: bytes, colour: tuple[int, int, int]) -> None:
    assert pixels_of(content).reshape(-1, 3).mean(axis=0) == pytest.approx(colour, abs=3)


@pytest.mark.parametrize(
    ("mode", "transparency"),
    [
        *((mode, colour) for mode in ("1", "L", "P", "I;16") for colour in (0, 255, 40_000)),
        ("P", b"\x00\x80"),
        ("RGB", (0, 0, 0)),
        ("RGB", (65_535, 1, 2)),
    ],
)
def test_images_with_a_transparent_colour_are_decoded(mode: str, transparency: object) -> None:
    content = encoded(Image.new(mode, (9, 9)), transparency=transparency)
    assert pixels_of(ImageRef.parse(content).read()).shape == (8, 6, 3)


@settings(max_examples=60, deadline=None)
@given(note=st.binary(max_size=80), kind=st.sampled_from(["JPEG", "PNG", "WEBP"]), starts=st.booleans())
def test_images_with_any_exif_bytes_are_decoded_or_refused(note: bytes, kind: str, starts: bool) -> None:
    exif = (b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01" if starts else b"Exif\0\0") + note
    content = encoded(Image.new("RGB", (12, 16), "red"), kind, exif=exif)
    try:
        parsed = ImageRef.parse(content)
    except InvalidImage:
        return
    assert pixels_of(parsed.read()).mean(axis=(0, 1)) == pytest.approx((254, 0, 0), abs=4)


def test_the_first_frame_of_an_animation_is_used() -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    assert (pixels_of(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)).all()


def test_resizing_averages_a_fine_pattern() -> None:
    board = np.indices((800, 600)).sum(axis=0) % 2 * 255
    grey = pixels_of(encoded(Image.fromarray(board.astype(np.uint8))))
    assert grey.astype(int) == pytest.approx(np.full((8, 6, 3), 127), abs=2)


def test_a_large_jpeg_that_is_reduced_while_decoding_has_nearly_the_same_pixels() -> None:
    wave = np.sin(np.indices((900, 1200)).sum(axis=0) / 60) * 100 + 128
    large = Image.fromarray(wave.astype(np.uint8)).convert("RGB")
    quick, slow = pixels_of(encoded(large, "JPEG", quality=95), 80, 60), pixels_of(encoded(large), 80, 60)
    assert np.abs(quick.astype(int) - slow.astype(int)).max() <= 6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_image_has_nearly_the_pixels_of_one_that_is_decoded_whole(
    mode: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = np.sin(np.indices((1_500, 3_001)).sum(axis=0) / 300) * 100 + 128
    grey = Image.fromarray(wave.astype(np.uint8))
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    if mode == "I;16":
        content = encoded(Image.fromarray((wave * 256).astype(np.uint16)), exif=exif)
    else:
        content = encoded(Image.merge("RGBA", [grey] * 4).convert(mode), exif=exif)
    in_strips = pixels_of(content, 40, 30)
    monkeypatch.setattr(image, "LARGE_PIXELS", 25_000_000)
    assert np.abs(in_strips.astype(int) - pixels_of(content, 40, 30)).max() <= 6


def test_many_images_decoded_by_threads_have_the_same_pixels_as_single_ones() -> None:
    from joblib import parallel_config

    images = [ImageRef.of_bytes(plain((place % 256, 0, place // 256))) for place in range(2 * CHUNK + 3)]
    with parallel_config("threading", n_jobs=2):
        together = Pixels(8, 6).transform(images)
    np.testing.assert_array_equal(together, np.concatenate([Pixels(8, 6).transform([one]) for one in images]))
    assert [line[0] + 256 * line[2] for line in together.astype(int)] == list(range(len(images)))


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights as timm's repositories on the hub are: here of an untrained network."""
    import torch

    timm = image._timm()
    from timm.models import save_for_hf

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_for_hf(timm.create_model(SMALL.partition(".")[0]), str(folder / SMALL), safe_serialization=True)
    return folder


@pytest.fixture
def weights(small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(small_weights))
    yield small_weights
    image._load.cache_clear()


@pytest.mark.usefixtures("weights")
def test_a_backbone_reads_the_files_of_the_hub_and_gives_the_same_vectors_alone_and_in_a_batch() -> None:
    images: list[ImageRef | bytes | None] = [
        plain("red"),
        ImageRef.of_bytes(plain("blue", format_="JPEG")),
        None,
        plain("green", (500, 500)),
    ]
    fitted = Backbone(SMALL, device="cpu", batch_rows=3).fit(images)
    together = fitted.transform(images)
    assert together.shape == (4, network_width())
    assert together.dtype == np.float32
    alone = np.concatenate([fitted.transform([one]) for one in images])
    np.testing.assert_array_equal(together, alone)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def network_width() -> int:
    return int(image.network(SMALL, "cpu").model.num_features)


@pytest.mark.usefixtures("weights")
def test_a_saved_backbone_carries_the_digest_of_its_weights_and_not_the_weights() -> None:
    fitted = Backbone(SMALL, device="cpu").fit([])
    saved = skops.io.dumps(fitted)
    assert len(saved) < 10_000
    again = skops.io.loads(saved, trusted=skops.io.get_untrusted_types(data=saved))
    np.testing.assert_array_equal(again.transform([plain()]), fitted.transform([plain()]))
    again.digest_ = "0" * 64
    with pytest.raises(ModelRefused, match="not those that this version was trained with"):
        again.transform([plain()])


def test_the_same_weights_in_torchvisions_format_are_the_same_weights(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file

    digest = Backbone(SMALL, device="cpu").fit([]).digest_
    (tmp_path / SMALL).mkdir()
    torch.save(load_file(weights / SMALL / "model.safetensors"), tmp_path / SMALL / "resnet-0a1b2c3d.pth")
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    assert Backbone(SMALL, device="cpu").fit([]).digest_ == digest


@pytest.mark.parametrize("broken", [b"", b"half a file", None])
def test_weights_of_another_network_or_half_a_file_are_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bytes | None
) -> None:
    other = tmp_path / "test_vit.r160_in1k" / "model.safetensors"
    other.parent.mkdir()
    whole = (weights / SMALL / "model.safetensors").read_bytes()
    other.write_bytes(whole if broken is None else broken)
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match="does not hold the weights"):
        Backbone("test_vit.r160_in1k").fit([])


def test_without_weights_and_hub_the_error_names_what_to_fetch_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(name: str) -> Path:
        raise MissingWeights("the hub is away")

    monkeypatch.setattr(image, "find_model", away)
    monkeypatch.setenv("AI_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(MissingWeights) as missing:
        build_features("image", "backbone").fit([])
    assert "https://huggingface.co/timm/resnet18.a1_in1k" in str(missing.value)
    assert str(tmp_path / "resnet18.a1_in1k") in str(missing.value)


def test_a_network_that_timm_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidParams, match="list_models"):
        Backbone("oracle").fit([])


def test_nothing_warns_when_features_are_built() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(build_features("image", "pixels"), Pixels)
        assert isinstance(build_features("image", "backbone"), Backbone)
