"""PyTorch's ONNX exporters: their opsets, the options of a case, and the export of a module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx import conversion, dynamic_axes
from evenbench.backends.onnx.dynamic_axes import left_open
from evenbench.backends.torch import model as torch_model
from evenbench.backends.torch import outputs as torch_outputs
from evenbench.backends.torch.files import exported_files
from evenbench.harness import BATCH, Cell, Source, TensorSpec, Unsupported

if TYPE_CHECKING:
    import torch
OPSET = 20


BF16_OPSET = 22
"""The first opset with bf16 convolutions."""


OPSETS = {"dynamo": (18, 23), "torchscript": (13, 20)}
"""PyTorch's exporters, the default first, and the opsets of each. Quantisation per channel needs
opset 13.
"""


OPTIONS = {
    "exporter": (
        "PyTorch's exporter of the ONNX file: 'dynamo' (default), or 'torchscript', the older "
        "exporter by tracing"
    ),
    "opset": f"the opset of the ONNX file: a number, {OPSET} by default and {BF16_OPSET} for bf16",
}
"""The options of the export, for all backends with the shared ONNX file."""


LONGEST = 400
"""The maximum number of characters quoted from an exporter's message."""


def opset_of(cell: Cell) -> int:
    """The opset of a cell's file."""
    return int(cell.option.get("opset", _default_opset(cell)))


def _default_opset(cell: Cell) -> int:
    return BF16_OPSET if cell.precision == "bf16" else OPSET


def exporter_of(cell: Cell) -> str:
    """The exporter of a cell's file. The newer exporter does not accept TorchScript."""
    default = "torchscript" if exported_files.is_script(cell.model) else next(iter(OPSETS))
    return str(cell.option.get("exporter", default))


def refuses(cell: Cell) -> str:
    """The reason why no exporter supports the options of the cell, or an empty string."""
    if cell.model.file:
        options = ", ".join(name for name in OPTIONS if name in cell.option)
        reason = f"export options ({options}) apply to modules, and {cell.model.name} is a file"
        return reason if options else ""
    exporter, opset = exporter_of(cell), cell.option.get("opset", _default_opset(cell))
    if exporter not in OPSETS:
        return f"exporter is {' or '.join(map(repr, OPSETS))}, not {exporter!r}"
    lowest, highest = OPSETS[exporter]
    lowest = max(lowest, _default_opset(cell)) if cell.precision == "bf16" else lowest
    if lowest > highest:
        return f"{cell.precision} needs opset {lowest}, and exporter {exporter} ends at {highest}"
    if type(opset) is not int or not lowest <= opset <= highest:
        opsets = f"opsets {lowest} to {highest} at {cell.precision}"
        return f"exporter {exporter} writes {opsets}, not {opset!r}"
    return ""


def _flag(cell: Cell) -> str:
    """The flag for the other exporter, in errors about users' own models without a declaration."""
    other = next(name for name in OPSETS if name != exporter_of(cell))
    return (
        f", for a model of your own --option BACKEND:exporter={other}"
        if cell.model.weights.source == "own"
        else ""
    )


def error_message(exporter: str, error: BaseException) -> str:
    """The reason for a failed export: the root error, with the operation, and the alternative."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    message = next(
        (line.strip() for line in str(root).splitlines() if line.strip()), type(root).__name__
    )
    other = next(name for name in OPSETS if name != exporter)
    return (
        f"PyTorch's exporter {exporter!r} cannot export the model "
        f"({type(root).__name__}: {message[:LONGEST]}); try exporter={other!r}"
    )


def export_module(source: Source, cell: Cell, file: Path) -> None:
    """Export the model's module into `file`, with casts at the boundary for bf16."""
    import onnx
    import torch

    module = torch_outputs.in_declared_order(
        torch_model.load(source.weights_folder, cell), cell.model
    )
    examples = tuple(
        torch.from_numpy(_example(source, spec, BATCH in left_open(cell)))
        for spec in cell.model.inputs
    )
    if cell.precision != "bf16":
        _call(module, examples, cell, file, optimize=True)
        return
    module = conversion.narrowed(module, torch.bfloat16)
    _call(module, examples, cell, file, optimize=True)
    try:
        onnx.checker.check_model(str(file), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        # The optimiser folds batch norms into fp32 weights next to bf16 inputs.
        _call(module, examples, cell, file, optimize=False)


def _example(source: Source, spec: TensorSpec, any_batch: bool) -> Any:
    """The example input for tracing: the first batch, or two samples for an open batch.

    Exporters treat a batch of 1 as a constant.
    """
    import numpy as np

    batches = np.load(source.batches[spec.name])
    if not any_batch or not spec.is_batched:
        return batches[0, ...]
    samples = batches.reshape(-1, *batches.shape[2:])
    return np.concatenate([samples, samples])[:2]


def _call(
    module: torch.nn.Module, examples: tuple[Any, ...], cell: Cell, file: Path, optimize: bool
) -> None:
    import torch

    dynamo = exporter_of(cell) == "dynamo"
    options: dict[str, Any] = {"dynamo": dynamo, **({"optimize": optimize} if dynamo else {})}
    if left_open(cell):
        options |= dynamic_axes.exporter_arguments(module, cell, dynamo)
    try:
        with torch.no_grad():
            # The exporter cannot trace a Python module around TorchScript.
            if exported_files.is_script(cell.model):
                module = torch.jit.trace(module, examples, check_trace=False, strict=False)
            torch.onnx.export(
                module,
                examples,
                file,
                input_names=[spec.name for spec in cell.model.inputs],
                output_names=[spec.name for spec in cell.model.outputs],
                opset_version=opset_of(cell),
                external_data=False,
                **options,
            )
    except torch.onnx.OnnxExporterError as error:
        raise Unsupported(error_message(exporter_of(cell), error) + _flag(cell)) from error
