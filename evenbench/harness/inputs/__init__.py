"""From photographs and datasets to the input bytes of every backend.

Generators named in declarations by import string are defined here, because
`harness.inputs:standard_normal` is part of cell keys and of users' files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness import preprocess
from evenbench.harness.core.tensor_specs import TensorSpec
from evenbench.harness.core.types import Model
from evenbench.harness.inputs import given_samples, preprocessors
from evenbench.harness.inputs import made_up_samples as rules

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

RANDOM_SAMPLES = 8


def standard_normal(model: Model) -> dict[str, Array]:
    """Eight samples of N(0, 1), seed 0, per declared input; integers below 100 for integral inputs.

    The inputs of a user's own model without images: suitable for timing and parity, not for
    accuracy.
    """
    import numpy as np

    generator = np.random.default_rng(0)
    return {spec.name: _random(spec, generator) for spec in model.inputs}


def standard_normal_calibration(model: Model) -> dict[str, Array]:
    """Samples like `standard_normal`'s with another seed, for int8-static's ranges."""
    import numpy as np

    generator = np.random.default_rng(1)
    return {spec.name: _random(spec, generator) for spec in model.inputs}


def made_up(model: Model) -> dict[str, Array]:
    """Eight samples per declared input by the rules of the model, seed 0 (`made_up` module)."""
    return rules.samples(model, 0)


def made_up_calibration(model: Model) -> dict[str, Array]:
    """Samples like `made_up`'s with another seed, for int8-static's ranges."""
    return rules.samples(model, 1)


def given(model: Model) -> dict[str, Array]:
    """The samples in the files of `--inputs`, or in ONNX test data beside the model."""
    return given_samples.samples(model)


def calibration_samples(model: Model) -> dict[str, Array]:
    """Samples from the files of `--calibration`, for int8-static's ranges."""
    from evenbench.harness.inputs import calibration

    return calibration.samples(model)


def _random(spec: TensorSpec, generator: Any) -> Array:
    import numpy as np

    shape = (RANDOM_SAMPLES, *spec.sample)
    samples: Array
    if np.issubdtype(np.dtype(spec.dtype), np.floating):
        samples = generator.standard_normal(shape).astype(spec.dtype)
    else:
        samples = generator.integers(0, 2 if spec.dtype == "bool" else 100, shape).astype(
            spec.dtype
        )
    return samples


def files(model: Model) -> dict[str, Array]:
    """Samples from the user's image files: `model.arguments` holds `recipe` and a list of paths.

    The list is JSON. A recipe of another library is `model.recipe`. A single photo cannot show
    whether a new input changes the output, so its two mirror images follow.
    """
    import numpy as np

    recipe = model.recipe or preprocess.RECIPES[model.arguments["recipe"]]
    arrays = [
        preprocessors.apply(recipe, Path(path)) for path in json.loads(model.arguments["files"])
    ]
    if len(arrays) == 1:
        arrays += [np.flip(arrays[0], -1), np.flip(arrays[0], -2)]
    return {model.inputs[0].name: np.stack(arrays)}
