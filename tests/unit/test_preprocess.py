"""Preprocessing against torchvision's own transforms on real photographs, and every step alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evenbench.harness import Recipe, UsageError, preprocess
from evenbench.harness.photographs import PHOTOGRAPHS, locate
from evenbench.harness.preprocess import (
    IMAGENET_224,
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    Decode,
    Layout,
    Normalise,
    Resize,
    ToArray,
)


def noise(width: int, height: int) -> Any:
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    )


@pytest.mark.parametrize("name", ["china", "astronaut", "chelsea", "motorcycle", "ihc"])
def test_photographs_come_out_as_from_torchvision(name: str) -> None:
    """`china` is 640 x 427, `motorcycle` is wide, `astronaut` square."""
    transforms = pytest.importorskip("torchvision.transforms")
    reference = transforms.Compose(
        [
            transforms.Resize(256, antialias=True),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    file = locate(next(photograph for photograph in PHOTOGRAPHS if photograph.name == name))
    with Image.open(file) as image:
        wanted = reference(image.convert("RGB")).numpy()
    made = preprocess.apply(IMAGENET_224, file)
    assert (made.shape, made.dtype, made.flags.c_contiguous) == ((3, 224, 224), np.float32, True)
    assert np.max(np.abs(made - wanted)) <= 1e-6


@pytest.mark.parametrize(
    "size", [(800, 534), (534, 800), (237, 474), (711, 237), (257, 256), (300, 300)]
)
def test_sizes_are_rounded_as_torchvision_rounds_them(size: tuple[int, int]) -> None:
    """237 x 474 is one where 474 * (256 / 237) is 511.99…"""
    transforms = pytest.importorskip("torchvision.transforms")
    wanted = transforms.CenterCrop(224)(transforms.Resize(256, antialias=True)(noise(*size)))
    made = CenterCrop(224).apply(Resize(256, antialias=True).apply(noise(*size)))
    assert np.array_equal(np.asarray(made), np.asarray(wanted))


@pytest.mark.parametrize(
    ("width", "height", "target"),
    [(800, 534, (383, 256)), (534, 800, (256, 383)), (512, 512, (256, 256))],
)
def test_the_shorter_side_gets_the_size(width: int, height: int, target: tuple[int, int]) -> None:
    for antialias in (True, False):
        assert Resize(256, antialias).apply(noise(width, height)).size == target


def test_exact_ignores_the_proportions() -> None:
    assert Resize(64, antialias=True, exact=True).apply(noise(800, 534)).size == (64, 64)


def test_antialias_changes_pixels_when_shrinking() -> None:
    soft, sharp = (
        np.asarray(Resize(256, antialias).apply(noise(1024, 768)), float)
        for antialias in (True, False)
    )
    assert np.abs(soft - sharp).max() > 30
    assert soft.std() < 0.7 * sharp.std(), "noise was not averaged away"


def test_without_antialias_the_four_neighbours_are_sampled() -> None:
    """Halving by bilinear interpolation at the source's points is the mean of 2 x 2, whatever the
    filter's support.
    """
    image = noise(8, 8)
    made = np.asarray(Resize(4, antialias=False).apply(image), float)
    wanted = np.asarray(image, float).reshape(4, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(made - wanted).max() <= 1


def test_filters_differ() -> None:
    made = {
        filter: Resize(128, True, filter).apply(noise(300, 300)).tobytes()
        for filter in ("bilinear", "bicubic", "nearest")
    }  # type: ignore[arg-type]
    assert len(set(made.values())) == 3


def test_a_crop_is_the_middle() -> None:
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[1:5, 2:6] = 255
    assert np.asarray(CenterCrop(4).apply(Image.fromarray(pixels))).min() == 255


def test_a_crop_of_too_small_an_image_says_its_size() -> None:
    with pytest.raises(UsageError, match="the image is only 100x50"):
        CenterCrop(64).apply(noise(100, 50))


def test_pixels_become_float32_of_zero_to_one_with_a_channel_axis() -> None:
    made = ToArray().apply(Image.fromarray(np.array([[0, 255], [51, 102]], np.uint8)))
    assert (made.shape, made.dtype) == ((2, 2, 1), np.float32)
    assert made[..., 0] == pytest.approx(np.array([[0.0, 1.0], [0.2, 0.4]]))


def test_normalising_is_per_channel() -> None:
    made = Normalise((0.5, 0.25, 0.0), (0.5, 0.25, 2.0)).apply(np.ones((1, 1, 3), np.float32))
    assert made.tolist() == [[[1.0, 3.0, 0.5]]]
    assert made.dtype == np.float32


@pytest.mark.parametrize(("order", "shape"), [("CHW", (3, 2, 4)), ("HWC", (2, 4, 3))])
def test_layouts_are_contiguous(order: Any, shape: tuple[int, ...]) -> None:
    image = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    made = Layout(order).apply(image)
    assert (made.shape, made.flags.c_contiguous) == (shape, True)
    assert made[(2, 1, 3) if order == "CHW" else (1, 3, 2)] == image[1, 3, 2]


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_every_file_is_decoded_to_the_asked_mode(mode: Any, channels: int, tmp_path: Path) -> None:
    noise(5, 4).convert("RGBA").save(tmp_path / "image.png")
    recipe = Recipe("small", (Decode(mode), ToArray(), Layout()))
    assert preprocess.apply(recipe, tmp_path / "image.png").shape == (channels, 4, 5)


def test_a_failing_step_names_the_file_and_itself(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UsageError, match=r"text\.png: step Decode of recipe imagenet_224 failed"):
        preprocess.apply(IMAGENET_224, tmp_path / "text.png")
    noise(300, 10).save(tmp_path / "thin.png")
    with pytest.raises(UsageError, match=r"thin\.png: step CenterCrop of recipe small"):
        preprocess.apply(Recipe("small", (Decode(), CenterCrop(224))), tmp_path / "thin.png")


def test_recipes_are_named_by_themselves() -> None:
    assert all(name == recipe.name for name, recipe in preprocess.RECIPES.items())


def test_a_recipe_as_text_has_the_steps_of_imagenet_at_another_size(tmp_path: Path) -> None:
    assert preprocess.RECIPES["size=224,resize=256"].steps == preprocess.IMAGENET_224.steps
    picture = tmp_path / "a.png"
    Image.new("RGB", (300, 200), (255, 0, 128)).save(picture)
    made = preprocess.apply(preprocess.RECIPES["size=96,mean=0.5,std=0.5"], picture)
    assert made.shape == (3, 96, 96)
    assert made[:, 0, 0].tolist() == pytest.approx([1.0, -1.0, 0.0], abs=0.01)
    grey = preprocess.apply(preprocess.RECIPES["size=96,mean=0,std=1,mode=L"], picture)
    assert grey.shape == (1, 96, 96)
    assert list(preprocess.RECIPES) == ["imagenet_224"]
    assert "size=64" in preprocess.RECIPES
    assert "nothing" not in preprocess.RECIPES


@pytest.mark.parametrize(
    "text",
    ["size=0", "resize=5", "size=9,resize=8", "size=9,colour=1", "size=9,std=0", "size=9,mean=1/2"],
)
def test_a_text_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a recipe; expected a name"):
        preprocess.RECIPES[text]
