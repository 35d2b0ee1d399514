"""int8 for torch by torchao: linear layers with ranges found at run time, or whole graphs with ranges from calibration (PT2E).

Both are made to be compiled by inductor, which turns them into oneDNN's integer layers on x86 CPUs.
"""

from __future__ import annotations

import importlib.util
import platform
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import torch_session
from harness import Cell, Unsupported, environment, gpu, inputs

if TYPE_CHECKING:
    import torch

PRECISIONS = ("int8-dynamic", "int8-static")
DISTRIBUTION = "torchao"
X86 = ("x86_64", "AMD64")


def refuses(cell: Cell) -> str:
    """An empty string, or why torchao's int8 cannot be had for this cell on any machine of its kind, in words."""
    if cell.precision in PRECISIONS and gpu.is_cuda(cell.device):
        return f"{cell.precision} is quantised here for inductor's x86 layers, not for {cell.device}; tensorrt runs int8 there"
    return ""


def lacks(cell: Cell) -> str:
    """In words, what this machine lacks for the cell's int8, or an empty string."""
    if cell.precision not in PRECISIONS:
        return ""
    if platform.machine() not in X86:
        return f"{cell.precision}: inductor has integer layers for x86 CPUs only, and this is {platform.machine()}"
    if importlib.util.find_spec(DISTRIBUTION) is None:
        return f"{cell.precision} is made by torchao, which is not installed; pip install 'evenbench[torch-int8]'"
    return ""


def key(cell: Cell) -> dict[str, Any]:
    """What decides how the cell's module is quantised; empty at other precisions."""
    return _KEYS[cell.precision]() if cell.precision in _KEYS else {}


def _dynamic_key() -> dict[str, Any]:
    how = {"weights": "s8 symmetric, per channel", "activations": "s8 symmetric, per row, ranges found at run time", "layers": "linear"}
    return {"by": "torchao.quantize_", "version": inputs.version_of(DISTRIBUTION), **how, "reduce_range": _saturates()}


def _static_key() -> dict[str, Any]:
    how = {"weights": "s8 symmetric, per channel", "activations": "u8 asymmetric, per tensor", "ranges": "histogram"}
    made = {"by": "torchao PT2E, X86InductorQuantizer", "version": inputs.version_of(DISTRIBUTION), "export": "strict"}
    return {**made, **how, "reduce_range": _saturates()}


_KEYS = {"int8-dynamic": _dynamic_key, "int8-static": _static_key}


def _saturates() -> bool:
    """Whether products of int8 overflow 16 bits on this CPU, as on x86 without VNNI. A bit of range is then left unused."""
    return not any("vnni" in flag for flag in environment.describe()["cpu_flags"])


def dynamic(module: torch.nn.Module, name: str) -> torch.nn.Module:
    """`module` with its linear layers quantised in place. Raises Unsupported where it has none."""
    import torch

    layers = [child for child in module.modules() if isinstance(child, torch.nn.Linear)]
    if not layers:
        raise Unsupported(f"int8-dynamic quantises linear layers, and {name} has none; int8-static is made for convolutions")
    with _quiet():
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        # set_inductor_config would also allow fp32 arithmetic to be narrowed, in the layers that are not quantised.
        quantize_(module, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False, reduce_range=_saturates()))
    return module


def static(program: torch.export.ExportedProgram, cell: Cell, calibration: Mapping[str, Path]) -> torch.nn.Module:
    """The exported program with quantise and dequantise steps, their ranges from `calibration` (.npy of [batches, batch, ...])."""
    import torch

    with _quiet():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        quantizer = x86.X86InductorQuantizer()
        quantizer.set_global(x86.get_default_x86_inductor_quantization_config(is_dynamic=False, reduce_range=_saturates()))
        observed = prepare_pt2e(program.module(), quantizer)
        with torch.no_grad():
            for batch in _batches(calibration, cell):
                observed(*batch)
        converted: torch.nn.Module = convert_pt2e(observed)
    return converted


def _batches(calibration: Mapping[str, Path], cell: Cell) -> Iterator[tuple[torch.Tensor, ...]]:
    import numpy as np

    whole = [np.load(calibration[spec.name]) for spec in cell.model.inputs]
    for index in range(len(whole[0])):
        yield tuple(torch_session.bound(array[index], cell) for array in whole)


def register() -> None:
    """Make the operators of quantised graphs known to torch, and their lowering to inductor, for a process that loads one.

    The lowering comes with the quantizer's module: without that import the graph compiles as well, into fp32 arithmetic.
    """
    with _quiet():
        import torchao.quantization.pt2e.quantize_pt2e
        import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # noqa: F401


class _quiet(warnings.catch_warnings):
    """torchao warns of its own inner workings on import and in use; nothing in those lines is for the person who benchmarks."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered
