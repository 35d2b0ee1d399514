"""Steps of a preprocessing recipe, as data: decode, resize, crop, scale, normalise, lay out.

A recipe is a tuple of frozen steps. The recipe runs once, before any runtime is loaded, and every
backend gets the same bytes. Steps import numpy and Pillow on use, so declaring a recipe is cheap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Recipe

Image = Any
"""A Pillow image before `ToArray`, a numpy array [height, width, channels] or CHW afterwards."""


@dataclass(frozen=True)
class Decode:
    """Read an image file with Pillow and convert to `mode` ("RGB": 3 channels, "L": 1)."""

    is_step: ClassVar[bool] = True
    mode: Literal["RGB", "L"] = "RGB"

    def apply(self, image: Image) -> Image:
        from PIL import Image as pillow

        with pillow.open(Path(image)) as opened:
            return opened.convert(self.mode)


@dataclass(frozen=True)
class Resize:
    """Scale the shorter side to `size` pixels, or to exactly `size` x `size` if `exact`.

    `antialias=True` widens the filter when shrinking, like Pillow and torchvision 0.17+; False
    samples source points only, like OpenCV's linear resize. The two differ by up to 2 % of task
    accuracy, so there is no default.
    """

    is_step: ClassVar[bool] = True
    size: int
    antialias: bool
    filter: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    exact: bool = False

    def apply(self, image: Image) -> Image:
        from PIL import Image as pillow

        resample = pillow.Resampling[self.filter.upper()]
        target = self._target(image.size)
        if self.antialias:
            return image.resize(target, resample)
        return image.transform(target, pillow.Transform.EXTENT, (0, 0, *image.size), resample)

    def _target(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.exact:
            return self.size, self.size
        short = min(size)
        return int(self.size * size[0] / short), int(
            self.size * size[1] / short
        )  # in this order, to round as torchvision does


@dataclass(frozen=True)
class CenterCrop:
    """Cut the middle `size` x `size` pixels; offsets are rounded like torchvision's."""

    is_step: ClassVar[bool] = True
    size: int

    def apply(self, image: Image) -> Image:
        width, height = image.size
        if min(width, height) < self.size:
            raise UsageError(
                f"CenterCrop({self.size}): the image is only {width}x{height}; resize it to "
                f"{self.size} or more first"
            )
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        return image.crop((left, top, left + self.size, top + self.size))


@dataclass(frozen=True)
class ToArray:
    """Pixels as float32 [height, width, channels], multiplied by `scale`."""

    is_step: ClassVar[bool] = True
    scale: float = 1 / 255

    def apply(self, image: Image) -> Image:
        import numpy as np

        pixels = np.asarray(image, dtype=np.float32) * np.float32(self.scale)
        return pixels[:, :, None] if pixels.ndim == 2 else pixels


@dataclass(frozen=True)
class Normalise:
    """Subtract `mean` and divide by `std`, per channel."""

    is_step: ClassVar[bool] = True
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, image: Image) -> Image:
        import numpy as np

        return (image - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)


@dataclass(frozen=True)
class Layout:
    """Order the axes as CHW or HWC and copy to contiguous memory."""

    is_step: ClassVar[bool] = True
    order: Literal["CHW", "HWC"] = "CHW"
    dtype: str = "float32"

    def apply(self, image: Image) -> Image:
        import numpy as np

        axes = (2, 0, 1) if self.order == "CHW" else (0, 1, 2)
        return np.ascontiguousarray(image.transpose(axes), dtype=self.dtype)


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

IMAGENET_224 = Recipe(
    "imagenet_224",
    (
        Decode("RGB"),
        Resize(256, antialias=True),
        CenterCrop(224),
        ToArray(),
        Normalise(IMAGENET_MEAN, IMAGENET_STD),
        Layout("CHW"),
    ),
)

RECIPE_KEYS = ("size", "resize", "mean", "std", "mode")
"""Keys of a recipe as text."""


def recipe_of(text: str) -> Recipe:
    """The recipe of a text such as `size=128,mean=0.5,std=0.5`, in the steps of imagenet_224.

    `size` is the side of the crop in pixels, `resize` the shorter side before the crop (default:
    size x 256 / 224), `mean` and `std` are in units of 0 to 1, with a value per channel between
    slashes (default: ImageNet's), `mode` is RGB or L. Raises UsageError for another text.
    """
    pairs = dict(part.partition("=")[::2] for part in text.split(","))
    try:
        size = int(pairs["size"])
        resize = int(pairs.get("resize") or round(size * 256 / 224))
        mean, std = (
            tuple(float(value) for value in pairs[name].split("/")) if name in pairs else default
            for name, default in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD))
        )
        mode = pairs.get("mode", "RGB")
        channels = {"RGB": 3, "L": 1}[mode]
        fits = all(len(values) in (1, channels) for values in (mean, std)) and min(std) > 0
        if set(pairs) - set(RECIPE_KEYS) or not 0 < size <= resize or not fits:
            raise ValueError
    except (KeyError, ValueError):
        raise UsageError(
            f"recipe {text!r} is not a recipe; expected a name ({', '.join(RECIPES)}) or "
            "size=128,resize=146,mean=0.485/0.456/0.406,std=0.229/0.224/0.225,mode=RGB, of which "
            "size is required"
        ) from None
    return Recipe(
        text,
        (
            Decode("RGB" if mode == "RGB" else "L"),
            Resize(resize, antialias=True),
            CenterCrop(size),
            ToArray(),
            Normalise(mean, std),
            Layout("CHW"),
        ),
    )


class Recipes(Mapping[str, Recipe]):
    """Recipes by name, and by text with a `=` (`recipe_of`). Iteration is over the names."""

    def __init__(self, named: Mapping[str, Recipe]) -> None:
        self._named = dict(named)

    def __getitem__(self, name: str) -> Recipe:
        return recipe_of(name) if "=" in name else self._named[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)


RECIPES: Mapping[str, Recipe] = Recipes({IMAGENET_224.name: IMAGENET_224})
"""Recipes on the command line."""


def apply(recipe: Recipe, file: Path) -> Any:
    """The array made by `recipe` from an image file. Raises UsageError with file and step."""
    value: Any = file
    for step in recipe.steps:
        try:
            value = step.apply(value)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{file}: step {type(step).__name__} of recipe {recipe.name} failed: {error}"
            ) from error
    return value
