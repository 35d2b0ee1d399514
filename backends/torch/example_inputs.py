"""The inputs of a user's own PyTorch model: the examples that its `build` returned, and more that
are as valid as they are.

What a model accepts is often narrower than its shapes say: an embedding has so many entries, a mask
is zeros and ones. So further samples hold the example's own numbers in another order. An example of
zeros tells nothing, and numbers are made up in its place; one of another value throughout, such as
a mask of ones, is kept where other inputs change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backends.torch import model as torch_model
from harness import BATCH, Model, UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]

SAMPLES = 8

BOUNDS = (100, 50, 20, 10, 5, 3, 2)
"""What an input of whole numbers is tried to stay below, where the example is zeros and so does not
tell.
"""


def samples(model: Model) -> dict[str, Array]:
    """[count, ...] per declared input: the example first, then samples made from it."""
    return _made(model, seed=0, first=0)


def calibration(model: Model) -> dict[str, Array]:
    """As `samples`, other ones: for a model whose examples alone are known, what int8 takes its
    ranges from.
    """
    return _made(model, seed=1, first=1)


def _made(model: Model, seed: int, first: int) -> dict[str, Array]:
    import numpy as np

    module, examples = torch_model.module_and_examples(model)
    if len(examples) != len(model.inputs):
        raise UsageError(
            f"{model.build} returned {len(examples)} example inputs, and {len(model.inputs)} when it was described"
        )
    generator = np.random.default_rng(seed)
    told = {
        spec.name: _rows(value, spec.shape)
        for spec, value in zip(model.inputs, examples, strict=True)
    }
    tells_nothing = {name: _is_constant(rows) and not rows.any() for name, rows in told.items()}
    if all(_is_constant(rows) for rows in told.values()) and not any(tells_nothing.values()):
        tells_nothing = dict.fromkeys(told, True)
    made = {}
    for index, (name, rows) in enumerate(told.items()):
        bound = (
            None
            if not tells_nothing[name]
            else _bound(module, examples, index)
            if rows.dtype.kind in "iu"
            else 0
        )
        more = [_another(rows[at % len(rows)], generator, bound) for at in range(SAMPLES + first)]
        made[name] = np.stack(
            [*rows, *more][: max(SAMPLES, len(rows))] if not first else more[first:]
        )
    return made


def _rows(value: torch.Tensor, shape: Sequence[int | str]) -> Array:
    """The samples in an example: each entry of its batch, or the whole of it where it has none."""
    array = value.detach().cpu().numpy()
    return array if shape[:1] == (BATCH,) else array[None]


def _is_constant(rows: Array) -> bool:
    return bool(rows.size == 0 or (rows == rows.flat[0]).all())


def _another(sample: Array, generator: np.random.Generator, bound: int | None) -> Array:
    """A sample of the same numbers in another order, or where `bound` is given of made-up ones.

    Floats are drawn from N(0, 1) and whole numbers below `bound`; 0 stands for no bound that the
    module takes, and booleans have none: the sample then stays what it was.
    """
    import numpy as np

    if bound is None:
        return generator.permutation(sample.reshape(-1)).reshape(sample.shape)
    if np.issubdtype(sample.dtype, np.floating):
        return generator.standard_normal(sample.shape).astype(sample.dtype)
    return generator.integers(0, bound, sample.shape).astype(sample.dtype) if bound else sample


def _bound(module: torch.nn.Module, examples: Sequence[torch.Tensor], index: int) -> int:
    """The largest of BOUNDS that the module takes this input up to; 0 where it takes none."""
    import torch

    for bound in BOUNDS:
        tried = [
            torch.full_like(value, bound - 1) if at == index else value
            for at, value in enumerate(examples)
        ]
        try:
            with torch.no_grad():
                module(*tried)
        except (
            Exception
        ):  # an index out of range is an IndexError in one layer and a RuntimeError in another
            continue
        return bound
    return 0
