"""Postprocessing: a network's outputs become predictions for a frame.

A prediction is a label, a class for every pixel, or objects with boxes and masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evenbench.harness import preprocess
from evenbench.harness.core.data_dependent_shapes import MASK_LEVEL
from evenbench.harness.core.errors import Unsupported, UsageError
from evenbench.harness.core.tensor_specs import BATCH
from evenbench.harness.core.types import Model, Recipe
from evenbench.harness.inputs import geometry

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

DIMENSIONS = {"classification": 2, "segmentation": 4}
"""Dimensions of the output with the scores, by task."""


@dataclass(frozen=True)
class Prediction:
    """Drawable results: text, a class per pixel [height, width] with 0 for background, or objects.

    `boxes` are corners in the network's pixels, [count, 4]; `masks` are booleans [count, height,
    width] over the network's whole input.
    """

    words: tuple[str, ...] = ()
    classes: Array | None = None
    boxes: Array | None = None
    kinds: tuple[int, ...] = ()
    masks: Array | None = None


def recipe_of(model: Model) -> Recipe:
    """The recipe from a frame to the model's input. Raises UsageError without a suitable recipe."""
    recipe = model.recipe or preprocess.RECIPES.get(model.arguments.get("recipe", ""))
    if recipe is None or len(model.inputs) != 1:
        raise UsageError(
            f"model {model.name} has no recipe from a picture to a single input; declare recipe= "
            "in the model, or name a recipe and a photo on the command line"
        )
    if not recipe.steps or not isinstance(recipe.steps[0], preprocess.Decode):
        raise UsageError(
            f"recipe {recipe.name} does not begin with Decode, which the video's frames replace; "
            "put Decode first"
        )
    if geometry.refuses(recipe):
        raise UsageError(geometry.refuses(recipe))
    return recipe


def reader(model: Model) -> Callable[[Mapping[str, Any]], Prediction]:
    """The function from the model's outputs to a `Prediction`.

    Raises Unsupported for outputs without a drawing.
    """
    scores = outputs_read(model)[0]
    if model.task == "detection":
        return lambda outputs: _objects(model, outputs)
    read = _label if model.task == "classification" else _pixels
    return lambda outputs: read(model, outputs[scores][0])


def outputs_read(model: Model) -> tuple[str, ...]:
    """The names of the outputs for a prediction.

    These are the scores, or a detector's boxes, labels, scores and optional masks. Raises
    Unsupported for outputs without a drawing.
    """
    shapes = {spec.name: spec.shape for spec in model.outputs}
    if model.task == "detection" and {"boxes", "labels", "scores"} <= set(shapes):
        return ("boxes", "labels", "scores", *(["masks"] if "masks" in shapes else []))
    dimensions = DIMENSIONS.get(model.task, 0)
    for name, shape in shapes.items():
        if len(shape) == dimensions and shape[0] in (BATCH, 1):
            return (name,)
    outputs = ", ".join(f"{name}{list(shape)}" for name, shape in shapes.items())
    raise Unsupported(
        f"nothing of {model.name} can be drawn: its task is {model.task} and its outputs are "
        f"{outputs}; expected classification with [batch, classes], segmentation with [batch, "
        "classes, height, width], or detection with boxes, labels and scores"
    )


def _label(model: Model, scores: Array) -> Prediction:
    """The best class with the softmax probability."""
    import numpy as np

    best = int(scores.argmax())
    probability = 1 / float(np.sum(np.exp(scores.astype(np.float64) - float(scores[best]))))
    return Prediction((f"{_name(model, best)}  {probability:.2f}",))


def _pixels(model: Model, scores: Array) -> Prediction:
    """The best class of every pixel; class 0 is the background."""
    return Prediction(classes=scores.argmax(0).astype("uint8"))


def _objects(model: Model, outputs: Mapping[str, Any]) -> Prediction:
    """The objects with a score of at least the model's threshold."""
    kept = outputs["scores"] >= model.score_threshold
    kinds = tuple(int(kind) for kind in outputs["labels"][kept])
    scores = [float(score) for score in outputs["scores"][kept]]
    words = tuple(
        f"{_name(model, kind)} {score:.2f}" for kind, score in zip(kinds, scores, strict=True)
    )
    masks = outputs["masks"][kept] > MASK_LEVEL if "masks" in outputs else None
    if masks is not None and masks.ndim == 4:
        masks = masks[:, 0]
    return Prediction(words, boxes=outputs["boxes"][kept], kinds=kinds, masks=masks)


def without_text(prediction: Prediction) -> Prediction:
    """The prediction without text, for comparison with a session that draws no letters."""
    return replace(prediction, words=("",) * len(prediction.words))


def _name(model: Model, kind: int) -> str:
    return model.labels[kind] if kind < len(model.labels) else f"class {kind}"
