"""`evenbench levels`: by how many levels, of 255, two libraries differ that do one recipe. A number a person knows from pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import implementations, photographs, preprocess, terminal
from harness.preprocess import Layout, Normalise, ToArray
from harness.types import Recipe, Unavailable, UsageError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ALLOWED = 2.0
"""Levels: what two decoders and two roundings differ by. A wrong filter, order or mean is beyond it on any photograph."""

DIGITS = 3
"""Of a level: what is less is float32's rounding in `Normalise`, of levels that were whole before."""

EPILOG = """\
  evenbench levels --recipe imagenet_224
  evenbench levels photo.jpg --by opencv-area numpy
each library is compared with the steps as they are written (Pillow). Without photos, the ten that come along are taken.

exit codes:
  0    every library that can do the recipe is within --allowed levels
  1    one is not
  4    a flag is malformed, or what was asked for cannot be: the line `error: ...` says what to do
"""


@dataclass(frozen=True)
class Difference:
    """Between two results of one recipe, in levels of 255: the worst value, and the share of values further apart than one level."""

    worst: float
    share: float


def in_levels(recipe: Recipe, array: Array) -> Array:
    """What the recipe made of an image, as levels again: float64 [height, width, channels], normalising and scaling undone.

    Raises UsageError for a recipe with steps of one's own after `ToArray`, which nobody can undo.
    """
    import numpy as np

    values = array.astype(np.float64)
    places = [place for place, step in enumerate(recipe.steps) if isinstance(step, ToArray)]
    if not places:
        raise UsageError(f"recipe {recipe.name} has no ToArray, so that nobody knows what a level is; give a recipe that has")
    for step in reversed(recipe.steps[places[-1] :]):
        if isinstance(step, Layout):
            values = values.transpose(1, 2, 0) if step.order == "CHW" else values
        elif isinstance(step, Normalise):
            values = values * np.asarray(step.std) + np.asarray(step.mean)
        elif isinstance(step, ToArray):
            values = values / step.scale
        else:
            raise UsageError(f"recipe {recipe.name}: {type(step).__name__} cannot be undone; only steps of harness.preprocess can")
    return values


def between(recipe: Recipe, one: Array, other: Array) -> Difference:
    """How far two results of the recipe are apart. Raises UsageError where they differ in shape."""
    import numpy as np

    if one.shape != other.shape:
        raise UsageError(f"recipe {recipe.name} made {list(one.shape)} and {list(other.shape)}, which cannot be compared")
    apart = np.abs(in_levels(recipe, one) - in_levels(recipe, other))
    worst = round(float(np.max(apart, initial=0.0)), DIGITS) if np.all(np.isfinite(apart)) else float("inf")
    return Difference(worst, float(np.count_nonzero(~(apart <= 1 + 10**-DIGITS)) / max(apart.size, 1)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `evenbench levels`."""
    parser.add_argument("photos", nargs="*", metavar="PHOTO", help="image files (the ten photographs that come along)")
    parser.add_argument("--recipe", default=preprocess.IMAGENET_224.name, help="what is done to each (imagenet_224)")
    parser.add_argument("--by", nargs="+", default=[], metavar="LIBRARY", help="libraries to compare with Pillow (all)")
    parser.add_argument("--allowed", type=float, default=ALLOWED, metavar="LEVELS", help="more than this is 1 (2)")
    parser.add_argument("--json", action="store_true", help="one JSON value on standard output instead of text")


def run(options: argparse.Namespace) -> int:
    """Compare and print; 1 where a library is further away than allowed."""
    recipe = preprocess.RECIPES.get(options.recipe)
    if recipe is None:
        raise UsageError(f"unknown recipe {options.recipe!r}; expected one of {', '.join(preprocess.RECIPES)}")
    files = [Path(photo) for photo in options.photos] or [photographs.locate(each) for each in photographs.PHOTOGRAPHS]
    found = [compared(recipe, library, files) for library in options.by or implementations.names()[1:]]
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for each in found:
            terminal.console().print(in_words(each), soft_wrap=True, markup=False)
    return int(any(each["worst"] is not None and each["worst"] > options.allowed for each in found))


def compared(recipe: Recipe, library: str, files: Sequence[Path]) -> dict[str, Any]:
    """One library against Pillow on each file. Where it cannot do the recipe, `reason` says why and there are no numbers.

    Raises UsageError for a library that nobody registered, or a file that is no image.
    """
    nothing: dict[str, Any] = {"library": library, "recipe": recipe.name, "worst": None, "share": None, "reason": "", "photos": {}}
    why = implementations.refuses(recipe, library)
    if why:
        return {**nothing, "reason": why}
    by = implementations.ImplementedRecipe(recipe.name, recipe.steps, library)
    try:
        made = {file.name: between(recipe, implementations.apply(by, file), implementations.apply(recipe, file)) for file in files}
    except Unavailable as error:
        return {**nothing, "reason": str(error)}
    largest = {"worst": max(each.worst for each in made.values()), "share": max(each.share for each in made.values())}
    return {**nothing, **largest, "photos": {name: asdict(each) for name, each in made.items()}}


def in_words(found: dict[str, Any]) -> str:
    """One line on a library."""
    if found["worst"] is None:
        return f"{found['library']}: {found['reason']}"
    worst = max(found["photos"], key=lambda name: found["photos"][name]["worst"])
    return (
        f"{found['library']}: at most {found['worst']:.2g} levels of 255 ({worst}); "
        f"up to {100 * found['share']:.2g} % of a photo's values are further apart than one"
    )
