"""From photographs and datasets to the input bytes that every backend gets.

The generators that declarations name by import string are defined here, because
`harness.inputs:standard_normal` is part of cell keys and of users' files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import preprocess
from harness.core.types import Model, TensorSpec
from harness.inputs import preprocessors

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

RANDOM_SAMPLES = 8


def standard_normal(model: Model) -> dict[str, Array]:
    """Eight samples of N(0, 1), seed 0, for each declared input; integers below 100 where an input
    is integral.

    The inputs of a user's own model that names no images: good for timing and parity, not for
    accuracy.
    """
    import numpy as np

    generator = np.random.default_rng(0)
    return {spec.name: _random(spec, generator) for spec in model.inputs}


def standard_normal_calibration(model: Model) -> dict[str, Array]:
    """As `standard_normal`, from another seed: the ranges of int8-static for a model whose inputs
    are random.
    """
    import numpy as np

    generator = np.random.default_rng(1)
    return {spec.name: _random(spec, generator) for spec in model.inputs}


def _random(spec: TensorSpec, generator: Any) -> Array:
    import numpy as np

    whole = spec.concrete(1)
    shape = (RANDOM_SAMPLES, *(whole[1:] if spec.is_batched else whole))
    made: Array
    if np.issubdtype(np.dtype(spec.dtype), np.floating):
        made = generator.standard_normal(shape).astype(spec.dtype)
    else:
        made = generator.integers(0, 2 if spec.dtype == "bool" else 100, shape).astype(spec.dtype)
    return made


def files(model: Model) -> dict[str, Array]:
    """Samples from the user's own image files: `model.arguments` holds `recipe` and the paths as a
    JSON list. Where another library does that recipe's steps, the model has it as its own.

    One photo alone could not show that a new input gives a new answer, so its two mirror images
    follow it.
    """
    import numpy as np

    recipe = model.recipe or preprocess.RECIPES[model.arguments["recipe"]]
    arrays = [
        preprocessors.apply(recipe, Path(path)) for path in json.loads(model.arguments["files"])
    ]
    if len(arrays) == 1:
        arrays += [np.flip(arrays[0], -1), np.flip(arrays[0], -2)]
    return {model.inputs[0].name: np.stack(arrays)}
