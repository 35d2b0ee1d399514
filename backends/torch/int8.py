"""int8 for torch by torchao's PT2E: whole graphs with ranges from calibration, or linear layers
with ranges found at run time.

Both are made to be compiled by inductor, which turns them into oneDNN's integer layers on x86 CPUs.
torchao's `quantize_` is the other way to dynamic ranges; what it makes stays a separate integer
product that oneDNN's layers are not fused with.
"""

from __future__ import annotations

import importlib.util
import platform
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.torch import placement
from harness import Cell, Unsupported
from harness.environment import gpu, system_info
from harness.inputs import batches

if TYPE_CHECKING:
    import torch

PRECISIONS = ("int8-dynamic", "int8-static")
DISTRIBUTION = "torchao"
X86 = ("x86_64", "AMD64")


def refuses(cell: Cell) -> str:
    """An empty string, or why torchao's int8 cannot be had for this cell on any machine of its
    kind, in words.
    """
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
    return _key(_HOW[cell.precision]) if cell.precision in _HOW else {}


def _key(how: Mapping[str, Any]) -> dict[str, Any]:
    made = {
        "by": "torchao PT2E, X86InductorQuantizer",
        "version": batches.version_of(DISTRIBUTION),
        "export": "strict",
    }
    return {
        **made,
        "weights": "s8 symmetric, per channel",
        "activations": "u8 asymmetric, per tensor",
        **how,
        "reduce_range": _saturates(),
    }


_HOW = {
    "int8-dynamic": {"layers": "linear", "ranges": "found at run time"},
    "int8-static": {
        "layers": "all that the quantizer knows",
        "ranges": "histogram of the calibration samples",
    },
}


def _saturates() -> bool:
    """Whether products of int8 overflow 16 bits on this CPU, as on x86 without VNNI. A bit of range
    is then left unused.
    """
    return not any("vnni" in flag for flag in system_info.describe()["cpu_flags"])


def quantised(
    module: torch.nn.Module, cell: Cell, calibration: Mapping[str, Path]
) -> torch.export.ExportedProgram:
    """`module` exported with quantise and dequantise steps, their ranges from `calibration` (.npy
    of [batches, batch, ...]).

    For int8-dynamic only linear layers are quantised, and nothing is calibrated. Raises Unsupported
    where there is none.
    """
    import torch

    if cell.precision == "int8-dynamic" and not any(
        isinstance(child, torch.nn.Linear) for child in module.modules()
    ):
        raise Unsupported(
            f"int8-dynamic quantises linear layers, and {cell.model.name} has none; int8-static is made for convolutions"
        )
    examples = placement.zeros(cell)
    with _quiet(), torch.no_grad():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        # strict, since the quantizer takes a module that is called twice, such as a block's one
        # ReLU, for one node otherwise
        program = torch.export.export(module, examples, strict=True)
        observed = prepare_pt2e(program.module(), _quantizer(cell.precision))
        for batch in _batches(calibration, cell):
            observed(*batch)
        return torch.export.export(convert_pt2e(observed), examples)


def _quantizer(precision: str) -> Any:
    import torch
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    made = x86.X86InductorQuantizer()
    if precision == "int8-dynamic":
        how = x86.get_default_x86_inductor_quantization_config(
            is_dynamic=True, reduce_range=_saturates()
        )
        return made.set_module_type_qconfig(torch.nn.Linear, how)
    return made.set_global(
        x86.get_default_x86_inductor_quantization_config(
            is_dynamic=False, reduce_range=_saturates()
        )
    )


def _batches(calibration: Mapping[str, Path], cell: Cell) -> Iterator[tuple[torch.Tensor, ...]]:
    import numpy as np

    if not calibration:
        yield placement.zeros(
            cell
        )  # ranges that are found at run time have nothing to observe, but shapes
        return
    whole = [np.load(calibration[spec.name]) for spec in cell.model.inputs]
    for index in range(len(whole[0])):
        yield tuple(placement.bound(array[index], cell) for array in whole)


def register() -> None:
    """Make the operators of quantised graphs known to torch, and their lowering to inductor, for a
    process that loads one.

    The lowering comes with the quantizer's module: without that import the graph compiles as well,
    into fp32 arithmetic.
    """
    with _quiet():
        import torchao.quantization.pt2e.quantize_pt2e
        import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # noqa: F401


class _quiet(warnings.catch_warnings):
    """torchao warns of its own inner workings on import and in use; nothing in those lines is for
    the person who benchmarks.
    """

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered
