"""Example inputs of `build` at the sizes of `--shape`: the example's own numbers, cut or repeated.

Ids, masks and images so keep valid values at every sequence length and image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evenbench.harness import Model, UsageError

if TYPE_CHECKING:
    import torch


def resized(model: Model, examples: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """The examples at the shapes of `arguments["shape"]`; unchanged without shapes or examples.

    A single shape holds for inputs of one common shape. Raises UsageError for another number of
    shapes or axes.
    """
    text = model.arguments.get("shape", "")
    if not text or not examples:
        return tuple(examples)
    shapes = [[int(size) for size in shape.split("x")] for shape in text.split(",")]
    own = [list(value.shape) for value in examples]
    shown = ",".join("x".join(map(str, shape)) for shape in own)
    if len(shapes) == 1 and all(shape == own[0] for shape in own):
        shapes = shapes * len(own)
    if [len(shape) for shape in shapes] != [len(shape) for shape in own]:
        raise UsageError(
            f"--shape {text}: {model.build} returned example inputs {shown}; give a shape with as "
            "many sizes for each of them, such as "
            f"--shape {shown}, or leave --shape out"
        )
    return tuple(_resized(value, shape) for value, shape in zip(examples, shapes, strict=True))


def _resized(value: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    for axis, size in enumerate(shape):
        if value.shape[axis] == 0:
            continue
        repeats = [1] * value.ndim
        repeats[axis] = -(-size // value.shape[axis])
        value = value.repeat(*repeats).narrow(axis, 0, size)
    return value
