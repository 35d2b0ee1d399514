"""The backends `cpp-ort` and `ctypes-ort`: ONNX Runtime's C API in a program or behind ctypes.

Both read the artifact of `ort` with the same settings, so that only the binding differs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from evenbench.backends.cpp import backend as cpp_backend
from evenbench.backends.cpp import build, frames, library_session, toolchain, wheel_libraries
from evenbench.backends.onnx import backend, export, file_precision, protobuf_reader
from evenbench.backends.onnx import precision as onnx_precision
from evenbench.backends.onnxruntime import executed_graph, fusions, session_options
from evenbench.backends.onnxruntime import session as ort_session
from evenbench.harness import Attestation, Cell, Session, Unsupported
from evenbench.harness.core.backend import Deployment

# -- ONNX Runtime ----------------------------------------------------------------------------------


def ort_settings(cell: Cell) -> dict[str, object]:
    """Return the session's settings, equal to those in `backends.onnxruntime.session_options`."""
    spinning = "0" if cell.option.get("spinning") == "off" else "1"
    entries = {
        **session_options.CONFIG_ENTRIES,
        "session.intra_op.allow_spinning": spinning,
        "session.inter_op.allow_spinning": spinning,
    }
    return {"threads": cell.threads, **{f"entry {name}": value for name, value in entries.items()}}


def ort_options(file: Path, cell: Cell) -> dict[str, object]:
    """Return the options of the C++ code."""
    return {
        "model": file,
        "library": wheel_libraries.library_of("onnxruntime"),
        **ort_settings(cell),
        "profiled_runs": ort_session.PROFILED_RUNS,
        "write_optimized": "yes" if file.stat().st_size <= ort_session.LARGEST_BYTES else "no",
    }


def attest_ort(facts: Mapping[str, str], cell: Cell, file: Path) -> Attestation:
    """Attest from the profile of a second session and from the optimised graph, as `ort` does."""
    nodes = executed_graph.nodes_of_last_run(json.loads(Path(facts["profile"]).read_text()))
    before = protobuf_reader.read(file)
    precision, emulated = executed_graph.executed_precision(
        cell.precision, nodes, before.precision, in_file=cell.stored_precisions
    )
    graph = executed_graph.summary(nodes) | {"profiled_runs": ort_session.PROFILED_RUNS}
    if "optimised" in facts:
        graph |= fusions.compare_graphs(before, protobuf_reader.read(Path(facts["optimised"])))
    providers: Counter[str] = Counter(node.provider for node in nodes)
    return Attestation(
        runtime="onnxruntime",
        version=facts["version"],
        device="cpu" if set(providers) == {"CPUExecutionProvider"} else ",".join(sorted(providers)),
        precision=precision,
        threads=int(facts["threads"]),
        denormals="flushed" if facts["denormals_as_zero"] == "1" else facts["denormals"],
        spinning=facts["spinning"],
        providers=tuple(providers),
        placement=dict(providers),
        emulated=emulated,
        labels=tuple(filter(None, [executed_graph.precision_label(cell.precision, nodes)])),
        details={
            "graph": graph,
            "stored_weights": before.precision,
            "threads_from": "threads started by the session, and the caller's",
        },
    )


def without_kernel(error: RuntimeError, cell: Cell) -> Exception:
    """Return `error`, or Unsupported if the CPU provider lacks a kernel at the precision."""
    kernel = onnx_precision.without_kernel(error)
    return Unsupported(f"CPUExecutionProvider {kernel} at {cell.precision}") if kernel else error


class OrtFileSession(cpp_backend.FileSession):
    """ONNX Runtime, in a program or a library."""

    library_name = "onnxruntime"
    options_of, attestation_of = staticmethod(ort_options), staticmethod(attest_ort)


class OrtProgram(OrtFileSession, frames.FrameSession):
    """ONNX Runtime in a C++ program."""


class OrtLibrary(OrtFileSession, library_session.LibrarySession):
    """ONNX Runtime behind ctypes."""


class CppOrt(cpp_backend.NativeBackend, backend.OnnxBackend):
    """A C++ program on ONNX Runtime's C ABI, with the library from the Python wheel."""

    name = "cpp-ort"
    open_outputs = True
    runtime = "onnxruntime"
    file_precisions = file_precision.FILE_PRECISIONS
    session: ClassVar[type[OrtProgram | OrtLibrary]] = OrtProgram
    distributions = ("onnxruntime", *backend.OnnxBackend.distributions)
    environments = {"": ("onnxruntime", *toolchain.BUILD_TOOLS)}
    options = {**backend.OnnxBackend.options, "spinning": cpp_backend.SPINNING}

    def deployment(self, cell: Cell) -> Deployment:
        return cpp_backend.program_deployment(
            self.runtime, cell, [export.FILE], ort_settings(cell), "threads"
        )

    def load(self, folder: Path, cell: Cell) -> Session:
        try:
            return self.session(folder / export.FILE, cell)
        except RuntimeError as error:
            raise without_kernel(error, cell) from error


class CtypesOrt(CppOrt):
    """The same code in a shared library, called from Python."""

    name = "ctypes-ort"
    session = OrtLibrary
    binary = build.LIBRARY


# -- OpenVINO --------------------------------------------------------------------------------------
