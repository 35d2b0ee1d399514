"""One ONNX file for every backend that takes ONNX: exported once from the module, or the user's own file as it is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends import torch_model
from harness import Backend, Cell, Model, Source, inputs

FILE = "model.onnx"
OPSET = 20


def supports_onnx(model: Model) -> str:
    """An empty string, or why no ONNX file can be had of this model."""
    return "" if model.build or model.file.endswith(".onnx") else f"{Path(model.file).name} is no .onnx file"


def key(cell: Cell) -> Mapping[str, Any]:
    """What decides the file besides weights, shapes and precision; equal for all backends that read it."""
    if cell.model.file:
        return {"format": "onnx", "exporter": "none, the user's own file"}
    versions = {name: inputs.version_of(name) for name in ("onnx", "onnxscript")}
    return {"format": "onnx", "exporter": "torch.onnx dynamo", "opset": OPSET, "optimize": True, **torch_model.versions(), **versions}


def export(source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """Write `model.onnx` with the declared names and the cell's static shapes; returns how it was made."""
    if cell.model.file:
        shutil.copyfile(source.weights_folder / FILE, folder / FILE)
        return {"format": "ONNX", "exporter": "none, the user's own file"}
    import numpy as np
    import torch

    module = torch_model.in_declared_order(torch_model.load(source.weights_folder, cell), cell.model)
    examples = tuple(torch.from_numpy(np.load(source.batches[spec.name])[0]) for spec in cell.model.inputs)
    with torch.no_grad():
        torch.onnx.export(
            module,
            examples,
            folder / FILE,
            input_names=[spec.name for spec in cell.model.inputs],
            output_names=[spec.name for spec in cell.model.outputs],
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            external_data=False,
        )
    return {"format": "ONNX", **key(cell)}


class OnnxBackend(Backend):
    """A runtime that reads the shared ONNX file; what is left to write is `load`."""

    distributions = ("onnx", "onnxscript", "torch")
    portable_artifact = True

    def supports(self, cell: Cell) -> str:
        return super().supports(cell) or supports_onnx(cell.model)

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return key(cell)

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        return export(source, cell, folder)
