"""The cause in a module for different outputs of two equal calls: a state, or random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def cause(module: torch.nn.Module, arguments: Sequence[torch.Tensor]) -> str:
    """The cause as text, seen in a call on inputs like `arguments`, or an empty string.

    Floats are drawn anew, because a state of zeros stays zero on zeros.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    arguments = [
        torch.randn(value.shape, generator=generator, dtype=value.dtype)
        if value.is_floating_point()
        else value
        for value in arguments
    ]
    before = _values(module)
    random = torch.get_rng_state()
    try:
        with torch.no_grad():
            module(*arguments)
    except Exception:  # any error of the module: the call shows nothing then
        return ""
    changed = [
        name
        for name, value in _values(module).items()
        if name not in before or not torch.equal(value, before[name])
    ]
    if changed:
        return (
            f"the model keeps a state: {', '.join(changed)} changes with each call; make the state "
            "an input of forward, and return the new state as an output"
        )
    if not torch.equal(torch.get_rng_state(), random):
        return (
            "forward draws random numbers, also in eval mode; pass training=self.training to "
            "dropout, and draw noise outside of forward"
        )
    return ""


def _values(module: torch.nn.Module) -> dict[str, Any]:
    """Copies of the tensors in a module: parameters, buffers and plain attributes."""
    import torch

    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{path}.{name}".lstrip(".")] = value
    return {name.removeprefix("inner."): value.detach().clone() for name, value in tensors.items()}
