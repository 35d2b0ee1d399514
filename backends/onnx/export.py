"""One ONNX file for every backend that takes ONNX: exported once from the module, or the user's own
file as it is.

At a lower precision the file is converted (`onnx_precision`), and says in its metadata what it was
made from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from backends.onnx import conversion, description, dynamic_axes, exporters, precision
from backends.torch import model as torch_model
from harness import BATCH, Cell, Model, Source, Unsupported
from harness.inputs import batches as inputs

FILE = "model.onnx"


METADATA = "evenbench."
"""What the names of our entries in `metadata_props` begin with."""


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


def key(cell: Cell) -> Mapping[str, Any]:
    """What decides the file besides weights, shapes and precision; equal for all backends that read
    it.
    """
    settings = conversion.key(cell)
    how = {"conversion": settings} if settings else {}
    if cell.model.file:
        return {"format": "onnx", "exporter": OWN, **how}
    versions = {name: inputs.version_of(name) for name in ("onnx", "onnxscript")}
    exporter = exporters.exporter_of(cell)
    made = {
        "format": "onnx",
        "exporter": f"torch.onnx {exporter}",
        "opset": exporters.opset_of(cell),
        "optimize": exporter == "dynamo",
    }
    if dynamic_axes.left_open(cell) == (BATCH,):
        made["dynamic"] = BATCH
    elif dynamic_axes.left_open(cell):
        made["dynamic"] = {
            spec.name: dynamic_axes.open_axes(cell, spec)
            for spec in (*cell.model.inputs, *cell.model.outputs)
        }
    return {**made, **torch_model.versions(), **versions, **how, "metadata": _declared(cell.model)}


def names_of(cell: Cell) -> str:
    """What the names of tensors in a cell's file mean, in words: equal for files whose equal names
    stand for the same tensor.

    What converts a file to another precision keeps the names that the exporter gave.
    """
    if cell.model.file:
        return "names of tensors in ONNX files of one's own"
    left = (
        f", {' and '.join(dynamic_axes.left_open(cell))} open"
        if dynamic_axes.left_open(cell)
        else ""
    )
    return f"names of ONNX tensors by {exporters.exporter_of(cell)}, opset {exporters.opset_of(cell)}{left}"


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
        "dynamic": ",".join(dynamic_axes.left_open(cell)) if "dynamic" in how else "",
        "conversion": json.dumps(how["conversion"], sort_keys=True) if "conversion" in how else "",
    }
    return {METADATA + name: value for name, value in entries.items() if value}


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
        exporters.export_module(source, cell, file)
    conversion.convert(file, cell, source.calibration)
    return {
        "format": "ONNX",
        **{name: value for name, value in key(cell).items() if name != "metadata"},
        **_finish(source, cell, file),
    }


def _finish(source: Source, cell: Cell, file: Path) -> dict[str, Any]:
    """Put the metadata into the file; returns what its graph computes in, as facts."""
    import onnx

    model = onnx.load(str(file))
    written = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}["ai.onnx"]
    if (
        cell.option.get("opset", written) != written
    ):  # the exporter goes on where its conversion between opsets gave up
        raise Unsupported(
            f"asked for opset {cell.option['opset']}, exporter {exporters.exporter_of(cell)} left the file at {written}"
        )
    if dynamic_axes.left_open(cell) and not cell.model.file:
        dynamic_axes.check_exported(model.graph, cell, exporters.exporter_of(cell))
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
