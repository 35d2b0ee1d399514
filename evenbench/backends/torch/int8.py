"""int8 for torch by torchao's PT2E: calibrated whole graphs, or dynamically ranged linear layers.

Inductor compiles both into oneDNN's integer layers on x86 CPUs. torchao's `quantize_` also offers
dynamic ranges, but produces separate integer products, not fused into oneDNN's layers.
"""

from __future__ import annotations

import importlib.util
import platform
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.torch import placement
from evenbench.harness import Cell, Unsupported
from evenbench.harness.environment import gpu, system_info
from evenbench.harness.inputs import batches

if TYPE_CHECKING:
    import torch

PRECISIONS = ("int8-dynamic", "int8-static")
DISTRIBUTION = "torchao"
X86 = ("x86_64", "AMD64")


def refuses(cell: Cell) -> str:
    """The reason why torchao's int8 cannot run the cell on any machine, or an empty string."""
    if cell.precision in PRECISIONS and gpu.is_cuda(cell.device):
        return (
            f"{cell.precision} is quantised for inductor's x86 layers, not for {cell.device}; "
            f"tensorrt runs int8 on {cell.device}"
        )
    return ""


def lacks(cell: Cell) -> str:
    """The missing requirement of this machine for the cell's int8, or an empty string."""
    if cell.precision not in PRECISIONS:
        return ""
    if platform.machine() not in X86:
        return (
            f"{cell.precision}: inductor has integer layers for x86 CPUs only, "
            f"and this is {platform.machine()}"
        )
    if importlib.util.find_spec(DISTRIBUTION) is None:
        return (
            f"{cell.precision} is made by torchao, which is not installed; "
            "pip install 'evenbench[torch-int8]'"
        )
    return ""


def key(cell: Cell) -> dict[str, Any]:
    """The settings of the quantisation, for the cache key; empty at other precisions."""
    if cell.precision not in _SETTINGS:
        return {}
    return {
        "by": "torchao PT2E, X86InductorQuantizer",
        "version": batches.version_of(DISTRIBUTION),
        "export": "strict",
        "weights": "s8 symmetric, per channel",
        "activations": "u8 asymmetric, per tensor",
        **_SETTINGS[cell.precision],
        "reduce_range": _saturates(),
    }


_SETTINGS = {
    "int8-dynamic": {"layers": "linear", "ranges": "found at run time"},
    "int8-static": {
        "layers": "all that the quantizer knows",
        "ranges": "histogram of the calibration samples",
    },
}


def _saturates() -> bool:
    """Whether int8 products overflow 16 bits on this CPU, as on x86 without VNNI.

    Quantisation then leaves a bit of the range unused.
    """
    return not any("vnni" in flag for flag in system_info.describe()["cpu_flags"])


def quantised(
    module: torch.nn.Module, cell: Cell, calibration: Mapping[str, Path], quantizer: Any = None
) -> torch.export.ExportedProgram:
    """`module` exported with quantise and dequantise steps.

    `quantizer` is torchao's quantizer of the runtime; the default is inductor's for x86.
    `calibration` maps input names to .npy files of [batches, batch, ...] for the ranges of
    int8-static. int8-dynamic quantises linear layers only, without calibration. Raises Unsupported
    if a module has no linear layer for int8-dynamic.
    """
    import torch

    if cell.precision == "int8-dynamic" and not any(
        isinstance(child, torch.nn.Linear) for child in module.modules()
    ):
        raise Unsupported(
            f"int8-dynamic quantises linear layers, and {cell.model.name} has none; "
            "int8-static quantises convolutions"
        )
    examples = placement.zeros(cell)
    with _quiet(), torch.no_grad():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        # strict, because the quantizer would treat two calls of a module, such as a shared ReLU,
        # as a single node
        program = torch.export.export(module, examples, strict=True)
        observed = prepare_pt2e(program.module(), quantizer or _quantizer(cell.precision))
        for batch in _batches(calibration, cell):
            observed(*batch)
        return torch.export.export(convert_pt2e(observed), examples)


def _quantizer(precision: str) -> Any:
    import torch
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    dynamic = precision == "int8-dynamic"
    config = x86.get_default_x86_inductor_quantization_config(
        is_dynamic=dynamic, reduce_range=_saturates()
    )
    quantizer = x86.X86InductorQuantizer()
    if dynamic:
        return quantizer.set_module_type_qconfig(torch.nn.Linear, config)
    return quantizer.set_global(config)


def _batches(calibration: Mapping[str, Path], cell: Cell) -> Iterator[tuple[torch.Tensor, ...]]:
    import numpy as np

    if not calibration:
        yield placement.zeros(cell)  # dynamic ranges need no values, only shapes
        return
    whole = [np.load(calibration[spec.name]) for spec in cell.model.inputs]
    for index in range(len(whole[0])):
        yield tuple(placement.bound(array[index], cell) for array in whole)


def register() -> None:
    """Register the operators of quantised graphs with torch, and the lowering with inductor.

    Importing the quantizer's module registers the lowering. Without the import, inductor compiles
    the graph into fp32 arithmetic, without an error.
    """
    with _quiet():
        import torchao.quantization.pt2e.quantize_pt2e
        import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # noqa: F401


class _quiet(warnings.catch_warnings):
    """Silences torchao's warnings about internals, which do not concern users of evenbench."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered
