"""The backend `tract`: Sonos' runtime in Rust, through its Python interface."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.edge.backend import EdgeBackend
from evenbench.backends.onnx import export
from evenbench.harness import Attestation, Cell, Session, Unsupported

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

DTYPES = {
    "bool": "bool",
    "float16": "f16",
    "float32": "f32",
    "float64": "f64",
    "int32": "i32",
    "int64": "i64",
    "int8": "i8",
    "uint8": "u8",
}
"""tract's names of data types."""

PRECISIONS = {"F16": "fp16", "F32": "fp32"}
"""Precisions by tract's names in the profile's costs."""


class Tract(EdgeBackend):
    """tract, optimised for the declared shapes, on the calling thread."""

    name = "tract"
    requires = ("tract",)
    distributions = ("tract", *EdgeBackend.distributions)
    single_thread = True

    def load(self, folder: Path, cell: Cell) -> Session:
        return TractSession(folder / export.FILE, cell)


class TractSession(Session):
    """A runnable model; `bind` copies the inputs into tract's tensors."""

    def __init__(self, file: Path, cell: Cell) -> None:
        import tract

        self.cell, self.tract = cell, tract
        try:
            model = tract.onnx().load(str(file))
            self.names = [model.input_name(place) for place in range(model.input_count())]
            specs = {spec.name: spec for spec in cell.model.inputs}
            for place, name in enumerate(self.names):
                model.set_input_fact(place, _fact(specs[name], cell.batch))
            self.runnable: Any = model.into_model().into_runnable()
        except tract.TractError as error:
            raise Unsupported(f"tract cannot run this network: {_cause(error)}") from error
        self.inputs: list[Any] = []
        self.result: list[Any] = []

    def bind(self, inputs: Arrays) -> None:
        self.inputs = [self.tract.Tensor.from_numpy(inputs[name]) for name in self.names]

    def step(self) -> None:
        self.result = self.runnable.run(self.inputs)

    def fetch(self) -> Arrays:
        pairs = zip(self.cell.model.outputs, self.result, strict=True)
        return {spec.name: tensor.to_numpy().copy() for spec, tensor in pairs}

    def attest(self) -> Attestation:
        import numpy as np

        nodes = json.loads(self.runnable.profile_json(self.inputs))["nodes"]
        costs = [cost for node in nodes for cost in node.get("cost", {}) if cost.startswith("FMA")]
        executed = Counter(cost.removeprefix("FMA(").removesuffix(")") for cost in costs)
        precisions = {PRECISIONS.get(name, name.lower()) for name in executed} or {"fp32"}
        return Attestation(
            runtime="tract",
            version=self.tract.version(),
            device="cpu",
            precision=",".join(sorted(precisions)),
            threads=1,
            # tract computes in this thread, so this thread's mode is tract's.
            denormals="preserved" if np.float32(1e-39) * np.float32(1.0) else "flushed",
            spinning="no pool",
            placement={f"multiply-adds in {name}": count for name, count in executed.items()},
            details={"operators": Counter(node["op_name"] for node in nodes)},
        )

    def close(self) -> None:
        self.inputs, self.result, self.runnable = [], [], None


def _fact(spec: Any, batch: int) -> str:
    """Return tract's notation of a tensor, such as `1,3,224,224,f32`."""
    if spec.dtype not in DTYPES:
        raise Unsupported(f"tract has no {spec.dtype}, the type of {spec.name}")
    return ",".join([*map(str, spec.concrete(batch)), DTYPES[spec.dtype]])


def _cause(error: Exception) -> str:
    """Return tract's message and causes on a line, without the stack."""
    text = str(error).partition("Stack backtrace:")[0]
    return " ".join(text.split())[:300] or type(error).__name__
