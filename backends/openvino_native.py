"""OpenVINO's Python API: latency hint, one stream, and fp32 said aloud, because its default on newer CPUs is bf16."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends import onnx_artifact
from harness import Attestation, Cell, Session

if TYPE_CHECKING:
    from harness.backend import Arrays

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
PRECISION_OF = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "f64": "fp64"}


class OpenVinoSession(Session):
    """One infer request, reused. Inputs are copied into its tensors, as `infer(inputs)` does by default; `fetch` copies out."""

    def __init__(self, file: Path, cell: Cell) -> None:
        import openvino as ov

        self.cell = cell
        self.runtime = ov
        core = ov.Core()
        model = core.read_model(str(file))
        if model.is_dynamic():  # a user's own file may leave the batch open; the cell says what it is
            model.reshape({spec.name: list(spec.concrete(cell.batch)) for spec in cell.model.inputs})
        self.compiled: Any = core.compile_model(model, cell.device.upper(), _properties(cell))
        self.request: Any = self.compiled.create_infer_request()

    def bind(self, inputs: Arrays) -> None:
        for name, array in inputs.items():
            self.request.get_tensor(name).data[:] = array

    def step(self) -> None:
        self.request.infer(share_outputs=True)

    def fetch(self) -> Arrays:
        # By position: a graph may give one tensor two names, of which OpenVINO tells any.
        pairs = zip(self.cell.model.outputs, self.compiled.outputs, strict=True)
        return {spec.name: self.request.get_tensor(output).data.copy() for spec, output in pairs}

    def attest(self) -> Attestation:
        read = self.compiled.get_property
        precision = read("INFERENCE_PRECISION_HINT").to_string()
        executed = self._executed()
        return Attestation(
            runtime="openvino",
            version=self.runtime.get_version(),
            device=",".join(read("EXECUTION_DEVICES")).lower(),
            precision=PRECISION_OF.get(precision, precision),
            threads=int(read("INFERENCE_NUM_THREADS")),
            denormals="flushed" if read("CPU_DENORMALS_OPTIMIZATION") else "preserved",
            spinning="runtime default",  # oneTBB spins briefly, then sleeps; there is no switch to set or read
            providers=tuple(read("EXECUTION_DEVICES")),
            placement=executed,
            details={
                "performance_hint": str(read("PERFORMANCE_HINT")).rpartition(".")[2],
                "num_streams": int(read("NUM_STREAMS")),
                "execution_mode": str(read("EXECUTION_MODE_HINT")).rpartition(".")[2],
                "cpu_pinning": bool(read("ENABLE_CPU_PINNING")),
            },
        )

    def _executed(self) -> dict[str, int]:
        """Nodes of the executed graph by the precision that each ran in."""
        nodes = self.compiled.get_runtime_model().get_ordered_ops()
        return dict(Counter(str(node.rt_info["runtimePrecision"].value) for node in nodes if "runtimePrecision" in node.rt_info))

    def close(self) -> None:
        self.request = None
        self.compiled = None


def _properties(cell: Cell) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": cell.threads,
        "CPU_DENORMALS_OPTIMIZATION": False,
        "ENABLE_CPU_PINNING": False,  # no other runtime here binds its threads to cores
    }
    if cell.option.get("precision_hint", "asked") == "asked":
        properties["INFERENCE_PRECISION_HINT"] = HINTS[cell.precision]
    return properties


class OpenVino(onnx_artifact.OnnxBackend):
    """Reads the same ONNX file as every other ONNX backend."""

    name = "openvino"
    requires = ("openvino",)
    distributions = ("openvino", *onnx_artifact.OnnxBackend.distributions)
    options = {"precision_hint": "'asked' (default) sets the cell's precision; 'runtime' leaves the plugin's own default, often bf16"}

    def supports(self, cell: Cell) -> str:
        hint = cell.option.get("precision_hint", "asked")
        return super().supports(cell) or ("" if hint in ("asked", "runtime") else f"precision_hint is 'asked' or 'runtime', not {hint!r}")

    def load(self, folder: Path, cell: Cell) -> Session:
        return OpenVinoSession(folder / onnx_artifact.FILE, cell)
