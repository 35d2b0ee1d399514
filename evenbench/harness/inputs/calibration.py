"""Calibration samples of int8-static from the user's photographs or arrays, and their origin.

The model's `arguments["calibration"]` holds a JSON object: `files` with `sha256`, and `recipe` for
photographs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness import preprocess
from evenbench.harness.core import import_strings
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Model
from evenbench.harness.inputs import preprocessors

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ARGUMENT = "calibration"
"""The model argument with the calibration files."""

RANDOM = "harness.inputs:standard_normal_calibration"
EXAMPLES = "evenbench.backends.torch_examples:calibration"


def samples(model: Model) -> dict[str, Array]:
    """The calibration samples of every declared input, [count, ...].

    Raises UsageError for a file without an array of a declared input's shape and dtype.
    """
    import numpy as np

    given = json.loads(model.arguments[ARGUMENT])
    if not given["recipe"]:
        return _arrays(model, Path(given["files"][0]))
    recipe = model.recipe or preprocess.RECIPES[given["recipe"]]
    arrays = [preprocessors.apply(recipe, Path(path)) for path in given["files"]]
    return {model.inputs[0].name: np.stack(arrays)}


def _arrays(model: Model, file: Path) -> dict[str, Array]:
    import numpy as np

    with np.load(file) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    for spec in model.inputs:
        sample = spec.concrete(1)[1 if spec.is_batched else 0 :]
        values = arrays.get(spec.name)
        if values is None or values.ndim == 0 or not len(values):
            raise UsageError(
                f"--calibration {file}: no samples of input {spec.name}; the file has "
                f"{', '.join(sorted(arrays)) or 'no array'}; save an array [count, "
                f"{', '.join(map(str, sample))}] under each input's name"
            )
        if values.shape[1:] != sample or str(values.dtype) != spec.dtype:
            raise UsageError(
                f"--calibration {file}: {spec.name} is {values.dtype}{list(values.shape)}; "
                f"expected {spec.dtype}[count, {', '.join(map(str, sample))}]"
            )
    counts = {spec.name: len(arrays[spec.name]) for spec in model.inputs}
    if len(set(counts.values())) > 1:
        raise UsageError(
            f"--calibration {file}: the inputs have different numbers of samples ({counts}); "
            "save the same number of samples for each input"
        )
    return {name: arrays[name] for name in counts}


def origin(model: Model) -> str:
    """The origin of a model's calibration samples in words; empty for a model without any."""
    if model.calibration:
        return _photographs([image.name for image in model.calibration])
    if model.calibration_from == RANDOM:
        return "random numbers, not data"
    if ARGUMENT in model.arguments:
        return _of_files(json.loads(model.arguments[ARGUMENT]))
    if model.calibration_from:
        return import_strings.portable(model.calibration_from)
    return ""


def _of_files(given: Mapping[str, Any]) -> str:
    names = [Path(file).name for file in given["files"]]
    return _photographs(names) if given["recipe"] else ", ".join(names)


def _photographs(names: Sequence[str]) -> str:
    count = f"{len(names)} photograph{'s' if len(names) > 1 else ''}"
    return f"{count} ({', '.join(names[:3])}{', ...' if names[3:] else ''})"
