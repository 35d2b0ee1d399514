"""The backend `openvino`: explicit properties, since the defaults are bf16 and pinned threads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx import conversion as onnx_conversion
from evenbench.backends.onnx import dynamic_axes, export, file_precision
from evenbench.backends.onnx.backend import OnnxBackend
from evenbench.backends.onnx.file_inputs import feeds
from evenbench.backends.openvino import (
    conversion,
    operator_profile,
    properties,
    session,
    tensor_capture,
)
from evenbench.backends.torch import outputs
from evenbench.harness import Cell, Session, Source, Unsupported
from evenbench.harness.core.backend import Deployment
from evenbench.harness.core.intermediate_tensors import Exposed
from evenbench.harness.core.measurements import OperatorProfile
from evenbench.harness.inputs import batches

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays, Now


IR_FILE = "model.xml"
"""An artifact in OpenVINO's IR format, written by NNCF or by the PyTorch frontend."""


class OpenVino(OnnxBackend):
    """OpenVINO, from the ONNX file shared by all backends, or from a model quantised by NNCF."""

    name = "openvino"
    open_outputs = True
    takes_values = (feeds.TENSORS,)
    devices = ("cpu", "gpu", "npu", "auto")
    file_precisions = file_precision.FILE_PRECISIONS
    requires = ("openvino",)
    distributions = ("openvino", *OnnxBackend.distributions)
    options = {
        **OnnxBackend.options,
        **dynamic_axes.DYNAMIC,
        "precision_hint": (
            "'asked' (default) sets the cell's precision; 'runtime' keeps the plugin's "
            "default, often bf16"
        ),
        "hint": (
            "'latency' (default) or 'throughput': several requests in flight, never compared "
            "with latency"
        ),
        "streams": "number of concurrent inferences (default 1), or 'auto' (default of throughput)",
        "requests": "with hint='throughput', the number of requests in flight, or 'auto' (default)",
        "quantizer": (
            "'onnxruntime' (default) reads the shared int8 file; 'nncf' quantises with "
            "OpenVINO's NNCF"
        ),
        "frontend": (
            "'onnx' (default) reads the shared ONNX file; 'pytorch' converts the traced module "
            "directly, at fp32"
        ),
    }

    def supports(self, cell: Cell) -> str:
        return (
            super().supports(cell)
            or _refuses_options(cell.option, cell.precision)
            or conversion.refuses(cell)
        )

    def lacks(self, cell: Cell) -> str:
        if cell.option.get("quantizer") != "nncf":
            return super().lacks(cell)
        missing = not cell.interpreter_name and onnx_conversion.absent("nncf")
        return (
            "quantizer=nncf needs nncf, which is not installed; pip install 'evenbench[nncf]'"
            if missing
            else ""
        )

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        if conversion.uses_pytorch_frontend(cell):
            return conversion.artifact_key()
        if cell.option.get("quantizer") != "nncf":
            return super().artifact_key(cell)
        versions = {name: batches.version_of(name) for name in ("nncf", "openvino")}
        return {
            **export.key(export.at_fp32(cell)),
            **versions,
            "quantizer": "nncf",
            "settings": NNCF[cell.precision],
        }

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        if conversion.uses_pytorch_frontend(cell):
            return conversion.convert(source, cell, folder / IR_FILE)
        if cell.option.get("quantizer") != "nncf":
            return super().prepare(source, cell, folder)
        facts = super().prepare(source, export.at_fp32(cell), folder)
        conversion.quantise(
            folder / export.FILE, folder / IR_FILE, cell.precision, source.calibration
        )
        settings = {"format": "OpenVINO IR", "quantizer": "nncf", "settings": NNCF[cell.precision]}
        return {
            **facts,
            **settings,
            "precision": cell.precision,
            "calibration_sha256": source.calibration_sha256,
        }

    def deployment(self, cell: Cell) -> Deployment:
        if (
            cell.option.get("hint") == "throughput"
            or cell.option.get("precision_hint", "asked") != "asked"
            or "dynamic" in cell.option
        ):
            raise Unsupported(
                "programs don't support hint=throughput, dynamic, or "
                "precision_hint=runtime; package a cell without these options"
            )
        shapes = {spec.name: list(spec.concrete(cell.batch)) for spec in cell.model.inputs}
        settings = {
            "files": [IR_FILE, export.FILE],
            "shapes": shapes,
            "properties": properties.requested_properties(cell),
            "hint": properties.precision_hint_of(cell.precision),
        }
        return Deployment(
            ("openvino",), "evenbench.backends.openvino.deployed_network:Network", settings
        )

    def expose(
        self, folder: Path, cell: Cell, into: Path, only: Collection[str] | None, inputs: Arrays
    ) -> Exposed:
        if not conversion.uses_pytorch_frontend(cell):
            return super().expose(folder, cell, into, only, inputs)
        declared = [spec.name for spec in cell.model.outputs]
        within = tensor_capture.expose(
            folder / IR_FILE, into / IR_FILE, only, declared, outputs.wrappers(cell.model)
        )
        return Exposed("names of operators by OpenVINO's PyTorch frontend", tuple(within))

    def watch(self, folder: Path, cell: Cell, names: Sequence[str]) -> Session:
        if not conversion.uses_pytorch_frontend(cell):
            return super().watch(folder, cell, names)
        return tensor_capture.WatchedSession(self.load(folder, cell), names)

    def load(self, folder: Path, cell: Cell) -> Session:
        kind = (
            session.ThroughputSession
            if cell.option.get("hint") == "throughput"
            else session.OpenVinoSession
        )
        return kind(_file(folder), cell)

    def profile(self, folder: Path, cell: Cell, inputs: Arrays, now: Now) -> OperatorProfile:
        with closing(session.OpenVinoSession(_file(folder), cell, {"PERF_COUNT": True})) as loaded:
            loaded.bind(inputs)
            return operator_profile.profile(loaded, now)


def _file(folder: Path) -> Path:
    """The model's file in an artifact."""
    ir = folder / IR_FILE
    return ir if ir.exists() else folder / export.FILE


CHOICES = {
    "precision_hint": ("asked", "runtime"),
    "hint": ("latency", "throughput"),
    "quantizer": ("onnxruntime", "nncf"),
    "frontend": ("onnx", "pytorch"),
}

NNCF = {
    "int8-static": {
        "preset": "performance",
        "bias_correction": "fast",
        "batches": "all of the calibration's",
    },
    "int8-dynamic": {
        "weights": "s8 symmetric, per channel",
        "activations": f"groups of {properties.GROUP_SIZE} as they run",
        "convolutions": "fp32",
    },
}
"""NNCF's settings per precision: the defaults except for the number of samples."""


def _refuses_options(option: Mapping[str, Any], precision: str) -> str:
    """Explain the first invalid option value, or return an empty string."""
    for name, allowed in CHOICES.items():
        if option.get(name, allowed[0]) not in allowed:
            return f"{name} is {' or '.join(map(repr, allowed))}, not {option[name]!r}"
    for name in ("streams", "requests"):
        value = option.get(name, "auto")
        # A single request in flight would measure latency.
        least = 2 if name == "requests" else 1
        if value != "auto" and not (isinstance(value, int) and value >= least):
            return f"{name} is 'auto' or a number of {least} or more, not {value!r}"
    if "requests" in option and option.get("hint") != "throughput":
        return "requests needs hint='throughput'"
    if option.get("quantizer") == "nncf" and precision not in NNCF:
        return f"quantizer=nncf supports {' and '.join(NNCF)}, not {precision}"
    return ""
