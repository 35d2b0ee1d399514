"""ONNX files converted to lower precisions, each by a maintained library."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.onnx import quantisation
from harness import Cell
from harness.inputs import batches

if TYPE_CHECKING:
    import torch


PRECISIONS = ("fp32", "fp16", "bf16", "int8-dynamic", "int8-static")


def refuses(cell: Cell) -> str:
    """An empty string, or why no file of this precision can be had of the cell's model, in words."""
    if cell.precision == "bf16" and cell.model.file:
        return "bf16 is made by PyTorch's exporter from a module; no maintained converter makes it from an ONNX file"
    for name, allowed in quantisation.CHOICES.items():
        if cell.option.get(name, allowed[0]) not in allowed:
            return f"{name} is {' or '.join(map(repr, allowed))}, not {cell.option[name]!r}"
        if name in cell.option and cell.precision != "int8-static":
            return f"{name} is an option of int8-static, and means nothing at {cell.precision}"
    return ""


def lacks(cell: Cell) -> str:
    """In words, what is not installed for the cell's conversion, or an empty string."""
    if (
        cell.precision in ("fp32", "bf16") or cell.interpreter_name or not absent("onnxruntime")
    ):  # files are made in this environment
        return ""
    return f"{cell.precision} is made by onnxruntime, which is not installed; pip install 'evenbench[ort]'"


def absent(package: str) -> bool:
    """Whether a package is not installed here. Looks, but imports nothing."""
    return importlib.util.find_spec(package) is None


def key(cell: Cell) -> dict[str, Any]:
    """What decides how the cell's file is converted: the library, its version, and every setting.
    Empty for fp32.
    """
    return _KEYS[cell.precision](cell) if cell.precision in _KEYS else {}


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
    """Convert the fp32 ONNX `file` in place to the cell's precision; fp32 and bf16 files are left
    as they are.

    `calibration` maps an input's name to an .npy of [batches, batch, ...]. Raises Unsupported where
    nothing in the graph can be quantised.
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
    """`module` computing in `dtype`, with float32 inputs and outputs: casts at the boundary,
    weights cast once.

    Batch norms are folded into their convolutions first, in float32, where the module can be
    traced; the exporter folds what is left, but in mixed types.
    """
    import torch

    inner = _folded(module).to(dtype)

    class Narrowed(torch.nn.Module):
        """Casts floating inputs down and outputs up again."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *arguments: torch.Tensor) -> Any:
            made = self.inner(
                *(value.to(dtype) if value.is_floating_point() else value for value in arguments)
            )
            if isinstance(made, torch.Tensor):
                return made.float() if made.is_floating_point() else made
            return tuple(value.float() if value.is_floating_point() else value for value in made)

    return Narrowed().eval()


def _folded(module: torch.nn.Module) -> torch.nn.Module:
    """A copy with batch norms folded into convolutions; a plain copy of what torch.fx cannot trace."""
    from torch.fx.experimental import optimization

    copied = copy.deepcopy(module)
    try:
        return optimization.fuse(copied)  # type: ignore[no-any-return]
    except Exception:  # tracing fails in as many ways as there are modules; an unfolded batch norm is right as well
        return copied
