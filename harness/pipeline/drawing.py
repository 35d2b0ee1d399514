"""Drawing onto frames: labels, masks and boxes where the network looked, and differences of frames."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.core.types import Recipe
from harness.inputs import geometry
from harness.pipeline.postprocess import Answer

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Picture = Any
"""A Pillow image in RGB."""

COLOURS = 256

OPACITY = 140
"""Of 255, of what is laid over the frame."""

LETTERS_PIXELS = 15


@dataclass(frozen=True)
class View:
    """The part of a frame that the network saw, in the frame's pixels, and how many pixels it saw
    of it.
    """

    left: float
    top: float
    right: float
    bottom: float
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """In whole pixels of the frame."""
        return round(self.left), round(self.top), round(self.right), round(self.bottom)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A point of the network's picture as a point of the frame."""
        across, down = (self.right - self.left) / self.width, (self.bottom - self.top) / self.height
        return self.left + x * across, self.top + y * down


def view(recipe: Recipe, width: int, height: int) -> View:
    """Where on a frame of this size the recipe looks. Raises UsageError where a step of it is not
    known.
    """
    seen = geometry.place(recipe, width, height)
    left, top = seen.left / seen.scale_x, seen.top / seen.scale_y
    right, bottom = left + seen.seen_width / seen.scale_x, top + seen.seen_height / seen.scale_y
    return View(left, top, right, bottom, seen.seen_width, seen.seen_height)


def draw(picture: Picture, seen: View, answer: Answer) -> Picture:
    """A copy of the frame with the answer on it, and a thin line around what the network saw."""
    from PIL import ImageDraw

    made = picture.copy()
    if answer.classes is not None:
        _overlay(made, seen, answer.classes)
    for number, mask in enumerate(answer.masks if answer.masks is not None else ()):
        _overlay(made, seen, mask * _colour_of(answer.kinds[number]))
    pen = ImageDraw.Draw(made)
    if seen.box != (0, 0, *made.size):
        left, top, right, bottom = seen.box
        pen.rectangle((left, top, right - 1, bottom - 1), outline=(255, 255, 255))
    if answer.boxes is None:
        for line, words in enumerate(answer.words):
            _write(
                pen,
                (seen.box[0] + 6, seen.box[1] + 6 + line * (LETTERS_PIXELS + 6)),
                words,
                (0, 0, 0),
            )
        return made
    for box, kind, words in zip(answer.boxes, answer.kinds, answer.words, strict=True):
        corners = [
            *seen.place(float(box[0]), float(box[1])),
            *seen.place(float(box[2]), float(box[3])),
        ]
        colour = tuple(int(level) for level in palette()[_colour_of(kind)])
        pen.rectangle(_ordered(corners), outline=colour, width=2)
        _write(pen, (corners[0] + 2, corners[1] + 1), words, colour)
    return made


def _ordered(corners: list[float]) -> list[float]:
    """A box that a network turned inside out is drawn all the same."""
    return [
        min(corners[0], corners[2]),
        min(corners[1], corners[3]),
        max(corners[0], corners[2]),
        max(corners[1], corners[3]),
    ]


def _overlay(picture: Picture, seen: View, classes: Array) -> None:
    """Lay the colours of classes over the view; where the class is 0 the picture stays as it is."""
    import numpy as np
    from PIL import Image as pillow

    left, top, right, bottom = seen.box
    size = right - left, bottom - top
    colours = pillow.fromarray(palette()[classes]).resize(size, pillow.Resampling.NEAREST)
    opacity = pillow.fromarray(np.where(classes > 0, OPACITY, 0).astype(np.uint8)).resize(
        size, pillow.Resampling.NEAREST
    )
    picture.paste(colours, (left, top), opacity)


def _write(pen: Any, place: tuple[float, float], words: str, ground: tuple[int, ...]) -> None:
    if not words:
        return
    box = pen.textbbox(place, words, font=_letters())
    pen.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 2), fill=ground)
    pen.text(
        place, words, fill=(0, 0, 0) if sum(ground) > 380 else (255, 255, 255), font=_letters()
    )


@cache
def _letters() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(LETTERS_PIXELS)


def _colour_of(kind: int) -> int:
    """The colour of a class; 0 is that of nothing."""
    return 1 + (kind - 1) % (COLOURS - 1)


@cache
def palette() -> Array:
    """A colour per class, uint8 [256, 3]. Neighbours are far apart: each hue is the golden ratio
    further around the circle.
    """
    import numpy as np

    hues = [colorsys.hsv_to_rgb(0.618034 * place % 1.0, 0.75, 0.95) for place in range(COLOURS)]
    return np.asarray(np.array(hues) * 255, np.uint8)


def difference(one: Picture, other: Picture, gain: int) -> tuple[Picture, float, int]:
    """The absolute difference of two frames times `gain`, the share of pixels that differ at all,
    and the largest difference in levels of 255. Raises ValueError where their sizes differ."""
    import numpy as np
    from PIL import Image as pillow

    a, b = (np.asarray(each, dtype=np.int16) for each in (one, other))
    if a.shape != b.shape:
        raise ValueError(f"frames of {list(a.shape)} and {list(b.shape)} cannot be compared")
    apart = np.abs(a - b)
    shown = pillow.fromarray(np.minimum(apart * gain, 255).astype(np.uint8))
    changed = np.count_nonzero(apart.max(-1)) / apart[..., 0].size
    return shown, changed, int(apart.max(initial=0))
