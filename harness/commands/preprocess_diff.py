"""`evenbench levels`: by how many levels, of 255, two libraries differ that do one recipe. A number
a person knows from pictures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import photographs, preprocess
from harness.commands import console
from harness.core.errors import UsageError
from harness.inputs import preprocessors

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
from harness.inputs.pixel_difference import ALLOWED, compared

EPILOG = """\
  evenbench levels --recipe imagenet_224
  evenbench levels photo.jpg --by opencv-area numpy
each library is compared with the steps as they are written (Pillow). Without photos, the ten that come along are taken.

exit codes:
  0    every library that can do the recipe is within --allowed levels
  1    one is not
  4    a flag is malformed, or what was asked for cannot be: the line `error: ...` says what to do
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `evenbench levels`."""
    parser.add_argument(
        "photos",
        nargs="*",
        metavar="PHOTO",
        help="image files (the ten photographs that come along)",
    )
    parser.add_argument(
        "--recipe", default=preprocess.IMAGENET_224.name, help="what is done to each (imagenet_224)"
    )
    parser.add_argument(
        "--by",
        nargs="+",
        default=[],
        metavar="LIBRARY",
        help="libraries to compare with Pillow (all)",
    )
    parser.add_argument(
        "--allowed", type=float, default=ALLOWED, metavar="LEVELS", help="more than this is 1 (2)"
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )


def run(options: argparse.Namespace) -> int:
    """Compare and print; 1 where a library is further away than allowed."""
    recipe = preprocess.RECIPES.get(options.recipe)
    if recipe is None:
        raise UsageError(
            f"unknown recipe {options.recipe!r}; expected one of {', '.join(preprocess.RECIPES)}"
        )
    files = [Path(photo) for photo in options.photos] or [
        photographs.locate(each) for each in photographs.PHOTOGRAPHS
    ]
    found = [
        compared(recipe, library, files) for library in options.by or preprocessors.names()[1:]
    ]
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for each in found:
            console.console().print(in_words(each), soft_wrap=True, markup=False)
    return int(any(each["worst"] is not None and each["worst"] > options.allowed for each in found))


def in_words(found: dict[str, Any]) -> str:
    """One line on a library."""
    if found["worst"] is None:
        return f"{found['library']}: {found['reason']}"
    worst = max(found["photos"], key=lambda name: found["photos"][name]["worst"])
    return (
        f"{found['library']}: at most {found['worst']:.2g} levels of 255 ({worst}); "
        f"up to {100 * found['share']:.2g} % of a photo's values are further apart than one"
    )
