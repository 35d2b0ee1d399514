"""Precisions in torch's natural form: the module cast to a narrower type, and what this CPU can
compute in that type.

A model's declared tensors stay as they are at every precision, so inputs are narrowed and outputs
widened inside the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harness.environment import system_info

if TYPE_CHECKING:
    import torch

DTYPES: Mapping[str, str] = {"fp16": "float16", "bf16": "bfloat16"}
"""The precisions that are a cast of the whole module, and torch's name of the type."""

NAMES: Mapping[str, str] = {
    "float64": "fp64",
    "float32": "fp32",
    **{dtype: name for name, dtype in DTYPES.items()},
}

INSTRUCTIONS: Mapping[str, tuple[str, ...]] = {
    "fp16": ("avx512_fp16", "amx_fp16", "asimdhp"),
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
}
"""CPU features of which one is enough to multiply matrices of the type as it is; those of Arm stand
last.
"""


def narrowed(module: torch.nn.Module, precision: str) -> torch.nn.Module:
    """`module` with weights and buffers cast to the precision, and casts around it; unchanged where
    the precision is no cast.
    """
    import torch

    if precision not in DTYPES:
        return module
    dtype = getattr(torch, DTYPES[precision])

    class Narrowed(torch.nn.Module):
        """Casts floating inputs down, and up again what came out in that type."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module.to(dtype)

        def forward(self, *arguments: torch.Tensor) -> Any:
            made = self.inner(
                *(value.to(dtype) if value.is_floating_point() else value for value in arguments)
            )
            return _mapped(made, lambda value: value.float() if value.dtype == dtype else value)

    return Narrowed().eval()


def without_casts(module: torch.nn.Module) -> torch.nn.Module:
    """What `narrowed` put casts around, or the module itself: its modules have the same names at
    every precision.
    """
    inner: torch.nn.Module = module.inner if type(module).__name__ == "Narrowed" else module
    return inner


def _mapped(made: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`change` on every tensor of a module's answer: a tensor, a mapping or a sequence."""
    import torch

    if isinstance(made, torch.Tensor):
        return change(made)
    if isinstance(made, Mapping):
        return {name: _mapped(value, change) for name, value in made.items()}
    return (
        tuple(_mapped(value, change) for value in made) if isinstance(made, (list, tuple)) else made
    )


def named(dtypes: Iterable[Any]) -> str:
    """The floating types among torch's dtypes in the words of a cell, sorted and joined by commas;
    empty where there is none.
    """
    return named_types(str(dtype).removeprefix("torch.") for dtype in dtypes)


def named_types(types: Iterable[str]) -> str:
    """As `named`, from names such as `bfloat16`."""
    return ",".join(sorted({NAMES.get(name, name) for name in types if "float" in name}))


def emulated(precision: str, device: str) -> str:
    """In words, where a CPU only stores the precision and computes in fp32; an empty string where
    it has instructions for it.
    """
    wanted = INSTRUCTIONS.get(precision, ())
    if device != "cpu" or not wanted or set(wanted) & set(system_info.describe()["cpu_flags"]):
        return ""
    return f"this CPU multiplies no {precision} ({', '.join(wanted[:2])} are absent): values are widened to fp32 and rounded back"
