"""The backend `ncnn`: Tencent's runtime for phones, converted by pnnx from the shared ONNX file."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.edge.backend import ConvertingBackend
from evenbench.harness import Attestation, Cell, Session, Unsupported

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

PARAM, WEIGHTS = "model.ncnn.param", "model.ncnn.bin"

DTYPES = {"float32": "f32", "int32": "i32", "int64": "i64"}
"""pnnx's names of input types."""

REDUCED = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
    "use_int8_inference",
)
"""Options that reduce precision. ncnn switches the fp16 options on by default."""

PROBE = """7767517
2 2
Input x 0 1 x
BinaryOp y 1 1 x y 0=2 1=1 2=1.25
"""
"""A network that multiplies by 1.25, in ncnn's text format."""


class Ncnn(ConvertingBackend):
    """ncnn at fp32. A network has no batch axis, so a batch is computed sample by sample."""

    name = "ncnn"
    requires = ("ncnn", "pnnx")
    distributions = ("ncnn", "pnnx", *ConvertingBackend.distributions)
    converter = "pnnx"

    def convert(self, file: Path, cell: Cell, folder: Path) -> Mapping[str, Any]:
        unknown = [spec.name for spec in cell.model.inputs if spec.dtype not in DTYPES]
        if unknown:
            raise Unsupported(f"pnnx has no type for the input {', '.join(unknown)}")
        shapes = ",".join(
            f"[{','.join(map(str, spec.concrete(cell.batch)))}]{DTYPES[spec.dtype]}"
            for spec in cell.model.inputs
        )
        done = subprocess.run(
            [_program(), str(file), "fp16=0", f"inputshape={shapes}"],
            cwd=file.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        converted = file.with_name(PARAM)
        if not converted.is_file():
            raise Unsupported(f"pnnx cannot convert this network: {done.stderr.strip()[-300:]}")
        for name in (PARAM, WEIGHTS):
            (folder / name).write_bytes(file.with_name(name).read_bytes())
        return {"format": "ncnn"}

    def load(self, folder: Path, cell: Cell) -> Session:
        return NcnnSession(folder, cell)


def _program() -> str:
    """The path of pnnx's program. Importing its Python package would import torch."""
    spec = importlib.util.find_spec("pnnx")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).with_name("pnnx"))


class NcnnSession(Session):
    """A network; each step makes an extractor per sample, as ncnn's users do."""

    def __init__(self, folder: Path, cell: Cell) -> None:
        import ncnn

        self.cell, self.ncnn = cell, ncnn
        self.net = _network(ncnn, cell.threads)
        text = (folder / PARAM).read_text()
        if self.net.load_param_mem(text) or self.net.load_model(str(folder / WEIGHTS)):
            raise Unsupported(f"ncnn has no layer {', '.join(_unknown(ncnn, text))}")
        self.inputs: list[dict[str, Any]] = []
        self.outputs: list[list[Any]] = []

    def bind(self, inputs: Arrays) -> None:
        names = [f"in{place}" for place in range(len(self.cell.model.inputs))]
        arrays = [inputs[spec.name] for spec in self.cell.model.inputs]
        self.inputs = [
            {name: self._mat(array[sample]) for name, array in zip(names, arrays, strict=True)}
            for sample in range(self.cell.batch)
        ]

    def _mat(self, array: Any) -> Any:
        import numpy as np

        integers = array.dtype.kind in "iu"  # ncnn's layers read 32-bit integers
        return self.ncnn.Mat(
            np.ascontiguousarray(array, np.int32 if integers else np.float32)
        ).clone()

    def step(self) -> None:
        names = [f"out{place}" for place in range(len(self.cell.model.outputs))]
        self.outputs = []
        for sample in self.inputs:
            extractor = self.net.create_extractor()
            for name, mat in sample.items():
                extractor.input(name, mat)
            self.outputs.append([extractor.extract(name)[1] for name in names])

    def fetch(self) -> Arrays:
        import numpy as np

        samples = zip(*self.outputs, strict=True)
        return {
            spec.name: np.stack([np.array(mat) for mat in mats])
            .astype(spec.dtype)
            .reshape(spec.concrete(self.cell.batch))
            for spec, mats in zip(self.cell.model.outputs, samples, strict=True)
        }

    def attest(self) -> Attestation:
        reduced = [name for name in REDUCED if getattr(self.net.opt, name)]
        batch = ("one sample at a time",) if self.cell.batch > 1 else ()
        return Attestation(
            runtime="ncnn",
            version=self.ncnn.__version__,
            device="cpu",
            precision=", ".join(reduced) or "fp32",
            threads=self.net.opt.num_threads,
            denormals=self._denormals(),
            spinning=f"{self.net.opt.openmp_blocktime} ms",
            placement=dict(Counter(layer.type for layer in self.net.layers())),
            labels=batch,
            details={
                name: getattr(self.net.opt, name)
                for name in dir(self.net.opt)
                if name.startswith("use_")
            },
        )

    def _denormals(self) -> str:
        """Multiply denormals: ncnn flushes by default, and Python cannot set its option."""
        import numpy as np

        net = _network(self.ncnn, self.cell.threads)
        net.load_param_mem(PROBE)
        extractor = net.create_extractor()
        extractor.input("x", self.ncnn.Mat(np.full(64, 1e-39, np.float32)).clone())
        return "preserved" if np.array(extractor.extract("y")[1]).all() else "flushed"

    def close(self) -> None:
        self.inputs, self.outputs, self.net = [], [], None


def _network(ncnn: Any, threads: int) -> Any:
    """An empty network with the options of every cell."""
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for name in REDUCED:
        setattr(net.opt, name, False)
    return net


def _unknown(ncnn: Any, text: str) -> list[str]:
    """The layer types of a network's text that this ncnn does not have.

    pnnx copies operators without a counterpart under their PyTorch or ONNX names.
    """
    types = {line.split()[0] for line in text.splitlines()[2:] if line.strip()}
    return sorted(name for name in types if not re.fullmatch(r"[A-Z]\w*", name)) or sorted(types)
