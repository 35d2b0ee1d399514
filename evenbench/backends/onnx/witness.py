"""OpenVINO on an ONNX file, as a witness where the judges of the file disagree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness import Attestation, Cell, Session

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

NAME = "OpenVINO in float32"


class WitnessSession(Session):
    """A session on the CPU, in float32, with the outputs in the order of the file."""

    def __init__(self, file: Path, cell: Cell) -> None:
        import onnx
        import openvino as ov

        graph = onnx.load(str(file), load_external_data=False).graph
        self.names = [value.name for value in graph.output]
        constants = {initializer.name for initializer in graph.initializer}
        self.inputs = [value.name for value in graph.input if value.name not in constants]
        self.cell, self.version = cell, ov.__version__
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": cell.threads}
        self.network: Any = ov.Core().compile_model(str(file), "CPU", settings)
        self.feeds: list[Any] = []
        self.result: list[Any] = []

    def bind(self, inputs: Arrays) -> None:
        # By position: OpenVINO may drop or change the names of tensors.
        self.feeds = [inputs[name] for name in self.inputs]

    def step(self) -> None:
        answer = self.network(self.feeds)
        self.result = [answer[index] for index in range(len(self.names))]

    def fetch(self) -> Arrays:
        return dict(zip(self.names, self.result, strict=True))

    def attest(self) -> Attestation:
        return Attestation(
            runtime="openvino",
            version=self.version,
            precision="fp32",
            device="cpu",
            threads=self.network.get_property("INFERENCE_NUM_THREADS"),
            denormals="preserved",
            spinning="runtime default",
        )

    def close(self) -> None:
        self.feeds, self.result, self.network = [], [], None
