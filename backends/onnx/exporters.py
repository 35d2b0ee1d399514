"""PyTorch's ONNX exporters, their opsets, and the options that choose between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.onnx import conversion, dynamic_axes
from backends.onnx.dynamic_axes import left_open
from backends.torch import exported_files
from backends.torch import model as torch_model
from backends.torch import outputs as torch_outputs
from harness import BATCH, Cell, Source, TensorSpec, Unsupported
from harness.core.dynamic_axes import SIZE

if TYPE_CHECKING:
    import torch
OPSET = 20


BF16_OPSET = 22
"""The first opset whose convolution takes bf16."""


OPSETS = {"dynamo": (18, 23), "torchscript": (13, 20)}
"""PyTorch's exporters, the default first, and the opsets that each writes. Below 13 a layer cannot
be quantised per channel.
"""


OPTIONS = {
    "exporter": "how PyTorch writes the ONNX file: 'dynamo' (default), or 'torchscript', the older one that traces",
    "opset": f"the opset of that file: a number, {OPSET} by default and {BF16_OPSET} for bf16",
}
"""What a case may choose about the export, for every backend that reads the file."""


LONGEST = 400
"""How many characters of an exporter's message are repeated."""


def opset_of(cell: Cell) -> int:
    """The opset that a cell's file is exported with."""
    return int(cell.option.get("opset", _usual_opset(cell)))


def _usual_opset(cell: Cell) -> int:
    return BF16_OPSET if cell.precision == "bf16" else OPSET


def exporter_of(cell: Cell) -> str:
    """Which of PyTorch's exporters writes a cell's file: the newer one takes no TorchScript."""
    usual = "torchscript" if exported_files.is_script(cell.model) else next(iter(OPSETS))
    return str(cell.option.get("exporter", usual))


def refuses(cell: Cell) -> str:
    """An empty string, or why the file cannot be exported as the cell's options ask, in words."""
    if "dynamic" in cell.option and sorted(left_open(cell)) != sorted(
        str(cell.option["dynamic"]).split(",")
    ):
        return f"dynamic is {BATCH!r}, {SIZE!r} or '{BATCH},{SIZE}', not {cell.option['dynamic']!r}; other sizes are fixed"
    if BATCH in left_open(cell) and not any(spec.is_batched for spec in cell.model.inputs):
        return (
            f"dynamic={BATCH} leaves the batch open, and no input of {cell.model.name} declares one"
        )
    if SIZE in left_open(cell) and not cell.model.sizes:
        return f"dynamic={SIZE} leaves open what differs between the sizes of a model, and {cell.model.name} declares one; give it sizes="
    named = [name for name in OPTIONS if name in cell.option]
    if cell.model.file:
        return (
            f"{' and '.join(named)} choose how a module is exported, and {cell.model.name} is a file of one's own"
            if named
            else ""
        )
    exporter, opset = exporter_of(cell), cell.option.get("opset", _usual_opset(cell))
    if exporter not in OPSETS:
        return f"exporter is {' or '.join(map(repr, OPSETS))}, not {exporter!r}"
    lowest, highest = OPSETS[exporter]
    lowest = max(lowest, _usual_opset(cell)) if cell.precision == "bf16" else lowest
    if lowest > highest:
        return f"{cell.precision} needs opset {lowest}, and exporter {exporter} ends at {highest}"
    if type(opset) is not int or not lowest <= opset <= highest:
        return f"exporter {exporter} writes opsets {lowest} to {highest} at {cell.precision}, not {opset!r}"
    return ""


def _as_a_flag(cell: Cell) -> str:
    """How the other exporter is chosen for a model whose weights are its own: one that nobody
    declared has no other way to say so.
    """
    other = next(name for name in OPSETS if name != exporter_of(cell))
    return (
        f", of a model of your own --option BACKEND:exporter={other}"
        if cell.model.weights.source == "own"
        else ""
    )


def refused(exporter: str, error: BaseException) -> str:
    """Why an exporter cannot take a model, in words: the first error of the chain, which names the
    operation, and what else there is.
    """
    first: BaseException = error
    while first.__cause__ is not None:
        first = first.__cause__
    said = next(
        (line.strip() for line in str(first).splitlines() if line.strip()), type(first).__name__
    )
    other = next(name for name in OPSETS if name != exporter)
    return f"PyTorch's exporter {exporter!r} cannot take it ({type(first).__name__}: {said[:LONGEST]}); the other one is exporter={other!r}"


def export_module(source: Source, cell: Cell, file: Path) -> None:
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
        _call(
            module, examples, cell, file, optimize=False
        )  # folding a batch norm leaves its weights in fp32 beside bf16 inputs


def _example(source: Source, spec: TensorSpec, any_batch: bool) -> Any:
    """What the exporter traces the module with: the first batch, or two samples where the batch is
    open, since one would be a constant.
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
    how: dict[str, Any] = {"dynamo": True, "optimize": optimize} if dynamo else {"dynamo": False}
    if left_open(cell):
        how |= dynamic_axes.exporter_arguments(module, cell, dynamo)
    try:
        with torch.no_grad():
            if exported_files.is_script(
                cell.model
            ):  # which this exporter takes as it is, and not inside a module that it would trace itself
                module = torch.jit.trace(module, examples, check_trace=False, strict=False)
            torch.onnx.export(
                module,
                examples,
                file,
                input_names=[spec.name for spec in cell.model.inputs],
                output_names=[spec.name for spec in cell.model.outputs],
                opset_version=opset_of(cell),
                external_data=False,
                **how,
            )
    except torch.onnx.OnnxExporterError as error:
        raise Unsupported(refused(exporter_of(cell), error) + _as_a_flag(cell)) from error
