"""The base class of edge backends: the shared ONNX file, read as it is or converted."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from evenbench.backends.onnx import export, exporters
from evenbench.backends.onnx.backend import OnnxBackend
from evenbench.harness import Cell, Model, Session, Source, TensorSpec
from evenbench.harness.inputs import batches


class EdgeBackend(OnnxBackend):
    """A runtime that reads the shared ONNX file at fp32; its artifact is then ONNX Runtime's."""

    precisions = ("fp32",)
    options: ClassVar[Mapping[str, str]] = {**exporters.OPTIONS}
    single_thread: ClassVar[bool] = False
    """True for a runtime whose Python interface computes in the calling thread."""

    def supports(self, cell: Cell) -> str:
        threads = (
            f"{self.name} computes in one thread, not {cell.threads}; set threads=(1,) in the case"
            if self.single_thread and cell.threads != 1
            else ""
        )
        return super().supports(cell) or threads


class ConvertingBackend(EdgeBackend):
    """A runtime with a file format of its own, converted from the shared ONNX file."""

    converter: ClassVar[str]
    """The distribution with the converter. Its version is in the artifact's key."""

    portable_artifact = False

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        converter = {self.converter: batches.version_of(self.converter)}
        return {**super().artifact_key(cell), **converter}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        with tempfile.TemporaryDirectory() as exported:
            facts = super().prepare(source, cell, Path(exported))
            converted = self.convert(Path(exported) / export.FILE, cell, folder)
        return {**facts, **converted}

    @abstractmethod
    def convert(self, file: Path, cell: Cell, folder: Path) -> Mapping[str, Any]:
        """Convert an ONNX file into `folder`; return facts for the record.

        Raises Unsupported, with the operators' names, for a network the converter refuses.
        """


def probe_cell(cell: Cell) -> Cell:
    """The cell of a network that multiplies 64 numbers by about 1: see `denormals`."""
    x, y = TensorSpec("x", (1, 64)), TensorSpec("y", (1, 64))
    model = Model("denormals", f"{__name__}:write_probe", inputs=(x,), outputs=(y,))
    return replace(cell, model=model, batch=1)


def write_probe(file: Path) -> None:
    """Write the network of `probe_cell` as ONNX."""
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy")
    factor = helper.make_tensor("factor", TensorProto.FLOAT, [1], [1.25])
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    graph = helper.make_graph([node], "denormals", [x], [y], [factor])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), file)


def denormals(session: Session) -> str:
    """What a session on the network of `probe_cell` does with denormal numbers."""
    import numpy as np

    session.bind({"x": np.full((1, 64), 1e-39, np.float32)})
    session.step()
    kept = session.fetch()["y"].all()
    session.close()
    return "preserved" if kept else "flushed"
