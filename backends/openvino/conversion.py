"""What OpenVINO converts: its own road from a PyTorch module, traced, without an ONNX file between;
its quantiser; what it says of files.

Its PyTorch frontend has conversions of its own for torchvision's operators (`nms`, `roi_align`),
and takes graphs that its ONNX frontend does not.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends.onnx import quantisation
from backends.torch import model as torch_model
from backends.torch import outputs
from harness import Cell, Source, Unsupported
from harness.inputs import batches

LONGEST = 400
"""How many characters of a converter's message are repeated."""

UNCONVERTED = "Model wasn't fully converted."
"""What the error of OpenVINO's ONNX frontend says before it names the operations."""


def converts(cell: Cell) -> bool:
    """Whether the cell's model is made from the module without an ONNX file."""
    return bool(cell.option.get("frontend") == "pytorch")


def refuses(cell: Cell) -> str:
    """An empty string, or why the cell's module cannot be converted so, in words."""
    if not converts(cell):
        return ""
    others = [name for name in ("exporter", "opset", "dynamic", "quantizer") if name in cell.option]
    if others:
        return f"{others[0]} chooses how the ONNX file is made, and frontend=pytorch needs none"
    if cell.precision != "fp32":
        return f"frontend=pytorch converts the module at fp32, not at {cell.precision}"
    return torch_model.supports_module(cell.model)


def key() -> dict[str, str]:
    """What decides the artifact besides weights and shapes."""
    return {
        "format": "OpenVINO IR",
        "frontend": "pytorch",
        "openvino": batches.version_of("openvino"),
        **torch_model.versions(),
    }


def read(core: Any, file: Path) -> Any:
    """The model in `file`. Raises Unsupported, with their names, where OpenVINO converts not all of
    its operators.
    """
    try:
        return core.read_model(str(file))
    except RuntimeError as error:
        refused = unconverted(error)
        if refused is None:
            raise
        raise refused from error


def unconverted(error: RuntimeError) -> Unsupported | None:
    """What to raise where OpenVINO's ONNX frontend has no conversion for some operators, with their
    names; None for any other error.
    """
    if UNCONVERTED not in str(error):
        return None
    said = " ".join(str(error).partition(UNCONVERTED)[2].split())
    return Unsupported(
        f"OpenVINO's ONNX frontend cannot convert it ({said[:LONGEST]}); a module has frontend='pytorch' too"
    )


def convert(source: Source, cell: Cell, file: Path) -> Mapping[str, Any]:
    """Write the cell's module at fp32 to `file` (.xml, weights beside it), with the declared names
    and static input shapes.

    Returns how it was made. Raises Unsupported where an operation has no conversion.
    """
    import numpy as np
    import openvino as ov
    import torch

    warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")
    module = outputs.in_declared_order(torch_model.load(source.weights_folder, cell), cell.model)
    examples = tuple(
        torch.from_numpy(np.load(source.batches[spec.name])[0, ...]) for spec in cell.model.inputs
    )
    with torch.no_grad():
        traced = torch.jit.trace(module, examples, check_trace=False, strict=False)
        try:
            model = ov.convert_model(torch.jit.freeze(traced), example_input=examples)
        except ov.frontend.OpConversionFailure as error:
            raise Unsupported(
                f"OpenVINO's PyTorch frontend cannot take it ({' '.join(str(error).split())[:LONGEST]})"
            ) from error
    for port, spec in zip(model.inputs, cell.model.inputs, strict=True):
        port.get_tensor().set_names({spec.name})
    for port, spec in zip(model.outputs, cell.model.outputs, strict=True):
        port.get_tensor().add_names({spec.name})
    model.reshape({spec.name: list(spec.concrete(cell.batch)) for spec in cell.model.inputs})
    ov.save_model(model, str(file), compress_to_fp16=False)
    return key()


def quantise(file: Path, into: Path, precision: str, calibration: Mapping[str, Path]) -> None:
    """Replace the fp32 ONNX `file` by an OpenVINO model that NNCF quantised, written `into` another
    one (.xml, weights beside it).
    """
    os.environ.setdefault("NNCF_CI", "1")  # its documented switch: no usage data is sent from here
    import nncf
    import openvino as ov

    model = ov.Core().read_model(str(file))
    if precision == "int8-static":
        samples = list(quantisation.feeds(calibration))
        made = nncf.quantize(
            model,
            nncf.Dataset(samples),
            subset_size=len(samples),
            preset=nncf.QuantizationPreset.PERFORMANCE,
        )
    else:
        kept = nncf.IgnoredScope(types=["Convolution", "GroupConvolution"], validate=False)
        made = nncf.compress_weights(
            model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=kept
        )
    ov.save_model(made, str(into), compress_to_fp16=False)
    file.unlink()
