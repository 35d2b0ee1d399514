"""Drawing predictions onto frames: labels, masks and boxes in the network's view of the frame."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.types import Recipe
from evenbench.harness.inputs import geometry
from evenbench.harness.pipeline.postprocess import Prediction

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Picture = Any
"""A Pillow image in RGB."""

COLOURS = 256

OPACITY = 140
"""Opacity of class colours over the frame, of 255."""

LETTERS_PIXELS = 15
MARGIN_PIXELS = 6
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True)
class View:
    """The visible part of a frame: corners in the frame's pixels, size in the network's pixels."""

    left: float
    top: float
    right: float
    bottom: float
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The corners in whole pixels of the frame."""
        return round(self.left), round(self.top), round(self.right), round(self.bottom)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Convert a point from the network's pixels to the frame's pixels."""
        across, down = (self.right - self.left) / self.width, (self.bottom - self.top) / self.height
        return self.left + x * across, self.top + y * down


def view(recipe: Recipe, width: int, height: int) -> View:
    """The recipe's view of a frame of a size in pixels. Raises UsageError for an unknown step."""
    seen = geometry.place(recipe, width, height)
    left, top = seen.left / seen.scale_x, seen.top / seen.scale_y
    right, bottom = left + seen.seen_width / seen.scale_x, top + seen.seen_height / seen.scale_y
    return View(left, top, right, bottom, seen.seen_width, seen.seen_height)


def draw(picture: Picture, seen: View, prediction: Prediction) -> Picture:
    """A copy of the frame with the prediction, and a thin outline of the view."""
    from PIL import ImageDraw

    drawn = picture.copy()
    if prediction.classes is not None:
        _overlay(drawn, seen, prediction.classes)
    for number, mask in enumerate(prediction.masks if prediction.masks is not None else ()):
        _overlay(drawn, seen, mask * _colour_of(prediction.kinds[number]))
    pen = ImageDraw.Draw(drawn)
    left, top, right, bottom = seen.box
    if seen.box != (0, 0, *drawn.size):
        pen.rectangle((left, top, right - 1, bottom - 1), outline=WHITE)
    if prediction.boxes is not None:
        _draw_boxes(pen, seen, prediction)
        return drawn
    for number, text in enumerate(prediction.words):
        down = number * (LETTERS_PIXELS + MARGIN_PIXELS)
        _write(pen, (left + MARGIN_PIXELS, top + MARGIN_PIXELS + down), text, BLACK)
    return drawn


def _draw_boxes(pen: Any, seen: View, prediction: Prediction) -> None:
    assert prediction.boxes is not None
    rows = zip(prediction.boxes, prediction.kinds, prediction.words, strict=True)
    for box, kind, text in rows:
        x0, y0 = seen.place(float(box[0]), float(box[1]))
        x1, y1 = seen.place(float(box[2]), float(box[3]))
        colour = tuple(int(level) for level in palette()[_colour_of(kind)])
        # A network may swap the corners of a box.
        ordered = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        pen.rectangle(ordered, outline=colour, width=2)
        _write(pen, (x0 + 2, y0 + 1), text, colour)


def _overlay(picture: Picture, seen: View, classes: Array) -> None:
    """Blend the colours of classes over the view; class 0 leaves the picture unchanged."""
    import numpy as np
    from PIL import Image as pillow

    left, top, right, bottom = seen.box
    size, nearest = (right - left, bottom - top), pillow.Resampling.NEAREST
    colours = pillow.fromarray(palette()[classes]).resize(size, nearest)
    levels = np.where(classes > 0, OPACITY, 0).astype(np.uint8)
    opacity = pillow.fromarray(levels).resize(size, nearest)
    picture.paste(colours, (left, top), opacity)


def _write(pen: Any, place: tuple[float, float], text: str, ground: tuple[int, ...]) -> None:
    if not text:
        return
    left, top, right, bottom = pen.textbbox(place, text, font=_letters())
    pen.rectangle((left - 3, top - 2, right + 3, bottom + 2), fill=ground)
    pen.text(place, text, fill=BLACK if sum(ground) > 380 else WHITE, font=_letters())


@cache
def _letters() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(LETTERS_PIXELS)


def _colour_of(kind: int) -> int:
    """The palette index of a class; index 0 is the background."""
    return 1 + (kind - 1) % (COLOURS - 1)


@cache
def palette() -> Array:
    """A colour per class, uint8 [256, 3].

    Each hue is the golden ratio further around the circle, so neighbours differ clearly.
    """
    import numpy as np

    hues = [colorsys.hsv_to_rgb(0.618034 * place % 1.0, 0.75, 0.95) for place in range(COLOURS)]
    return np.asarray(np.array(hues) * 255, np.uint8)


def difference(first: Picture, second: Picture, gain: int) -> tuple[Picture, float, int]:
    """Compare two frames pixel by pixel.

    Returns the absolute difference times `gain`, the share of different pixels, and the largest
    difference in levels of 255. Raises ValueError for frames of different sizes.
    """
    import numpy as np
    from PIL import Image as pillow

    a, b = (np.asarray(picture, dtype=np.int16) for picture in (first, second))
    if a.shape != b.shape:
        raise ValueError(f"frames of {list(a.shape)} and {list(b.shape)} cannot be compared")
    levels = np.abs(a - b)
    shown = pillow.fromarray(np.minimum(levels * gain, 255).astype(np.uint8))
    changed = np.count_nonzero(levels.max(-1)) / levels[..., 0].size
    return shown, changed, int(levels.max(initial=0))
