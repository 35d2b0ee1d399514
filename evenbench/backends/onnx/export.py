"""The ONNX file shared by all ONNX backends: exported from the module, or the user's own file.

`conversion` converts the file for lower precisions. The metadata of the file record the origin.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from evenbench.backends.onnx import conversion, description, dynamic_axes, exporters, precision
from evenbench.backends.torch import model as torch_model
from evenbench.harness import BATCH, Cell, Model, Source, Unsupported
from evenbench.harness.inputs import batches as inputs

FILE = "model.onnx"


METADATA = "evenbench."
"""The prefix of evenbench's entries in `metadata_props`."""


OWN = "none, the user's own file"


def supports_onnx(model: Model) -> str:
    """The reason why the model has no ONNX file, or an empty string."""
    complex_tensors = [
        spec.name for spec in (*model.inputs, *model.outputs) if spec.dtype.startswith("complex")
    ]
    if complex_tensors and model.build:
        return (
            f"PyTorch's exporters write complex tensors ({', '.join(complex_tensors)}) as pairs of "
            "real numbers; return torch.view_as_real(...) in their place"
        )
    return (
        ""
        if model.build or model.file.endswith(".onnx")
        else f"{Path(model.file).name} is no .onnx file"
    )


def at_fp32(cell: Cell) -> Cell:
    """The cell with the unconverted file, the starting point of other quantisers."""
    return replace(cell, precision="fp32")


def key(cell: Cell) -> Mapping[str, Any]:
    """The cache key of the file beside weights, shapes and precision, equal for all backends."""
    settings = conversion.key(cell)
    converted = {"conversion": settings} if settings else {}
    if cell.model.file:
        return {"format": "onnx", "exporter": OWN, **converted}
    versions = {name: inputs.version_of(name) for name in ("onnx", "onnxscript")}
    exporter = exporters.exporter_of(cell)
    exported = {
        "format": "onnx",
        "exporter": f"torch.onnx {exporter}",
        "opset": exporters.opset_of(cell),
        "optimize": exporter == "dynamo",
    }
    if dynamic_axes.left_open(cell) == (BATCH,):
        exported["dynamic"] = BATCH
    elif dynamic_axes.left_open(cell):
        exported["dynamic"] = {
            spec.name: dynamic_axes.open_axes(cell, spec)
            for spec in (*cell.model.inputs, *cell.model.outputs)
        }
    return {
        **exported,
        **torch_model.versions(),
        **versions,
        **converted,
        "metadata": _declared(cell.model),
    }


def names_of(cell: Cell) -> str:
    """The origin of the tensor names in a cell's file.

    Equal origins mean that equal names denote equal tensors. Conversions to other precisions keep
    the names of the exporter.
    """
    if cell.model.file:
        return "names of tensors in ONNX files of one's own"
    left = (
        f", {' and '.join(dynamic_axes.left_open(cell))} open"
        if dynamic_axes.left_open(cell)
        else ""
    )
    exporter, opset = exporters.exporter_of(cell), exporters.opset_of(cell)
    return f"names of ONNX tensors by {exporter}, opset {opset}{left}"


def _declared(model: Model) -> dict[str, str]:
    """The metadata from the model's declaration: name, preprocessing and class labels."""
    declared = {"model": model.name}
    if model.recipe:
        steps = [{"step": type(step).__name__, **asdict(step)} for step in model.recipe.steps]
        declared["recipe"] = json.dumps({"name": model.recipe.name, "steps": steps}, sort_keys=True)
    if model.labels:
        declared["labels"] = json.dumps(model.labels)
    return declared


def metadata(source: Source, cell: Cell) -> dict[str, str]:
    """The metadata of a file by name, for use without evenbench and for tracing the origin.

    `recipe` holds the preprocessing, with the steps in order, as JSON; `labels` a JSON list;
    `conversion` the settings of a conversion, if any, as JSON.
    """
    origin = key(cell)
    exporter, conversion_key = str(origin["exporter"]), origin.get("conversion")
    entries = {
        **_declared(source.model),
        "precision": cell.precision,
        "weights_sha256": source.weights_sha256,
        "calibration_sha256": source.calibration_sha256,
        "exporter": f"{exporter} {origin['torch']}" if "torch" in origin else exporter,
        "opset": str(origin.get("opset", "")),
        "dynamic": ",".join(dynamic_axes.left_open(cell)) if "dynamic" in origin else "",
        "conversion": json.dumps(conversion_key, sort_keys=True) if conversion_key else "",
    }
    return {METADATA + name: value for name, value in entries.items() if value}


def export(source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """Write `model.onnx` with the declared names and the cell's precision; return facts.

    Sizes are fixed, or open by the option `dynamic`. At its own precision, a user's file is copied
    byte for byte. Raises Unsupported if the graph does not support the precision.
    """
    file = folder / FILE
    if cell.model.file:
        shutil.copyfile(source.weights_folder / FILE, file)
        if cell.precision == "fp32" or cell.stored_precisions:
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
    """Add the metadata to the file; return facts such as the precision of the graph."""
    import onnx

    model = onnx.load(str(file))
    written = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}["ai.onnx"]
    # The exporter only warns if the conversion to the requested opset fails.
    if cell.option.get("opset", written) != written:
        raise Unsupported(
            f"requested opset {cell.option['opset']}, "
            f"but exporter {exporters.exporter_of(cell)} wrote opset {written}"
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
