"""The backend `cpp-openvino`: OpenVINO's C++ API in a program.

Reads the artifact of `openvino` with the same settings, so that only the binding differs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from evenbench.backends.cpp import backend as cpp_backend
from evenbench.backends.cpp import frames, toolchain
from evenbench.backends.onnx import export
from evenbench.backends.openvino import backend, conversion, executed_graph, properties
from evenbench.harness import Attestation, Cell, Session, Unsupported
from evenbench.harness.core.backend import Deployment
from evenbench.harness.core.intermediate_tensors import Exposed

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


READ_BACK = (
    *properties.READ_BACK,
    "INFERENCE_NUM_THREADS",
    "CPU_DENORMALS_OPTIMIZATION",
    "EXECUTION_DEVICES",
)
"""Properties read back from the compiled model, if this release has them."""


TRUE = ("YES", "TRUE", "1")


def openvino_options(cell: Cell) -> dict[str, object]:
    """Return the options of the C++ code, with the properties of the backend `openvino`."""
    prefixed = {
        f"property {name}": _option_text(value)
        for name, value in properties.requested_properties(cell).items()
    }
    shapes = {
        f"shape {spec.name}": ",".join(map(str, spec.concrete(cell.batch)))
        for spec in cell.model.inputs
    }
    options: dict[str, object] = {
        "device": cell.device.upper(),
        "read": ",".join(READ_BACK),
        **prefixed,
        **shapes,
    }
    if cell.option.get("precision_hint", "asked") == "asked":
        options["hint_needs"], options["hint"] = properties.precision_hint_of(cell.precision)
    return options


class OpenVinoProgram(frames.FrameSession):
    """OpenVINO in a C++ program."""

    def __init__(self, file: Path, cell: Cell) -> None:
        super().__init__("openvino", {"model": file, **openvino_options(cell)}, cell)

    def attest(self) -> Attestation:
        facts = self.facts()
        read = {
            name.removeprefix("property "): value.strip()
            for name, value in facts.items()
            if name.startswith("property ")
        }
        executed = _count_layers(facts)
        counts = executed_graph.compute_nodes(executed)
        dynamic = int(read.get("DYNAMIC_QUANTIZATION_GROUP_SIZE", "0")) > 0
        hint, stored = read["INFERENCE_PRECISION_HINT"], facts.get("stored", "")
        precision, emulated = executed_graph.executed_precision(
            self.cell.precision, hint, counts, stored, dynamic, self.cell.stored_precisions
        )
        # oneTBB has no switch to set or read.
        return Attestation(
            runtime="openvino",
            version=facts["version"],
            device=read["EXECUTION_DEVICES"].lower(),
            precision=precision,
            threads=int(read["INFERENCE_NUM_THREADS"]),
            denormals="flushed"
            if read["CPU_DENORMALS_OPTIMIZATION"].upper() in TRUE
            else "preserved",
            spinning="runtime default",
            providers=(read["EXECUTION_DEVICES"],),
            placement=executed_graph.nodes_by_precision(executed),
            emulated=emulated,
            labels=executed_graph.precision_labels(self.cell, counts),
            details={
                **{name.lower(): value for name, value in read.items()},
                "compute_nodes": dict(counts),
                "stored_weights": stored,
            },
        )


def _option_text(value: object) -> str:
    """Return a property as text for OpenVINO."""
    return {True: "YES", False: "NO"}[value] if isinstance(value, bool) else str(value)


def _count_layers(facts: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """Parse facts `executed <layer type> <precision>` into node counts."""
    counts = {}
    for name, value in facts.items():
        if name.startswith("executed "):
            layer, precision = name.removeprefix("executed ").rsplit(" ", 1)
            counts[layer, precision] = int(value)
    return counts


class CppOpenVino(cpp_backend.NativeBackend, backend.OpenVino):
    """A C++ program on OpenVINO, built against the Python wheel: a single request, for latency."""

    name = "cpp-openvino"
    runtime = "openvino"
    takes_values = ()
    environments = {"": ("openvino", *toolchain.BUILD_TOOLS)}
    options = {
        name: words
        for name, words in backend.OpenVino.options.items()
        if name not in ("hint", "requests", "dynamic")
    }

    def deployment(self, cell: Cell) -> Deployment:
        files = super().deployment(cell).settings["files"]
        return cpp_backend.program_deployment(
            self.runtime, cell, files, openvino_options(cell), "property INFERENCE_NUM_THREADS"
        )

    def expose(
        self, folder: Path, cell: Cell, into: Path, only: Collection[str] | None, inputs: Arrays
    ) -> Exposed:
        if conversion.uses_pytorch_frontend(cell):
            raise Unsupported(
                f"{cell.id} runs the file of `openvino`; inspect models of OpenVINO's "
                "PyTorch frontend with `openvino`"
            )
        return super().expose(folder, cell, into, only, inputs)

    def load(self, folder: Path, cell: Cell) -> Session:
        ir = folder / backend.IR_FILE
        try:
            return OpenVinoProgram(ir if ir.exists() else folder / export.FILE, cell)
        except RuntimeError as error:
            unsupported = conversion.refusal(error)
            if unsupported is None:
                raise
            raise unsupported from error
