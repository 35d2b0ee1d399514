"""The difference between two preprocessed images, in 8-bit pixel levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.errors import Unavailable, UsageError
from evenbench.harness.core.types import Recipe
from evenbench.harness.inputs import preprocessors
from evenbench.harness.preprocess import Layout, Normalise, ToArray

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ALLOWED = 2.0
"""Levels of difference between two decoders and two roundings.

A wrong filter, order or mean exceeds the limit on any photograph.
"""

DIGITS = 3
"""Digits of a level. Smaller differences are float32's rounding in `Normalise`."""


@dataclass(frozen=True)
class Difference:
    """The worst difference, in levels of 255, and the share of values more than a level apart."""

    worst: float
    share: float


def in_levels(recipe: Recipe, array: Array) -> Array:
    """The recipe's result as levels: float64 [height, width, channels], without normalisation.

    Raises UsageError for a recipe with user-defined steps after `ToArray`.
    """
    import numpy as np

    values = array.astype(np.float64)
    places = [place for place, step in enumerate(recipe.steps) if isinstance(step, ToArray)]
    if not places:
        raise UsageError(
            f"recipe {recipe.name} has no ToArray step, which defines pixel levels; add the step"
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
                f"recipe {recipe.name}: {type(step).__name__} cannot be inverted; expected steps "
                "of harness.preprocess"
            )
    return values


def between(recipe: Recipe, one: Array, other: Array) -> Difference:
    """The difference between two results of the recipe. Raises UsageError for different shapes."""
    import numpy as np

    if one.shape != other.shape:
        raise UsageError(
            f"recipe {recipe.name} made {list(one.shape)} and {list(other.shape)}; expected "
            "equal shapes"
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
    """A library's difference to Pillow on each file, or the `reason` for a refusal.

    Raises UsageError for an unregistered library, or a file without an image.
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
        differences = {
            file.name: between(
                recipe, preprocessors.apply(by, file), preprocessors.apply(recipe, file)
            )
            for file in files
        }
    except Unavailable as error:
        return {**nothing, "reason": str(error)}
    largest = {
        "worst": max(difference.worst for difference in differences.values()),
        "share": max(difference.share for difference in differences.values()),
    }
    return {
        **nothing,
        **largest,
        "photos": {name: asdict(difference) for name, difference in differences.items()},
    }
