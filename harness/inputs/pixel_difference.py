"""The difference between two preprocessed images, in 8-bit pixel levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import Unavailable, UsageError
from harness.core.types import Recipe
from harness.inputs import preprocessors
from harness.preprocess import Layout, Normalise, ToArray

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ALLOWED = 2.0
"""Levels: what two decoders and two roundings differ by. A wrong filter, order or mean is beyond it
on any photograph.
"""

DIGITS = 3
"""Of a level: what is less is float32's rounding in `Normalise`, of levels that were whole before.
"""


@dataclass(frozen=True)
class Difference:
    """Between two results of one recipe, in levels of 255: the worst value, and the share of values
    further apart than one level.
    """

    worst: float
    share: float


def in_levels(recipe: Recipe, array: Array) -> Array:
    """What the recipe made of an image, as levels again: float64 [height, width, channels],
    normalising and scaling undone.

    Raises UsageError for a recipe with steps of one's own after `ToArray`, which nobody can undo.
    """
    import numpy as np

    values = array.astype(np.float64)
    places = [place for place, step in enumerate(recipe.steps) if isinstance(step, ToArray)]
    if not places:
        raise UsageError(
            f"recipe {recipe.name} has no ToArray, so that nobody knows what a level is; give a recipe that has"
        )
    for step in reversed(recipe.steps[places[-1] :]):
        if isinstance(step, Layout):
            values = values.transpose(1, 2, 0) if step.order == "CHW" else values
        elif isinstance(step, Normalise):
            values = values * np.asarray(step.std) + np.asarray(step.mean)
        elif isinstance(step, ToArray):
            values = values / step.scale
        else:
            raise UsageError(
                f"recipe {recipe.name}: {type(step).__name__} cannot be undone; only steps of harness.preprocess can"
            )
    return values


def between(recipe: Recipe, one: Array, other: Array) -> Difference:
    """How far two results of the recipe are apart. Raises UsageError where they differ in shape."""
    import numpy as np

    if one.shape != other.shape:
        raise UsageError(
            f"recipe {recipe.name} made {list(one.shape)} and {list(other.shape)}, which cannot be compared"
        )
    apart = np.abs(in_levels(recipe, one) - in_levels(recipe, other))
    worst = (
        round(float(np.max(apart, initial=0.0)), DIGITS)
        if np.all(np.isfinite(apart))
        else float("inf")
    )
    return Difference(
        worst, float(np.count_nonzero(~(apart <= 1 + 10**-DIGITS)) / max(apart.size, 1))
    )


def compared(recipe: Recipe, library: str, files: Sequence[Path]) -> dict[str, Any]:
    """One library against Pillow on each file. Where it cannot do the recipe, `reason` says why and
    there are no numbers.

    Raises UsageError for a library that nobody registered, or a file that is no image.
    """
    nothing: dict[str, Any] = {
        "library": library,
        "recipe": recipe.name,
        "worst": None,
        "share": None,
        "reason": "",
        "photos": {},
    }
    why = preprocessors.refuses(recipe, library)
    if why:
        return {**nothing, "reason": why}
    by = preprocessors.ImplementedRecipe(recipe.name, recipe.steps, library)
    try:
        made = {
            file.name: between(
                recipe, preprocessors.apply(by, file), preprocessors.apply(recipe, file)
            )
            for file in files
        }
    except Unavailable as error:
        return {**nothing, "reason": str(error)}
    largest = {
        "worst": max(each.worst for each in made.values()),
        "share": max(each.share for each in made.values()),
    }
    return {**nothing, **largest, "photos": {name: asdict(each) for name, each in made.items()}}
