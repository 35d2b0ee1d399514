"""ONNX Runtime with the OpenVINO provider, in the environment of the wheel that has it, which cannot share this one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from backends import onnx_artifact, ort
from harness import Attestation, Cell, Session

PROVIDER = "OpenVINOExecutionProvider"

HINTS = {"fp32": "f32"}


def properties(cell: Cell) -> dict[str, object]:
    """What the provider's CPU plugin is told: as the backend `openvino` tells it, since its defaults are the same traps."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(cell.threads),
        "INFERENCE_PRECISION_HINT": HINTS[cell.precision],
        "CPU_DENORMALS_OPTIMIZATION": "NO",
        "ENABLE_CPU_PINNING": "NO",
    }


class OpenVinoProviderSession(ort.OrtSession):
    """As `ort`, with the graph handed to OpenVINO."""

    def __init__(self, file: Path, cell: Cell) -> None:
        import onnxruntime

        self.cell = cell
        self.runtime = onnxruntime
        self.told = properties(cell)
        chosen = (PROVIDER, {"device_type": "CPU", "load_config": json.dumps({"CPU": self.told})})
        options = ort._options(onnxruntime, cell)
        self.session = onnxruntime.InferenceSession(str(file), options, providers=[chosen], enable_fallback=0)
        self.session.disable_fallback()
        self._check_providers(PROVIDER)
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.feeds = {}
        self.result = []

    def attest(self) -> Attestation:
        """Placement and version are read back. The provider gives none of its properties back, but refuses one that it does not know."""
        found = super().attest()
        placed = found.placement.get(PROVIDER, 0)
        return replace(
            found,
            device="cpu" if placed else f"cpu, with no node on {PROVIDER}",
            spinning="runtime default",  # oneTBB's workers; there is no switch to set or read
            labels=() if placed == sum(found.placement.values()) else ("partly on the CPU provider",),
            details={**found.details, "accepted_properties": self.told},
        )


class OrtOpenVino(onnx_artifact.OnnxBackend):
    """`ort` with the OpenVINO provider on the CPU."""

    name = "ort-openvino"
    requires = ("onnxruntime",)
    distributions = ("onnxruntime-openvino", *onnx_artifact.OnnxBackend.distributions)
    environments = {"openvino": ("onnxruntime-openvino",)}
    precisions = ("fp32",)

    def load(self, folder: Path, cell: Cell) -> Session:
        return OpenVinoProviderSession(folder / onnx_artifact.FILE, cell)
