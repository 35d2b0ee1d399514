"""Preprocessing in NumPy: resize as two matrix products, by the filter's definition.

Pillow decodes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from evenbench.backends.preprocessing.pillow_preprocessor import Pillow
from evenbench.harness.inputs.preprocessors import Image
from evenbench.harness.preprocess import Decode, Resize

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

HALF = 0.5
"""Position of a pixel's centre; 0 would sample at corners."""


def triangle(distance: Array) -> Array:
    """The bilinear filter."""
    import numpy as np

    return np.maximum(0.0, 1.0 - np.abs(distance))


def cubic(distance: Array) -> Array:
    """The bicubic filter with a = -0.5.

    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29, 1981.
    """
    import numpy as np

    x = np.abs(distance)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


FILTERS: dict[str, Callable[[Array], Array]] = {"bilinear": triangle, "bicubic": cubic}


@lru_cache(maxsize=64)
def weights(size: int, target: int, filter: str, antialias: bool, centre: float = HALF) -> Array:
    """Return the weights of `size` pixels for `target` pixels: float64 [target, size], rows sum to
    1.

    With `antialias`, shrinking widens the filter to the step between two targets. Pixels beyond an
    edge are left out and the rest is reweighted; for the plain bilinear filter this equals
    repeating the edge. `nearest` selects the pixel at the target's centre, computed in integers,
    since a centre may lie on a border.
    """
    import numpy as np

    if filter == "nearest":
        return np.eye(size)[(2 * np.arange(target) + 1) * size // (2 * target)]
    step = size / target
    wide = max(step, 1.0) if antialias else 1.0
    centres = (np.arange(target) + centre) * step - centre
    table = FILTERS[filter]((np.arange(size)[None, :] - centres[:, None]) / wide)
    table = table / table.sum(axis=1, keepdims=True)
    table.setflags(write=False)
    return table


def resized(pixels: Array, down: Array, across: Array) -> Array:
    """Resize pixels [height, width, ...] by `weights` for both axes, in the weights' type."""
    import numpy as np

    high = np.tensordot(down, pixels.astype(down.dtype), axes=(1, 0))
    return np.moveaxis(np.tensordot(across, high, axes=(1, 1)), 0, 1)


class NumPy(Pillow):
    """NumPy's steps; an image is a uint8 array [height, width] or [height, width, 3]."""

    name = "numpy"
    requires = ("numpy", "PIL")
    distributions = ("numpy", "pillow")
    does = {
        **Pillow.does,
        "Decode": "Pillow: NumPy has no decoder",
        "Resize": "two products with the filter's weights in float32",
    }

    def refuses(self, step: Any) -> str:
        if isinstance(step, Resize) and step.filter == "bicubic" and not step.antialias:
            return (
                "only pillow samples bicubic without antialias; OpenCV and torch have another "
                "filter (a = -0.75)"
            )
        return super().refuses(step)

    def decode(self, encoded: bytes, step: Decode) -> Image:
        import numpy as np

        return np.asarray(super().decode(encoded, step))

    def opened(self, pixels: Any) -> Image:
        return pixels

    def size(self, image: Image) -> tuple[int, int]:
        return image.shape[1], image.shape[0]

    def resize(self, image: Image, step: Resize, width: int, height: int) -> Image:
        import numpy as np

        down = _narrow(image.shape[0], height, step.filter, step.antialias)
        across = _narrow(image.shape[1], width, step.filter, step.antialias)
        # [width, height, ...]
        wide = _rounded(np.tensordot(across, image.astype(np.float32), axes=(1, 1)))
        return _rounded(np.tensordot(down, wide, axes=(1, 1))).astype(np.uint8)

    def crop(self, image: Image, left: int, top: int, size: int) -> Image:
        return image[top : top + size, left : left + size]


def _rounded(levels: Array) -> Array:
    """Round to levels of 0 to 255: Pillow and torch also keep 8 bits between the directions."""
    import numpy as np

    return np.clip(np.rint(levels), 0, 255)


@lru_cache(maxsize=64)
def _narrow(size: int, target: int, filter: str, antialias: bool) -> Array:
    import numpy as np

    return weights(size, target, filter, antialias).astype(np.float32)
