"""Inputs of a user's own PyTorch model: the examples returned by `build`, and further samples.

Models often accept only some values: an embedding has a limited number of entries, a mask holds
zeros and ones. So further samples permute the values of the example. An example of zeros says
nothing about valid values and is replaced by random numbers. An example with another constant, such
as a mask of ones, is kept if other inputs vary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evenbench.backends.torch import model as torch_model
from evenbench.backends.torch import resized_examples
from evenbench.harness import BATCH, Model, UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]

SAMPLES = 8

BOUNDS = (100, 50, 20, 10, 5, 3, 2)
"""The upper bounds tried for random integers, if the example holds only zeros."""


def samples(model: Model) -> dict[str, Array]:
    """The samples of every declared input, [count, ...]: the example first, then permutations."""
    return _generated(model, seed=0, first=0)


def calibration(model: Model) -> dict[str, Array]:
    """The calibration samples of every declared input, [count, ...], different from `samples`."""
    return _generated(model, seed=1, first=1)


def _generated(model: Model, seed: int, first: int) -> dict[str, Array]:
    import numpy as np

    module, examples = torch_model.module_and_examples(model)
    if len(examples) != len(model.inputs):
        raise UsageError(
            f"{model.build} returned {len(examples)} example inputs now, "
            f"but {len(model.inputs)} before; return the same number in every call"
        )
    examples = resized_examples.resized(model, examples)
    generator = np.random.default_rng(seed)
    given = {
        spec.name: _rows(value, spec.shape)
        for spec, value in zip(model.inputs, examples, strict=True)
    }
    replaced = _replaced(given)
    samples = {}
    for index, (name, rows) in enumerate(given.items()):
        bound = None
        if name in replaced:
            bound = _bound(module, examples, index) if rows.dtype.kind in "iu" else 0
        more = [_another(rows[at % len(rows)], generator, bound) for at in range(SAMPLES + first)]
        samples[name] = np.stack(
            [*rows, *more][: max(SAMPLES, len(rows))] if not first else more[first:]
        )
    return samples


def _replaced(given: Mapping[str, Array]) -> set[str]:
    """The names of inputs with random samples: examples of zeros, or all constant examples."""
    zeros = {name for name, rows in given.items() if _is_constant(rows) and not rows.any()}
    all_constant = all(_is_constant(rows) for rows in given.values())
    return set(given) if all_constant and not zeros else zeros


def _rows(value: torch.Tensor, shape: Sequence[int | str]) -> Array:
    """The samples in an example: the entries of the batch, or the example if without a batch."""
    array = value.detach().cpu().numpy()
    return array if shape[:1] == (BATCH,) else array[None]


def _is_constant(rows: Array) -> bool:
    return bool(rows.size == 0 or (rows == rows.flat[0]).all())


def _another(sample: Array, generator: np.random.Generator, bound: int | None) -> Array:
    """A permutation of `sample` if `bound` is None, else random numbers.

    Floats are drawn from N(0, 1), integers below `bound`. Integers without an accepted bound (0)
    and booleans stay unchanged.
    """
    import numpy as np

    if bound is None:
        return generator.permutation(sample.reshape(-1)).reshape(sample.shape)
    if np.issubdtype(sample.dtype, np.floating):
        return generator.standard_normal(sample.shape).astype(sample.dtype)
    return generator.integers(0, bound, sample.shape).astype(sample.dtype) if bound else sample


def _bound(module: torch.nn.Module, examples: Sequence[torch.Tensor], index: int) -> int:
    """The largest of BOUNDS accepted by the module for an input; 0 if none is accepted."""
    import torch

    for bound in BOUNDS:
        arguments = [
            torch.full_like(value, bound - 1) if at == index else value
            for at, value in enumerate(examples)
        ]
        try:
            with torch.no_grad():
                module(*arguments)
        except Exception:  # layers raise different errors for an index out of range
            continue
        return bound
    return 0
