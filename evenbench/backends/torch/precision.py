"""Precisions as casts of the whole module to a narrower type, and the CPU's support of the type.

The declared tensors of a model are equal at every precision: the step narrows inputs and widens
outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from evenbench.backends.torch import outputs
from evenbench.harness.environment import system_info

if TYPE_CHECKING:
    import torch

DTYPES: Mapping[str, str] = {"fp16": "float16", "bf16": "bfloat16"}
"""The precisions implemented by a cast of the whole module, and torch's names of the types."""

NAMES: Mapping[str, str] = {
    "float64": "fp64",
    "float32": "fp32",
    **{dtype: name for name, dtype in DTYPES.items()},
}

INSTRUCTIONS: Mapping[str, tuple[str, ...]] = {
    "fp16": ("avx512_fp16", "amx_fp16", "asimdhp"),
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
}
"""CPU features for native matrix products of a type, each sufficient; Arm's features come last."""


def narrowed(module: torch.nn.Module, precision: str) -> torch.nn.Module:
    """`module` with weights and buffers cast to the precision, and casts of inputs and outputs.

    Unchanged for precisions without a cast.
    """
    import torch

    if precision not in DTYPES:
        return module
    dtype = getattr(torch, DTYPES[precision])

    class Narrowed(torch.nn.Module):
        """A module with casts of floating inputs to the narrow type, and of outputs back."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module.to(dtype)

        def forward(self, *arguments: torch.Tensor) -> Any:
            result = self.inner(
                *(value.to(dtype) if value.is_floating_point() else value for value in arguments)
            )
            return _mapped(
                outputs.plain(result),
                lambda value: value.float() if value.dtype == dtype else value,
            )

    return Narrowed().eval()


def without_casts(module: torch.nn.Module) -> torch.nn.Module:
    """The module inside the casts of `narrowed`, with equal module names at every precision."""
    inner: torch.nn.Module = module.inner if type(module).__name__ == "Narrowed" else module
    return inner


def _mapped(result: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A plain result (tensor, dictionary or tuple) with `change` applied to every tensor."""
    import torch

    if isinstance(result, torch.Tensor):
        return change(result)
    if isinstance(result, Mapping):
        return {name: _mapped(value, change) for name, value in result.items()}
    if isinstance(result, (list, tuple)):
        return tuple(_mapped(value, change) for value in result)
    return result


def named(dtypes: Iterable[Any]) -> str:
    """The precisions of torch's floating dtypes, sorted and joined by commas."""
    return named_types(str(dtype).removeprefix("torch.") for dtype in dtypes)


def named_types(types: Iterable[str]) -> str:
    """The precisions of floating types given by name, such as `bfloat16`."""
    return ",".join(sorted({NAMES.get(name, name) for name in types if "float" in name}))


def emulated(precision: str, device: str) -> str:
    """A note for CPUs without instructions for the precision, or an empty string.

    Such CPUs store the precision and compute in fp32.
    """
    features = INSTRUCTIONS.get(precision, ())
    if device != "cpu" or not features or set(features) & set(system_info.describe()["cpu_flags"]):
        return ""
    return (
        f"this CPU multiplies no {precision} ({', '.join(features[:2])} are absent): "
        "values are widened to fp32 and rounded back"
    )
