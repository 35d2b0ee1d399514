"""The flags for a user's own model: values, checks, option sets, and the shape of the photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenbench.harness import preprocess
from evenbench.harness.collection import model_reader
from evenbench.harness.core import registry, serialization
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Recipe
from evenbench.harness.inputs import input_requests, preprocessors
from evenbench.harness.inputs.input_requests import InputRequest


@dataclass(frozen=True)
class ModelFlags:
    """The flags for models among the targets; the fields of absent flags are empty."""

    photos: tuple[str, ...] = ()
    recipe: str = ""
    shape: str = ""
    backends: tuple[str, ...] = ()
    batch: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    task: str = ""
    options: tuple[str, ...] = ()
    """`BACKEND:KEY=VALUE` texts."""
    dims: tuple[str, ...] = ()
    """`NAME=N` texts."""
    ranges: tuple[str, ...] = ()
    """`NAME=LOW..HIGH` texts."""
    samples: tuple[str, ...] = ()
    """Files with inputs."""
    states: tuple[str, ...] = ()
    """`INPUT=OUTPUT` texts."""
    preprocessing: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()
    """Photographs, folders of images, or an .npz file, for int8-static."""


def check(target: str, flags: ModelFlags) -> None:
    """Raise UsageError for contradictions between flags, or with the target."""
    model_reader.check_shape(flags.shape)
    if flags.shape and target.endswith((".onnx", ".pt2")):
        remedy = "name sizes with --dim" if target.endswith(".onnx") else "leave --shape out"
        raise UsageError(f"{target} declares the shapes of its inputs; {remedy}")
    if flags.photos and not flags.recipe:
        raise UsageError(
            "--input needs --recipe, the steps from a photo to a tensor; expected one of "
            f"{_recipes()}"
        )
    if flags.recipe and not flags.photos and not flags.calibration:
        raise UsageError("--recipe turns photos into inputs; add --input photo.jpg")
    if flags.recipe and flags.recipe not in preprocess.RECIPES:
        raise UsageError(
            f"unknown recipe {flags.recipe!r}; expected one of {_recipes()}, or declare your own "
            "in a bench_*.py file"
        )
    if flags.preprocessing and not flags.photos:
        raise UsageError(
            "--preprocessing names the libraries that run a recipe; add --input photo.jpg and "
            "--recipe"
        )
    _check_inputs(target, flags)
    for library in flags.preprocessing:
        problem = preprocessors.refuses(preprocess.RECIPES[flags.recipe], library)
        if problem:
            raise UsageError(f"--preprocessing {library}: recipe {flags.recipe}: {problem}")


def _check_inputs(target: str, flags: ModelFlags) -> None:
    given = {"--dim": flags.dims, "--range": flags.ranges, "--inputs": flags.samples}
    words = [flag for flag, texts in given.items() if texts]
    if words and not target.endswith(".onnx"):
        raise UsageError(
            f"{words[0]} is for an ONNX file; a module's inputs are the example inputs of build, "
            "or --shape"
        )
    if flags.photos and flags.samples:
        raise UsageError("--input and --inputs are two sources of inputs; give one")
    if flags.samples and flags.ranges:
        raise UsageError("--range is for made-up inputs; leave --range or --inputs out")
    for file in flags.samples:
        if not Path(file).exists():
            raise UsageError(f"--inputs {file}: no such file or folder; give the path")


def request(target: str, flags: ModelFlags) -> InputRequest:
    """The facts of the flags about an ONNX file's inputs. Raises UsageError for malformed texts.

    ONNX test data beside the file are used if no flag says other inputs.
    """
    dims, ranges = input_requests.dims(flags.dims), input_requests.ranges(flags.ranges)
    files = [str(Path(file).resolve()) for file in flags.samples]
    said = (*flags.dims, *flags.ranges, *flags.batch, *flags.photos, *files)
    beside = [] if said else input_requests.beside(Path(target))
    batches = flags.batch or ((1,) if flags.photos else ())
    photo = [int(size) for size in photo_shape(flags).split("x") if size]
    return InputRequest(dims, ranges, batches, files or beside, bool(beside), photo)


def _recipes() -> str:
    return ", ".join(preprocess.RECIPES)


def option_sets(texts: Sequence[str]) -> dict[str, tuple[dict[str, Any]]]:
    """The option set of each backend in `BACKEND:KEY=VALUE` texts.

    Raises UsageError for another form or an unknown backend.
    """
    sets: dict[str, tuple[dict[str, Any]]] = {}
    for text in texts:
        backend, key, value = _option(text)
        registry.row(backend)
        (options,) = sets.setdefault(backend, ({},))
        if key in options:
            raise UsageError(
                f"--option {text}: {backend} has {key} already; declare a case to run a backend "
                "with several sets of options"
            )
        options[key] = value
    return sets


def _option(text: str) -> tuple[str, str, str | int | float | bool]:
    backend, _, option = text.partition(":")
    key, equals, written = option.partition("=")
    value = serialization.read(written)
    if not (backend and key and equals):
        raise UsageError(
            f"--option {text!r} is not an option; expected BACKEND:KEY=VALUE, such as "
            "ort:exporter=torchscript"
        )
    if not isinstance(value, (str, int, float, bool)):
        raise UsageError(
            f"--option {text}: {written} is not a value; expected text, a number, true or false"
        )
    return backend, key, value


def photo_shape(flags: ModelFlags) -> str:
    """The shape of one photo after the recipe, as a `--shape` value; empty without photos.

    Every photo is prepared, so a broken photo fails before a model is read.
    """
    if not flags.photos:
        return ""
    recipe = preprocess.RECIPES[flags.recipe]
    shapes = {tuple(_prepared(photo, recipe).shape) for photo in flags.photos}
    if len(shapes) > 1:
        raise UsageError(
            f"recipe {flags.recipe} makes different shapes of these photos: {sorted(shapes)}; "
            "crop the photos to one size"
        )
    return "x".join(map(str, (1, *shapes.pop())))


def _prepared(photo: str, recipe: Recipe) -> Any:
    if not Path(photo).is_file():
        raise UsageError(f"--input {photo}: no such file; give the path of an image")
    try:
        return preprocessors.apply(recipe, Path(photo))
    except ImportError as error:
        raise UsageError(
            f"--input {photo}: reading images needs {error.name}, which is not installed; "
            "pip install pillow numpy"
        ) from error
    except UsageError as error:
        raise UsageError(
            f"--input {error}; give a JPEG, PNG or another image that Pillow decodes"
        ) from error
