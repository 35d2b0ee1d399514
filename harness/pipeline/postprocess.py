"""What a network's outputs say of a frame, and that drawn onto it: a label, a class for every
pixel, or boxes with masks.

Postprocessing turns outputs into an `Answer` (argmax, threshold), and drawing puts it onto the
frame where the network looked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness import preprocess
from harness.core.errors import Unsupported, UsageError
from harness.core.types import BATCH, Model, Recipe
from harness.inputs import geometry

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MASK_LEVEL = 0.5
"""A pixel whose mask is above this belongs to the object, as in `detections`."""


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
