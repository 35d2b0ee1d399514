"""Conversion to OpenVINO: from a traced PyTorch module, by NNCF's quantiser, and read from ONNX.

The PyTorch frontend converts torchvision's operators (`nms`, `roi_align`), and accepts graphs that
the ONNX frontend refuses.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evenbench.backends.onnx import quantisation
from evenbench.backends.torch import model as torch_model
from evenbench.backends.torch import outputs
from evenbench.harness import Cell, Source, Unsupported
from evenbench.harness.inputs import batches

MESSAGE_LENGTH = 400
"""Characters repeated of a converter's message."""

UNCONVERTED = "Model wasn't fully converted."
"""Start of the error of OpenVINO's ONNX frontend, before the names of the operations."""


def uses_pytorch_frontend(cell: Cell) -> bool:
    """Return True if the model is converted from the module, without an ONNX file."""
    return bool(cell.option.get("frontend") == "pytorch")


def refuses(cell: Cell) -> str:
    """Explain why the cell's module cannot be converted, or return an empty string."""
    if not uses_pytorch_frontend(cell):
        return ""
    onnx_options = [
        name for name in ("exporter", "opset", "dynamic", "quantizer") if name in cell.option
    ]
    if onnx_options:
        return (
            f"{onnx_options[0]} is an option of the ONNX export, and frontend=pytorch uses no "
            "ONNX file"
        )
    if cell.precision != "fp32":
        return f"frontend=pytorch supports fp32, not {cell.precision}"
    return torch_model.supports_module(cell.model)


def artifact_key() -> dict[str, str]:
    """Return the versions and formats that decide the artifact, besides weights and shapes."""
    return {
        "format": "OpenVINO IR",
        "frontend": "pytorch",
        "openvino": batches.version_of("openvino"),
        **torch_model.versions(),
    }


def read_model(core: Any, file: Path) -> Any:
    """Read the model in `file`. Raises Unsupported with the names of unconverted operators."""
    try:
        return core.read_model(str(file))
    except RuntimeError as error:
        unsupported = refusal(error)
        if unsupported is None:
            raise
        raise unsupported from error


@contextmanager
def refusals(cell: Cell) -> Iterator[None]:
    """Turn an error on the user's own file into Unsupported, in OpenVINO's words.

    An error on a file of evenbench's own export is a fault of the export.
    """
    try:
        yield
    except RuntimeError as error:
        if not cell.model.file or isinstance(error, Unsupported):
            raise
        lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
        places = ("Exception from ", "Check ")
        words = [line for line in lines if not line.startswith(places)] or lines[-1:]
        raise Unsupported(f"OpenVINO refuses the file: {' '.join(words)[:300]}") from error


def refusal(error: RuntimeError) -> Unsupported | None:
    """Return Unsupported with the unconverted operators, or None for any other error."""
    if UNCONVERTED not in str(error):
        return None
    operations = " ".join(str(error).partition(UNCONVERTED)[2].split())
    return Unsupported(
        f"OpenVINO's ONNX frontend cannot convert it ({operations[:MESSAGE_LENGTH]}); for a "
        "PyTorch module, try frontend='pytorch'"
    )


def convert(source: Source, cell: Cell, file: Path) -> Mapping[str, Any]:
    """Write the module at fp32 to `file` (.xml, weights beside), with static input shapes.

    Returns facts for the record. Raises Unsupported for an operation without conversion.
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
                "OpenVINO's PyTorch frontend cannot convert it "
                f"({' '.join(str(error).split())[:MESSAGE_LENGTH]})"
            ) from error
    for port, spec in zip(model.inputs, cell.model.inputs, strict=True):
        port.get_tensor().set_names({spec.name})
    for port, spec in zip(model.outputs, cell.model.outputs, strict=True):
        port.get_tensor().add_names({spec.name})
    model.reshape({spec.name: list(spec.concrete(cell.batch)) for spec in cell.model.inputs})
    ov.save_model(model, str(file), compress_to_fp16=False)
    return artifact_key()


def quantise(file: Path, into: Path, precision: str, calibration: Mapping[str, Path]) -> None:
    """Quantise the fp32 ONNX `file` with NNCF into `into` (.xml and weights); deletes `file`."""
    # NNCF's documented switch against sending usage data.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf
    import openvino as ov

    model = ov.Core().read_model(str(file))
    if precision == "int8-static":
        samples = list(quantisation.feeds(calibration))
        quantised = nncf.quantize(
            model,
            nncf.Dataset(samples),
            subset_size=len(samples),
            preset=nncf.QuantizationPreset.PERFORMANCE,
        )
    else:
        ignored = nncf.IgnoredScope(types=["Convolution", "GroupConvolution"], validate=False)
        quantised = nncf.compress_weights(
            model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=ignored
        )
    ov.save_model(quantised, str(into), compress_to_fp16=False)
    file.unlink()
