"""Outputs of modules by declared name, and in declared order for exporters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harness import Model, TensorSpec, UsageError

if TYPE_CHECKING:
    import torch


def named(result: Any, specs: Iterable[TensorSpec] | None, model: str) -> dict[str, torch.Tensor]:
    """A module's answer (tensor, sequence or mapping) by declared name; made-up names where `specs`
    is None.

    A list of one mapping is that mapping: torchvision's detectors answer with one for each image.
    Raises UsageError where names or number differ from those declared.
    """
    import torch

    if isinstance(result, (list, tuple)) and len(result) == 1 and isinstance(result[0], Mapping):
        result = result[0]
    if isinstance(result, Mapping):
        found = {
            str(name): value for name, value in result.items() if isinstance(value, torch.Tensor)
        }
        declared = list(found) if specs is None else [spec.name for spec in specs]
        if sorted(declared) != sorted(found):
            raise UsageError(
                f"model {model} returns outputs {sorted(found)}, but declares {sorted(declared)}; make them agree"
            )
        return {name: found[name] for name in declared}
    tensors = (
        [result]
        if isinstance(result, torch.Tensor)
        else [value for value in result if isinstance(value, torch.Tensor)]
    )
    made_up = (
        ["output"] if len(tensors) == 1 else [f"output_{index}" for index in range(len(tensors))]
    )
    declared = made_up if specs is None else [spec.name for spec in specs]
    if len(declared) != len(tensors):
        raise UsageError(
            f"model {model} returns {len(tensors)} outputs, but declares {declared}; make them agree"
        )
    return dict(zip(declared, tensors, strict=True))


def in_declared_order(module: torch.nn.Module, model: Model) -> torch.nn.Module:
    """`module` with its outputs as a tuple in declared order: an exporter names them by position, a
    dict has its own order.
    """
    import torch

    class InOrder(torch.nn.Module):
        """The module, and the order of its outputs."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(named(self.inner(*arguments), model.outputs, model.name).values())

    return InOrder().eval() if wrappers(model) else module


def wrappers(model: Model) -> int:
    """How many modules `in_declared_order` puts around a model's, each of which calls the one
    within `inner`.
    """
    return int(len(model.outputs) > 1)
