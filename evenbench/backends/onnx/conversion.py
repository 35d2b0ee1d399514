"""Conversion of ONNX files to lower precisions, each by a maintained library.

A precision is a property of the file: a single file feeds all runtimes. Inputs and outputs keep the
declared types, so all runtimes read equal bytes; casts and quantisation are inside the graph.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx import quantisation
from evenbench.harness import Cell
from evenbench.harness.inputs import batches

if TYPE_CHECKING:
    import torch


PRECISIONS = ("fp32", "fp16", "bf16", "int8-dynamic", "int8-static")


def refuses(cell: Cell) -> str:
    """The reason why the cell's model has no file of the precision, or an empty string."""
    if cell.precision == "bf16" and cell.model.file and not cell.stored_precisions:
        return (
            "bf16 is made by PyTorch's exporter from a module; "
            "no maintained library converts an ONNX file to bf16"
        )
    for name, allowed in quantisation.CHOICES.items():
        if cell.option.get(name, allowed[0]) not in allowed:
            return f"{name} is {' or '.join(map(repr, allowed))}, not {cell.option[name]!r}"
        if name in cell.option and cell.precision != "int8-static":
            return f"{name} is an option of int8-static, not of {cell.precision}"
    return ""


def lacks(cell: Cell) -> str:
    """The package missing for the cell's conversion, or an empty string."""
    # For cells of other environments, files are converted in this environment.
    is_converted = cell.precision not in ("fp32", "bf16") and not cell.stored_precisions
    if not is_converted or cell.interpreter_name or not absent("onnxruntime"):
        return ""
    return (
        f"{cell.precision} is made by onnxruntime, which is not installed; "
        "pip install 'evenbench[ort]'"
    )


def absent(package: str) -> bool:
    """Whether a package is missing, without importing the package."""
    return importlib.util.find_spec(package) is None


def key(cell: Cell) -> dict[str, Any]:
    """The key of the conversion: library, version and all settings. Empty without conversion."""
    is_converted = cell.precision in _KEYS and not cell.stored_precisions
    return _KEYS[cell.precision](cell) if is_converted else {}


def _fp16_key(cell: Cell) -> dict[str, Any]:
    return {"by": "onnxruntime.transformers.float16", "version": batches.version_of("onnxruntime")}


def _bf16_key(cell: Cell) -> dict[str, Any]:
    return {"by": "torch.Tensor.to before torch.onnx", "version": batches.version_of("torch")}


_KEYS = {
    "fp16": _fp16_key,
    "bf16": _bf16_key,
    "int8-dynamic": quantisation.dynamic_key,
    "int8-static": quantisation.static_key,
}


def convert(file: Path, cell: Cell, calibration: Mapping[str, Path]) -> None:
    """Convert the fp32 ONNX `file` in place to the cell's precision. fp32 and bf16 change nothing.

    `calibration` maps input names to .npy files of [batches, batch, ...]. Raises Unsupported if the
    graph has no layer to quantise.
    """
    if cell.precision in _CONVERTERS:
        _CONVERTERS[cell.precision](file, cell, calibration)


def _to_fp16(file: Path, cell: Cell, calibration: Mapping[str, Path]) -> None:
    import onnx
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = OnnxModel(onnx.load(str(file)))
    model.convert_float_to_float16(use_symbolic_shape_infer=False, keep_io_types=True)
    model.topological_sort()
    onnx.save(model.model, str(file))


_CONVERTERS = {
    "fp16": _to_fp16,
    "int8-dynamic": quantisation.to_int8_dynamic,
    "int8-static": quantisation.to_int8_static,
}


def narrowed(module: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    """`module` with computation in `dtype`, and float32 inputs and outputs.

    If torch.fx can trace the module, batch norms are folded into convolutions first, in float32.
    The exporter also folds batch norms, but in mixed types.
    """
    import torch

    inner = _folded(module).to(dtype)

    class Narrowed(torch.nn.Module):
        """A module with casts of floating inputs to the narrow type, and of outputs to float32."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *arguments: torch.Tensor) -> Any:
            result = self.inner(
                *(value.to(dtype) if value.is_floating_point() else value for value in arguments)
            )
            if isinstance(result, torch.Tensor):
                return result.float() if result.is_floating_point() else result
            return tuple(value.float() if value.is_floating_point() else value for value in result)

    return Narrowed().eval()


def _folded(module: torch.nn.Module) -> torch.nn.Module:
    """A copy with batch norms folded into convolutions; unfolded if torch.fx cannot trace."""
    from torch.fx.experimental import optimization

    copied = copy.deepcopy(module)
    try:
        return optimization.fuse(copied)  # type: ignore[no-any-return]
    except Exception:  # tracing raises errors of many types, and unfolded batch norms are correct
        return copied
