"""The backend `mnn`: Alibaba's Mobile Neural Network, converted from the shared ONNX file."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.edge import backend
from evenbench.harness import Attestation, Cell, Session, Unsupported

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

FILE = "model.mnn"

# `MNN.tools.mnnconvert` installs a package by pip and reports each conversion to its vendor. The
# converter itself is the extension module that it wraps.
CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv[1:])"

THREADS = 4
"""The code of the number of threads in `Interpreter.getSessionInfo`."""


class Mnn(backend.ConvertingBackend):
    """MNN on its CPU backend, with `precision: high`; its default lets kernels use fp16."""

    name = "mnn"
    requires = ("MNN", "_tools")
    distributions = ("MNN", *backend.EdgeBackend.distributions)
    converter = "MNN"

    def convert(self, file: Path, cell: Cell, folder: Path) -> Mapping[str, Any]:
        return convert(file, folder / FILE)

    def load(self, folder: Path, cell: Cell) -> Session:
        return MnnSession(folder / FILE, cell)


def convert(file: Path, into: Path) -> dict[str, Any]:
    """Convert an ONNX file in a process of its own. Raises Unsupported with the operators."""
    words = ["mnnconvert", "-f", "ONNX", "--modelFile", str(file), "--MNNModel", str(into)]
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, *words, "--bizCode", "evenbench"],
        capture_output=True,
        text=True,
        check=False,
    )
    text = done.stdout + done.stderr
    unknown = sorted(set(re.findall(r"ONNX::(\w+)", text)))
    if unknown or not into.is_file():
        reason = f"operators {', '.join(unknown)}" if unknown else text.strip()[-300:]
        raise Unsupported(f"MNN's converter does not support this network: {reason}")
    return {"format": "MNN"}


class MnnSession(Session):
    """An interpreter's session; `bind` copies inputs into MNN's layout, `fetch` copies back."""

    def __init__(self, file: Path, cell: Cell) -> None:
        import MNN

        self.cell, self.mnn = cell, MNN
        self.interpreter: Any = MNN.Interpreter(str(file))
        settings = {"backend": "CPU", "numThread": cell.threads, "precision": "high"}
        self.session: Any = self.interpreter.createSession(settings)
        types = {"float32": MNN.Halide_Type_Float, "int32": MNN.Halide_Type_Int}
        types |= {"int64": MNN.Halide_Type_Int64, "uint8": MNN.Halide_Type_Uint8}
        self.types = types
        self.inputs = {spec.name: self._input(spec) for spec in cell.model.inputs}
        self.interpreter.resizeSession(self.session)
        outputs = self.interpreter.getSessionOutputAll(self.session)
        missing = sorted({spec.name for spec in cell.model.outputs} - set(outputs))
        if missing:
            raise Unsupported(f"MNN's network has no output {', '.join(missing)}")
        self.outputs = {spec.name: outputs[spec.name] for spec in cell.model.outputs}

    def _input(self, spec: Any) -> Any:
        if spec.dtype not in self.types:
            raise Unsupported(f"MNN has no input of type {spec.dtype}, as {spec.name} is")
        tensor = self.interpreter.getSessionInput(self.session, spec.name)
        self.interpreter.resizeTensor(tensor, spec.concrete(self.cell.batch))
        return tensor

    def bind(self, inputs: Arrays) -> None:
        for name, array in inputs.items():
            self.inputs[name].copyFrom(self._host(array))

    def _host(self, array: Any) -> Any:
        kind = self.types[str(array.dtype)]
        return self.mnn.Tensor(array.shape, kind, array, self.mnn.Tensor_DimensionType_Caffe)

    def step(self) -> None:
        if self.interpreter.runSession(self.session):  # an error code; MNN raises no error
            raise Unsupported("MNN cannot run this network: it finds no shapes for all layers")

    def fetch(self) -> Arrays:
        import numpy as np

        fetched = {}
        for spec in self.cell.model.outputs:
            array = np.empty(spec.concrete(self.cell.batch), spec.dtype)
            host = self._host(array)
            self.outputs[spec.name].copyToHostTensor(host)
            fetched[spec.name] = np.array(host.getNumpyData()).reshape(array.shape)
        return fetched

    def attest(self) -> Attestation:
        kinds = {tensor.getDataType() for tensor in self.outputs.values()}
        floats = self.mnn.Halide_Type_Float in kinds
        return Attestation(
            runtime="mnn",
            version=self.mnn.version(),
            device="cpu",
            precision="fp32" if floats else "unknown",
            threads=self._threads(),
            denormals=self._denormals(),
            spinning="runtime default",
            details={"precision_mode": "high"},
        )

    def _threads(self) -> int:
        # MNN writes an integer where its Python interface reads a float of the same 32 bits.
        bits = struct.pack("f", self.interpreter.getSessionInfo(self.session, THREADS))
        (threads,) = struct.unpack("i", bits)
        return int(threads)

    def _denormals(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            file, converted = Path(folder, "probe.onnx"), Path(folder, "probe.mnn")
            backend.write_probe(file)
            convert(file, converted)
            return backend.denormals(MnnSession(converted, backend.probe_cell(self.cell)))

    def close(self) -> None:
        self.inputs, self.outputs = {}, {}
        self.session = self.interpreter = None
