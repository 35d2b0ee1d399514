"""`evenbench preprocess-diff`: the difference of preprocessing libraries in 8-bit pixel levels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenbench.harness import photographs, preprocess
from evenbench.harness.collection import selection_flags
from evenbench.harness.commands import arguments, console
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes
from evenbench.harness.core.errors import UsageError
from evenbench.harness.inputs import preprocessors
from evenbench.harness.inputs.pixel_difference import ALLOWED, compared

EPILOG = """\
Examples:
  evenbench preprocess-diff
  evenbench preprocess-diff photo.jpg --backends opencv-area,numpy
Pillow is the reference: each library is compared with its result.
Docs: docs/reference/preprocessing.md
"""

EXIT_CODES = {
    exit_codes.PASS: "every library is within --allowed levels, or unavailable",
    exit_codes.WORSE: "a library differs by more than --allowed levels",
}


@dataclass(frozen=True)
class PreprocessDiffOptions:
    """The options of `evenbench preprocess-diff`."""

    photos: tuple[str, ...] = ()
    recipe: str = preprocess.IMAGENET_224.name
    backends: tuple[str, ...] = ()
    allowed: float = ALLOWED
    json: bool = False


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument(
        "photos",
        nargs="*",
        metavar="PHOTO",
        help="image files [default: the ten packaged photographs]",
    )
    command.add_argument(
        "--recipe", metavar="NAME", help="preprocessing recipe [default: %(default)s]"
    )
    command.add_argument(
        "--backends",
        type=selection_flags.words,
        metavar="A,B",
        help="libraries to compare with Pillow [default: all]",
    )
    arguments.add_alias(command, "--by", dest="backends", nargs="+")
    command.add_argument(
        "--allowed",
        type=float,
        metavar="LEVELS",
        help="largest accepted pixel difference [default: %(default)g]",
    )
    arguments.add_json_flag(command)


def run(options: PreprocessDiffOptions) -> int:
    """Compare the libraries, print a line each and return the exit code."""
    recipe = preprocess.RECIPES.get(options.recipe)
    if recipe is None:
        raise UsageError(
            f"unknown recipe {options.recipe!r}; expected one of {', '.join(preprocess.RECIPES)}"
        )
    files = [Path(photo) for photo in options.photos] or [
        photographs.locate(photograph) for photograph in photographs.PHOTOGRAPHS
    ]
    differences = [
        compared(recipe, library, files)
        for library in options.backends or preprocessors.names()[1:]
    ]
    if options.json:
        print(json.dumps(differences, indent=1))
    else:
        for difference in differences:
            console.console().print(line(difference), soft_wrap=True, markup=False)
    worst = [difference["worst"] for difference in differences if difference["worst"] is not None]
    beyond = any(levels > options.allowed for levels in worst)
    return exit_codes.WORSE if beyond else exit_codes.PASS


def line(difference: dict[str, Any]) -> str:
    """Return the line on a library."""
    if difference["worst"] is None:
        return f"{difference['library']}: {difference['reason']}"
    photos = difference["photos"]
    worst = max(photos, key=lambda name: photos[name]["worst"])
    return (
        f"{difference['library']}: at most {difference['worst']:.2g} levels of 255 ({worst}); "
        f"up to {100 * difference['share']:.2g} % of a photo's values differ by more than one level"
    )
