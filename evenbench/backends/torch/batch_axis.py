"""The batch axis of an undeclared module, from trial runs at other batch sizes.

The first axis is the batch if the module accepts another first size, returns outputs of the same
first size, and answers a sample alone as within its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    Call = Callable[[Sequence[torch.Tensor]], Mapping[str, torch.Tensor]]

TOLERANCE = 1e-2
"""Share of the largest magnitude by which a sample alone may differ from a sample in a batch.

Kernels differ between batch sizes in rounding only; samples that influence one another differ more.
"""


def first_size(examples: Sequence[torch.Tensor]) -> int:
    """The common first size of all inputs; 0 for different first sizes or scalars."""
    sizes = {value.shape[0] if value.ndim else 0 for value in examples}
    return sizes.pop() if len(sizes) == 1 else 0


def is_open(
    call: Call, examples: Sequence[torch.Tensor], first: Mapping[str, torch.Tensor]
) -> bool:
    """Whether the first axis is a batch of any size.

    `call` returns the module's outputs by name, `first` holds the outputs for `examples`.
    """
    import torch

    size = first_size(examples)
    if not size or not _scaled(first, first, size, size):
        return False
    twice = _outputs(call, [torch.cat([value, value]) for value in examples])
    if not _scaled(twice, first, 2 * size, size):
        return False
    if size == 1:
        return True
    alone = _outputs(call, [value[:1] for value in examples])
    return _scaled(alone, first, 1, size) and all(
        _agrees(value, first[name][:1]) for name, value in alone.items()
    )


def _outputs(call: Call, values: Sequence[torch.Tensor]) -> Mapping[str, torch.Tensor]:
    try:
        return call(values)
    except Exception:  # any error at another batch size means that the first size is fixed
        return {}


def _scaled(
    outputs: Mapping[str, torch.Tensor], first: Mapping[str, torch.Tensor], size: int, before: int
) -> bool:
    """Whether all outputs have the first size of the batch."""
    return outputs.keys() == first.keys() and all(
        value.ndim > 0 and value.shape[0] == size and first[name].shape[0] == before
        for name, value in outputs.items()
    )


def _agrees(alone: torch.Tensor, within: torch.Tensor) -> bool:
    difference = (alone.double() - within.double()).abs()
    scale = within.double().abs().max() if within.numel() else 0.0
    return not within.numel() or bool(difference.max() <= TOLERANCE * scale + 1e-12)
