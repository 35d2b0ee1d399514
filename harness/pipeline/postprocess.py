"""What a network's outputs say of a frame, and that drawn onto it: a label, a class for every
pixel, or boxes with masks.

Postprocessing turns outputs into an `Answer` (argmax, threshold), and drawing puts it onto the
frame where the network looked.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from harness import preprocess
from harness.core.errors import Unsupported, UsageError
from harness.core.types import BATCH, Model, Recipe
from harness.inputs import geometry

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Picture = Any
"""A Pillow image in RGB."""

COLOURS = 256
MASK_LEVEL = 0.5
"""A pixel whose mask is above this belongs to the object, as in `detections`."""

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


@dataclass(frozen=True)
class Answer:
    """What is drawn: words, a class per pixel [height, width] with 0 for what stays as it is, or
    objects.

    `boxes` are corners in the network's pixels, [count, 4]; `masks` are booleans [count, height,
    width] over the network's whole picture.
    """

    words: tuple[str, ...] = ()
    classes: Array | None = None
    boxes: Array | None = None
    kinds: tuple[int, ...] = ()
    masks: Array | None = None


def recipe_of(model: Model) -> Recipe:
    """How a frame becomes the model's one input. Raises UsageError where nobody said."""
    recipe = model.recipe or preprocess.RECIPES.get(model.arguments.get("recipe", ""))
    if recipe is None or len(model.inputs) != 1:
        raise UsageError(
            f"model {model.name} has no recipe that makes its input of a picture; declare recipe=, or give --input PHOTO --recipe NAME"
        )
    if not recipe.steps or not isinstance(recipe.steps[0], preprocess.Decode):
        raise UsageError(
            f"recipe {recipe.name} does not begin with Decode, which the frames of a video take the place of"
        )
    if geometry.refuses(recipe):
        raise UsageError(geometry.refuses(recipe))
    return recipe


def view(recipe: Recipe, width: int, height: int) -> View:
    """Where on a frame of this size the recipe looks. Raises UsageError where a step of it is not
    known.
    """
    seen = geometry.place(recipe, width, height)
    left, top = seen.left / seen.scale_x, seen.top / seen.scale_y
    right, bottom = left + seen.seen_width / seen.scale_x, top + seen.seen_height / seen.scale_y
    return View(left, top, right, bottom, seen.seen_width, seen.seen_height)


# -- postprocessing --------------------------------------------------------------------------------


def reader(model: Model) -> Callable[[Mapping[str, Any]], Answer]:
    """What makes an `Answer` of the model's outputs. Raises Unsupported, in words, where they
    cannot be drawn.
    """
    scores = outputs_read(model)[0]
    if model.task == "detection":
        return lambda outputs: _objects(model, outputs)
    read = _label if model.task == "classification" else _pixels
    return lambda outputs: read(model, outputs[scores][0])


def outputs_read(model: Model) -> tuple[str, ...]:
    """The names of the outputs that an answer is read from: the scores, or a detector's boxes,
    labels, scores and maybe masks.

    Raises Unsupported, in words, where nothing can be drawn of them.
    """
    shapes = {spec.name: spec.shape for spec in model.outputs}
    if model.task == "detection" and {"boxes", "labels", "scores"} <= set(shapes):
        return ("boxes", "labels", "scores", *(["masks"] if "masks" in shapes else []))
    wanted = {"classification": 2, "segmentation": 4}.get(model.task, 0)
    found = [
        name for name, shape in shapes.items() if len(shape) == wanted and shape[0] in (BATCH, 1)
    ]
    if not found:
        told = ", ".join(f"{name}{list(shape)}" for name, shape in shapes.items())
        raise Unsupported(
            f"nothing of {model.name} can be drawn: its task is {model.task} and its outputs are {told}; expected classification with "
            "[batch, classes], segmentation with [batch, classes, height, width], or detection with boxes, labels and scores"
        )
    return (found[0],)


def _label(model: Model, scores: Array) -> Answer:
    """The best class and its share after a softmax."""
    import numpy as np

    best = int(scores.argmax())
    share = 1 / float(np.sum(np.exp(scores.astype(np.float64) - float(scores[best]))))
    return Answer((f"{_name(model, best)}  {share:.2f}",))


def _pixels(model: Model, scores: Array) -> Answer:
    """The best class of every pixel; class 0 is the background."""
    return Answer(classes=scores.argmax(0).astype("uint8"))


def _objects(model: Model, outputs: Mapping[str, Any]) -> Answer:
    """Those that score at least the model's threshold."""
    kept = outputs["scores"] >= model.score_threshold
    kinds = tuple(int(kind) for kind in outputs["labels"][kept])
    scores = [float(score) for score in outputs["scores"][kept]]
    words = tuple(
        f"{_name(model, kind)} {score:.2f}" for kind, score in zip(kinds, scores, strict=True)
    )
    masks = outputs["masks"][kept] > MASK_LEVEL if "masks" in outputs else None
    if masks is not None and masks.ndim == 4:
        masks = masks[:, 0]
    return Answer(words, boxes=outputs["boxes"][kept], kinds=kinds, masks=masks)


def wordless(answer: Answer) -> Answer:
    """The same without letters, as a program draws it that has none."""
    return replace(answer, words=("",) * len(answer.words))


def _name(model: Model, kind: int) -> str:
    return model.labels[kind] if kind < len(model.labels) else f"class {kind}"


# -- drawing ---------------------------------------------------------------------------------------


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
