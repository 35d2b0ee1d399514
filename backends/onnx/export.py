"""One ONNX file for every backend that takes ONNX: exported once from the module, or the user's own
file as it is.

At a lower precision the file is converted (`onnx_precision`), and says in its metadata what it was
made from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.onnx import description, precision, tensor_capture
from backends.torch import exported_files
from backends.torch import model as torch_model
from harness import BATCH, Backend, Cell, Model, Session, Source, TensorSpec, Unsupported
from harness.core import dynamic_axes
from harness.core.dynamic_axes import SIZE
from harness.core.intermediate_tensors import Exposed
from harness.inputs import batches as inputs

if TYPE_CHECKING:
    import torch

    from harness.core.session import Arrays

FILE = "model.onnx"
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

OPEN = (BATCH, SIZE)
"""What of a file may be left open."""

DYNAMIC = {
    "dynamic": f"what the ONNX file leaves open, so that one session answers any: '{BATCH}', '{SIZE}' (the axes that differ between the "
    f"sizes that a model declares), or '{BATCH},{SIZE}'; without it all sizes are fixed"
}
"""The same for those backends whose sessions can answer inputs of several sizes."""

LONGEST = 400
"""How many characters of an exporter's message are repeated."""

METADATA = "evenbench."
"""What the names of our entries in `metadata_props` begin with."""

QUIET = {"ORT_DISABLE_TELEMETRY": "1"}
"""ONNX Runtime, which also quantises, otherwise gathers usage data in the user's home, beside what
is measured.
"""

OWN = "none, the user's own file"


def supports_onnx(model: Model) -> str:
    """An empty string, or why no ONNX file can be had of this model."""
    return (
        ""
        if model.build or model.file.endswith(".onnx")
        else f"{Path(model.file).name} is no .onnx file"
    )


def at_fp32(cell: Cell) -> Cell:
    """The cell whose file is not converted: what another quantiser starts from."""
    return replace(cell, precision="fp32")


def opset_of(cell: Cell) -> int:
    """The opset that a cell's file is exported with."""
    return int(cell.option.get("opset", _usual_opset(cell)))


def _usual_opset(cell: Cell) -> int:
    return BF16_OPSET if cell.precision == "bf16" else OPSET


def exporter_of(cell: Cell) -> str:
    """Which of PyTorch's exporters writes a cell's file: the newer one takes no TorchScript."""
    usual = "torchscript" if exported_files.is_script(cell.model) else next(iter(OPSETS))
    return str(cell.option.get("exporter", usual))


def left_open(cell: Cell) -> tuple[str, ...]:
    """What one session of the cell is to answer any of: the batch, the model's sizes, both or
    nothing.
    """
    asked = str(cell.option.get("dynamic", "")).split(",")
    return tuple(what for what in OPEN if what in asked)


def open_axes(cell: Cell, spec: TensorSpec) -> tuple[int, ...]:
    """The axes of an input or output that the cell's file leaves open."""
    asked = left_open(cell)
    batch = (0,) if BATCH in asked and spec.is_batched else ()
    return (
        *batch,
        *(dynamic_axes.changing(cell.model).get(spec.name, ()) if SIZE in asked else ()),
    )


def labels(cell: Cell) -> tuple[str, ...]:
    """The labels of a cell whose session answers inputs of any such size."""
    return tuple(f"any {what}" for what in left_open(cell))


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


def key(cell: Cell) -> Mapping[str, Any]:
    """What decides the file besides weights, shapes and precision; equal for all backends that read
    it.
    """
    conversion = precision.key(cell)
    how = {"conversion": conversion} if conversion else {}
    if cell.model.file:
        return {"format": "onnx", "exporter": OWN, **how}
    versions = {name: inputs.version_of(name) for name in ("onnx", "onnxscript")}
    exporter = exporter_of(cell)
    made = {
        "format": "onnx",
        "exporter": f"torch.onnx {exporter}",
        "opset": opset_of(cell),
        "optimize": exporter == "dynamo",
    }
    if left_open(cell) == (BATCH,):
        made["dynamic"] = BATCH
    elif left_open(cell):
        made["dynamic"] = {
            spec.name: open_axes(cell, spec) for spec in (*cell.model.inputs, *cell.model.outputs)
        }
    return {**made, **torch_model.versions(), **versions, **how, "metadata": _declared(cell.model)}


def names_of(cell: Cell) -> str:
    """What the names of tensors in a cell's file mean, in words: equal for files whose equal names
    stand for the same tensor.

    What converts a file to another precision keeps the names that the exporter gave.
    """
    if cell.model.file:
        return "names of tensors in ONNX files of one's own"
    left = f", {' and '.join(left_open(cell))} open" if left_open(cell) else ""
    return f"names of ONNX tensors by {exporter_of(cell)}, opset {opset_of(cell)}{left}"


def _declared(model: Model) -> dict[str, str]:
    """The metadata that the model's declaration decides: its name, its preprocessing and its
    classes.
    """
    found = {"model": model.name}
    if model.recipe:
        steps = [{"step": type(step).__name__, **asdict(step)} for step in model.recipe.steps]
        found["recipe"] = json.dumps({"name": model.recipe.name, "steps": steps}, sort_keys=True)
    if model.labels:
        found["labels"] = json.dumps(model.labels)
    return found


def metadata(source: Source, cell: Cell) -> dict[str, str]:
    """What travels with a file, by name: enough to use the model without us, and to tell what it
    was made from.

    `recipe` is the preprocessing, its steps in order as JSON; `labels` a JSON list; `conversion`
    JSON, where there was one.
    """
    how = key(cell)
    entries = {
        **_declared(source.model),
        "precision": cell.precision,
        "weights_sha256": source.weights_sha256,
        "calibration_sha256": source.calibration_sha256,
        "exporter": f"{how['exporter']} {how['torch']}" if "torch" in how else str(how["exporter"]),
        "opset": str(how.get("opset", "")),
        "dynamic": ",".join(left_open(cell)) if "dynamic" in how else "",
        "conversion": json.dumps(how["conversion"], sort_keys=True) if "conversion" in how else "",
    }
    return {METADATA + name: value for name, value in entries.items() if value}


def _wrappers(cell: Cell) -> int:
    """How many modules of ours were around the model's when the cell's file was exported; the file
    names them as well.
    """
    narrowed = cell.precision == "bf16"
    return 0 if cell.model.file else torch_model.wrappers(cell.model) + narrowed


def export(source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """Write `model.onnx` with the declared names, the sizes (fixed, or some open) and precision of
    the cell; returns how it was made.

    A user's own file is copied byte for byte at fp32. Raises Unsupported where the precision cannot
    be had of this graph.
    """
    file = folder / FILE
    if cell.model.file:
        shutil.copyfile(source.weights_folder / FILE, file)
        if cell.precision == "fp32":
            return {"format": "ONNX", "exporter": OWN}
    else:
        _export_module(source, cell, file)
    precision.convert(file, cell, source.calibration)
    return {
        "format": "ONNX",
        **{name: value for name, value in key(cell).items() if name != "metadata"},
        **_finish(source, cell, file),
    }


def _export_module(source: Source, cell: Cell, file: Path) -> None:
    import onnx
    import torch

    module = torch_model.in_declared_order(
        torch_model.load(source.weights_folder, cell), cell.model
    )
    examples = tuple(
        torch.from_numpy(_example(source, spec, BATCH in left_open(cell)))
        for spec in cell.model.inputs
    )
    if cell.precision != "bf16":
        _export(module, examples, cell, file, optimize=True)
        return
    module = precision.narrowed(module, torch.bfloat16)
    _export(module, examples, cell, file, optimize=True)
    try:
        onnx.checker.check_model(str(file), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        _export(
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


def _open_axes(module: torch.nn.Module, cell: Cell, dynamo: bool) -> dict[str, Any]:
    """The exporter's argument that leaves sizes open, with a name for each open axis of every
    declared tensor.
    """
    import inspect

    import torch

    named = {
        spec.name: _named_axes(cell, spec) for spec in (*cell.model.inputs, *cell.model.outputs)
    }
    if not dynamo:
        return {"dynamic_axes": {name: axes for name, axes in named.items() if axes}}
    # A batch is the same of all inputs, which a `Dim` says. Of other axes the exporter is to find
    # out: names alone leave that to it.
    size = torch.export.Dim(BATCH) if left_open(cell) == (BATCH,) else None
    axes = tuple(
        dict.fromkeys(named[spec.name], size) if size else named[spec.name]
        for spec in cell.model.inputs
    )
    takes = inspect.signature(module.forward).parameters.values()
    return {
        "dynamic_shapes": (axes,)
        if any(each.kind is each.VAR_POSITIONAL for each in takes)
        else axes
    }


def _named_axes(cell: Cell, spec: TensorSpec) -> dict[int, str]:
    return {
        axis: BATCH if spec.is_batched and axis == 0 else f"{spec.name}_{axis}"
        for axis in open_axes(cell, spec)
    }


def _export(
    module: torch.nn.Module, examples: tuple[Any, ...], cell: Cell, file: Path, optimize: bool
) -> None:
    import torch

    dynamo = exporter_of(cell) == "dynamo"
    how: dict[str, Any] = {"dynamo": True, "optimize": optimize} if dynamo else {"dynamo": False}
    if left_open(cell):
        how |= _open_axes(module, cell, dynamo)
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


def _finish(source: Source, cell: Cell, file: Path) -> dict[str, Any]:
    """Put the metadata into the file; returns what its graph computes in, as facts."""
    import onnx

    model = onnx.load(str(file))
    written = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}["ai.onnx"]
    if (
        cell.option.get("opset", written) != written
    ):  # the exporter goes on where its conversion between opsets gave up
        raise Unsupported(
            f"asked for opset {cell.option['opset']}, exporter {exporter_of(cell)} left the file at {written}"
        )
    if left_open(cell) and not cell.model.file:
        _check_open(model.graph, cell)
    onnx.helper.set_model_props(
        model,
        {**{entry.key: entry.value for entry in model.metadata_props}, **metadata(source, cell)},
    )
    onnx.save(model, str(file))
    facts: dict[str, Any] = {
        "precision": precision.precision_of_graph(model),
        "model": description.recorded(model),
    }
    if cell.precision.startswith("int8"):
        facts["int8_nodes"], facts["compute_nodes"] = precision.int8_share(model)
        facts["calibration_sha256"] = source.calibration_sha256
    return facts


def _check_open(graph: Any, cell: Cell) -> None:
    """Raise Unsupported where the exporter fixed an open size of an input or output all the same."""
    named = {
        value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.output)
    }
    for spec in (*cell.model.inputs, *cell.model.outputs):
        for axis in open_axes(cell, spec):
            size = named[spec.name][axis] if axis < len(named[spec.name]) else None
            if size is None or not size.dim_param:
                what = "the batch" if spec.is_batched and axis == 0 else f"axis {axis}"
                fixed = size.dim_value if size is not None else "nothing"
                asked = f"asked for dynamic={cell.option['dynamic']}"
                raise Unsupported(
                    f"{asked}, and exporter {exporter_of(cell)} fixed {what} of {spec.name} to {fixed}"
                )


def check_left_open(cell: Cell, shapes: Mapping[str, Sequence[int | str | None]]) -> None:
    """Raise Unsupported where the loaded network fixed an open size of an input. `shapes` are the
    inputs' as the runtime tells them, by name; a size that is no number is open."""
    for spec in cell.model.inputs:
        if any(isinstance(shapes[spec.name][axis], int) for axis in open_axes(cell, spec)):
            taken = f"the loaded network takes {spec.name} of {list(shapes[spec.name])} only"
            raise Unsupported(f"asked for dynamic={cell.option['dynamic']}, and {taken}")


class OnnxBackend(Backend):
    """A runtime that reads the shared ONNX file; what is left to write is `load`."""

    distributions = ("onnx", "onnxscript", "torch")
    precisions = precision.PRECISIONS
    options = {**OPTIONS, **precision.OPTIONS}
    portable_artifact = True

    def supports(self, cell: Cell) -> str:
        return (
            super().supports(cell)
            or supports_onnx(cell.model)
            or refuses(cell)
            or precision.refuses(cell)
        )

    def lacks(self, cell: Cell) -> str:
        return super().lacks(cell) or precision.lacks(cell)

    def variables(self, cell: Cell) -> Mapping[str, str]:
        return {**super().variables(cell), **QUIET}

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return key(cell)

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        return export(source, cell, folder)

    def expose(
        self, folder: Path, cell: Cell, into: Path, only: Collection[str] | None, inputs: Arrays
    ) -> Exposed:
        if not (folder / FILE).exists():
            raise Unsupported(
                f"{cell.id} does not run an ONNX file, but {', '.join(sorted(file.name for file in folder.iterdir()))}"
            )
        return Exposed(
            names_of(cell),
            tuple(tensor_capture.expose(folder / FILE, into / FILE, only, _wrappers(cell))),
        )

    def watch(self, folder: Path, cell: Cell, names: Sequence[str]) -> Session:
        # All that the copy hands out, in its order: a runtime may tell outputs by position only.
        return self.load(
            folder,
            tensor_capture.with_outputs(cell, tensor_capture.further_outputs(folder / FILE, cell)),
        )
