"""Outputs of modules: by declared name for sessions, in declared order for exporters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from evenbench.harness import Model, TensorSpec, UsageError

if TYPE_CHECKING:
    import torch


def named(result: Any, specs: Iterable[TensorSpec] | None, model: str) -> dict[str, torch.Tensor]:
    """The output tensors of a module by declared name, or by default names if `specs` is None.

    `result` is a tensor, a sequence or a mapping, or a list with a single mapping, as returned by
    torchvision's detectors for a single image. Raises UsageError if names or number differ from the
    declaration.
    """
    import torch

    if isinstance(result, (list, tuple)) and len(result) == 1 and isinstance(result[0], Mapping):
        result = result[0]
    if isinstance(result, Mapping):
        tensors = {
            str(name): value for name, value in result.items() if isinstance(value, torch.Tensor)
        }
        declared = list(tensors) if specs is None else [spec.name for spec in specs]
        if sorted(declared) != sorted(tensors):
            raise UsageError(
                f"model {model} returns outputs {sorted(tensors)}, "
                f"but declares {sorted(declared)}; make them agree"
            )
        return {name: tensors[name] for name in declared}
    return _named_by_position(result, specs, model)


def _named_by_position(
    result: Any, specs: Iterable[TensorSpec] | None, model: str
) -> dict[str, torch.Tensor]:
    import torch

    values = [result] if isinstance(result, torch.Tensor) else result
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    defaults = (
        ["output"] if len(tensors) == 1 else [f"output_{index}" for index in range(len(tensors))]
    )
    declared = defaults if specs is None else [spec.name for spec in specs]
    if len(declared) != len(tensors):
        raise UsageError(
            f"model {model} returns {len(tensors)} outputs, "
            f"but declares {declared}; make them agree"
        )
    return dict(zip(declared, tensors, strict=True))


def in_declared_order(module: torch.nn.Module, model: Model) -> torch.nn.Module:
    """`module` with outputs as a tuple in declared order.

    Exporters name outputs by position, and a dict has an order unrelated to the declaration.
    """
    import torch

    class InOrder(torch.nn.Module):
        """A module with ordered outputs."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(named(self.inner(*arguments), model.outputs, model.name).values())

    return InOrder().eval() if wrappers(model) else module


def wrappers(model: Model) -> int:
    """The number of modules wrapped by `in_declared_order` around the model's module."""
    return int(len(model.outputs) > 1)
