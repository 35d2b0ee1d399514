"""The geometry of recipes: boxes and masks from the network's pixels back to the image file's.

Only known steps have a geometry; recipes with other steps are refused, instead of ignoring the
steps. The numbers come from the steps themselves, applied to an empty image and to an image of
pixel positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Recipe
from evenbench.harness.preprocess import CenterCrop, Decode, Layout, Normalise, Resize, ToArray

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

IGNORED = 255
"""The class number of ignored pixels in a mask, as in PASCAL VOC."""

MOVING = (Resize, CenterCrop)
STAYING = (Decode, ToArray, Normalise, Layout)


@dataclass(frozen=True)
class Place:
    """The network's view of an image of `width` x `height` pixels.

    x in the file is x * `scale_x` - `left`, of `seen_width` pixels. Positions are edges, so the
    first pixel spans 0 to 1.
    """

    width: int
    height: int
    scale_x: float = 1.0
    scale_y: float = 1.0
    left: float = 0.0
    top: float = 0.0
    seen_width: int = 0
    seen_height: int = 0

    def boxes_in_file(self, boxes: Array) -> Array:
        """Corners [n, 4] (x1, y1, x2, y2), from the network's pixels to the file's, clipped."""
        import numpy as np

        moved = boxes.astype(np.float64) + np.array([self.left, self.top] * 2)
        moved /= np.array([self.scale_x, self.scale_y] * 2)
        corners: Array = np.clip(moved, 0.0, np.array([self.width, self.height] * 2, np.float64))
        return corners

    def mask_in_file(self, mask: Array) -> Array:
        """A mask [seen_height, seen_width] of 0..1 at the file's pixels, bilinear; 0 outside."""
        rows = _weights(self.height, self.scale_y, self.top, self.seen_height)
        columns = _weights(self.width, self.scale_x, self.left, self.seen_width)
        pixels: Array = rows @ mask.astype(rows.dtype) @ columns.T
        return pixels

    def hidden(self, x: float, y: float, width: float, height: float) -> bool:
        """Whether a box in the file's pixels (x, y, width, height) lies wholly outside the view."""
        left, top = x * self.scale_x - self.left, y * self.scale_y - self.top
        right, bottom = left + width * self.scale_x, top + height * self.scale_y
        return right <= 0 or bottom <= 0 or left >= self.seen_width or top >= self.seen_height


@lru_cache(maxsize=64)
def _weights(size: int, scale: float, offset: float, seen: int) -> Array:
    """Weights [size, seen] of the network's pixels in the file's: linear between centres."""
    import numpy as np

    weights = np.zeros((size, seen), np.float32)
    at = (np.arange(size) + 0.5) * scale - offset
    inside = (at >= 0) & (at < seen)
    centre = np.clip(at - 0.5, 0, seen - 1)
    low = np.floor(centre).astype(int)
    high = np.minimum(low + 1, seen - 1)
    rows = np.arange(size)[inside]
    np.add.at(weights, (rows, low[inside]), 1 - (centre - low)[inside])
    np.add.at(weights, (rows, high[inside]), (centre - low)[inside])
    return weights


def refuses(recipe: Recipe) -> str:
    """The reason boxes and masks cannot be followed through a recipe, or an empty string."""
    strange = [
        type(step).__name__ for step in recipe.steps if type(step) not in (*MOVING, *STAYING)
    ]
    if strange:
        known = ", ".join(kind.__name__ for kind in (*MOVING, *STAYING))
        return (
            f"recipe {recipe.name} has the step {strange[0]}, of unknown geometry; expected {known}"
        )
    return ""


@lru_cache(maxsize=64)
def place(recipe: Recipe, width: int, height: int) -> Place:
    """The view of an image of this size under a recipe. Raises UsageError for an unknown step."""
    from PIL import Image

    problem = refuses(recipe)
    if problem:
        raise UsageError(problem)
    view = Place(width, height, seen_width=width, seen_height=height)
    for step in recipe.steps:
        if type(step) is Resize:
            size = step.apply(Image.new("L", (view.seen_width, view.seen_height))).size
            x, y = size[0] / view.seen_width, size[1] / view.seen_height
            scaled = replace(
                view,
                scale_x=view.scale_x * x,
                scale_y=view.scale_y * y,
                left=view.left * x,
                top=view.top * y,
            )
            view = replace(scaled, seen_width=size[0], seen_height=size[1])
        elif type(step) is CenterCrop:
            cut = step.apply(_positions(view.seen_width, view.seen_height))
            top, left = divmod(cut.getpixel((0, 0)), view.seen_width)
            view = replace(
                view,
                left=view.left + left,
                top=view.top + top,
                seen_width=cut.size[0],
                seen_height=cut.size[1],
            )
    return view


def _positions(width: int, height: int) -> Any:
    """An image with pixels equal to their index, row by row."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.arange(width * height, dtype=np.int32).reshape(height, width))


def follow(recipe: Recipe, labels: Any) -> Any:
    """A Pillow image of class numbers under the network's pixels, by nearest neighbours."""
    for step in recipe.steps:
        if type(step) is Resize:
            labels = replace(step, filter="nearest", antialias=True).apply(
                labels
            )  # Pillow's nearest filter takes the pixel under each centre
        elif type(step) is CenterCrop:
            labels = step.apply(labels)
    return labels
