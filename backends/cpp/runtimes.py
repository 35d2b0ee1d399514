"""The C++ backends: ONNX Runtime and OpenVINO as programs (`cpp-*`) and behind ctypes (`ctypes-*`);
libtorch is in `native_libtorch`.

They read the very artifacts of their Python counterparts, with the same settings, so that what
differs is the binding.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from backends.cpp import build, frames
from backends.cpp import session as native
from backends.onnx import export, protobuf_reader
from backends.onnx import precision as onnx_precision
from backends.onnx.backend import OnnxBackend
from backends.onnxruntime import executed_graph
from backends.onnxruntime import session as ort_session
from backends.openvino import backend, conversion
from harness import Attestation, Backend, Cell, Session, Unsupported
from harness.core.backend import Deployment
from harness.core.intermediate_tensors import Exposed
from harness.core.session import ProgramEnded

if TYPE_CHECKING:
    from harness.core.session import Arrays

SPINNING = "'default' lets idle threads spin as the runtime does; 'off' makes them sleep at once"


class Native(Backend):
    """A runtime reached through its C or C++ interface."""

    runtime: ClassVar[str]
    """A key of `native_build.DISTRIBUTIONS`."""
    requires = ()
    """Nothing is imported: the program loads the library of the Python package by itself."""
    binary: ClassVar[str] = build.PROGRAM

    def missing(self) -> tuple[str, ...]:
        package = build.DISTRIBUTIONS[self.runtime]
        return () if importlib.util.find_spec(package) else (package,)

    def lacks(self, cell: Cell) -> str:
        return build.lacks() or super().lacks(cell)

    def binaries(self) -> Sequence[Path]:
        return [build.built(self.runtime) / self.binary, *build.opened(self.runtime)]


def compiled(
    runtime: str, cell: Cell, files: Sequence[str], options: Mapping[str, object], threads: str
) -> Deployment:
    """A program in C++: which of `files` it loads, the options that it is told, and the one of them
    that is its number of threads.

    Raises Unsupported where nothing could compile it here, so that it would not be proved.
    """
    lacking = build.lacks()
    if lacking:
        raise Unsupported(f"its program is compiled to prove it; {lacking}")
    inputs = [
        (spec.name, native.code(spec.dtype), list(spec.concrete(cell.batch)))
        for spec in cell.model.inputs
    ]
    named = {f"input {at}": name for at, (name, _, _) in enumerate(inputs)}
    named |= {f"open {at}": spec.name for at, spec in enumerate(cell.model.outputs) if spec.is_open}
    told = {"files": ",".join(files), **named, **options}
    settings = {"files": list(files), "inputs": inputs, "threads": threads}
    package = build.DISTRIBUTIONS[runtime]
    return Deployment(
        (package,),
        "backends.cpp.deployed_network:Network",
        settings,
        build.shipped(runtime, told),
        build.TOOLS,
    )


class OfFile(Session):
    """What a program and a library have in common: what they are told of a file, and what is
    attested from the facts they tell of it.
    """

    library_name: ClassVar[str]
    told: ClassVar[Callable[[Path, Cell], Mapping[str, object]]]
    attested: ClassVar[Callable[[Mapping[str, str], Cell, Path], Attestation]]

    def __init__(self, file: Path, cell: Cell) -> None:
        self.file = file
        super().__init__(self.library_name, self.told(file, cell), cell)

    def attest(self) -> Attestation:
        return self.attested(self.facts(), self.cell, self.file)


# -- ONNX Runtime ----------------------------------------------------------------------------------


def ort_settings(cell: Cell) -> dict[str, object]:
    """What a session is made with; the settings are those of `backends.onnxruntime.backend`."""
    spinning = "0" if cell.option.get("spinning") == "off" else "1"
    entries = {
        **ort_session.ENTRIES,
        "session.intra_op.allow_spinning": spinning,
        "session.inter_op.allow_spinning": spinning,
    }
    return {"threads": cell.threads, **{f"entry {name}": value for name, value in entries.items()}}


def ort_options(file: Path, cell: Cell) -> dict[str, object]:
    """What the C++ code is told."""
    return {
        "model": file,
        "library": build.library_of("onnxruntime"),
        **ort_settings(cell),
        "profiled_runs": ort_session.PROFILED_RUNS,
        "write_optimized": "yes" if file.stat().st_size <= ort_session.LARGEST_BYTES else "no",
    }


def attest_ort(facts: Mapping[str, str], cell: Cell, file: Path) -> Attestation:
    """As `backends.onnxruntime.backend` attests: from a profile of a session of its own, and from
    the graph that optimisation left.
    """
    nodes = executed_graph.executed(json.loads(Path(facts["profile"]).read_text()))
    before = protobuf_reader.read(file)
    precision, emulated = executed_graph.ran_in(cell.precision, nodes, before.precision)
    graph = executed_graph.summary(nodes) | {"profiled_runs": ort_session.PROFILED_RUNS}
    if "optimised" in facts:
        graph |= executed_graph.changes(before, protobuf_reader.read(Path(facts["optimised"])))
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
        labels=tuple(filter(None, [executed_graph.label(cell.precision, nodes)])),
        details={
            "graph": graph,
            "stored_weights": before.precision,
            "threads_from": "threads that the session started, and the caller's",
        },
    )


def without_kernel(error: RuntimeError, cell: Cell) -> Exception:
    """`error`, or Unsupported where the CPU provider has no kernel at the cell's precision."""
    kernel = onnx_precision.without_kernel(error)
    return Unsupported(f"CPUExecutionProvider {kernel} at {cell.precision}") if kernel else error


class OnOrt(OfFile):
    """ONNX Runtime in either."""

    library_name = "onnxruntime"
    told, attested = staticmethod(ort_options), staticmethod(attest_ort)


class OrtProgram(OnOrt, frames.LineSession):
    """ONNX Runtime in C++."""


class OrtLibrary(OnOrt, native.LibrarySession):
    """ONNX Runtime behind ctypes."""


class CppOrt(Native, OnnxBackend):
    """A C++ program on ONNX Runtime's C ABI, from the library in the Python wheel."""

    name = "cpp-ort"
    open_outputs = True
    runtime = "onnxruntime"
    session: ClassVar[type[OrtProgram | OrtLibrary]] = OrtProgram
    distributions = ("onnxruntime", *OnnxBackend.distributions)
    environments = {"": ("onnxruntime", *build.BUILD_TOOLS)}
    options = {**OnnxBackend.options, "spinning": SPINNING}

    def deployment(self, cell: Cell) -> Deployment:
        return compiled(self.runtime, cell, [export.FILE], ort_settings(cell), "threads")

    def load(self, folder: Path, cell: Cell) -> Session:
        try:
            return self.session(folder / export.FILE, cell)
        except RuntimeError as error:
            raise without_kernel(error, cell) from error


class CtypesOrt(CppOrt):
    """The same code as a shared library, called from Python."""

    name = "ctypes-ort"
    session = OrtLibrary
    binary = build.LIBRARY


# -- OpenVINO --------------------------------------------------------------------------------------

READ = (
    *backend.READ_BACK,
    "INFERENCE_NUM_THREADS",
    "CPU_DENORMALS_OPTIMIZATION",
    "EXECUTION_DEVICES",
)
"""The properties that are read back from the compiled model, where this release has them."""

TRUE = ("YES", "TRUE", "1")


def openvino_options(cell: Cell) -> dict[str, object]:
    """What the C++ code is told; the properties are those of `backends.openvino.backend`."""
    properties = {f"property {name}": _word(value) for name, value in backend.wanted(cell).items()}
    shapes = {
        f"shape {spec.name}": ",".join(map(str, spec.concrete(cell.batch)))
        for spec in cell.model.inputs
    }
    options: dict[str, object] = {
        "device": cell.device.upper(),
        "read": ",".join(READ),
        **properties,
        **shapes,
    }
    if cell.option.get("precision_hint", "asked") == "asked":
        options["hint_needs"], options["hint"] = backend.hint_of(cell.precision)
    return options


class OpenVinoProgram(frames.LineSession):
    """OpenVINO in C++."""

    def __init__(self, file: Path, cell: Cell) -> None:
        super().__init__("openvino", {"model": file, **openvino_options(cell)}, cell)

    def attest(self) -> Attestation:
        facts = self.facts()
        read = {
            name.removeprefix("property "): value.strip()
            for name, value in facts.items()
            if name.startswith("property ")
        }
        executed = _executed(facts)
        counts = backend.compute_nodes(executed)
        dynamic = int(read.get("DYNAMIC_QUANTIZATION_GROUP_SIZE", "0")) > 0
        hint, stored = read["INFERENCE_PRECISION_HINT"], facts.get("stored", "")
        precision, emulated = backend.ran_in(self.cell.precision, hint, counts, stored, dynamic)
        return Attestation(
            runtime="openvino",
            version=facts["version"],
            device=read["EXECUTION_DEVICES"].lower(),
            precision=precision,
            threads=int(read["INFERENCE_NUM_THREADS"]),
            denormals="flushed"
            if read["CPU_DENORMALS_OPTIMIZATION"].upper() in TRUE
            else "preserved",
            spinning="runtime default",  # as in Python: oneTBB has no switch to set or read
            providers=(read["EXECUTION_DEVICES"],),
            placement=backend.by_precision(executed),
            emulated=emulated,
            labels=backend.labels_of(self.cell, counts),
            details={
                **{name.lower(): value for name, value in read.items()},
                "compute_nodes": dict(counts),
                "stored_weights": stored,
            },
        )


def _word(value: object) -> str:
    """A property as the text that OpenVINO reads."""
    return {True: "YES", False: "NO"}[value] if isinstance(value, bool) else str(value)


def _executed(facts: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """The facts `executed <layer type> <precision>` as numbers of nodes by both."""
    found = {}
    for name, value in facts.items():
        if name.startswith("executed "):
            layer, precision = name.removeprefix("executed ").rsplit(" ", 1)
            found[layer, precision] = int(value)
    return found


class CppOpenVino(Native, backend.OpenVino):
    """A C++ program on OpenVINO, from the headers and libraries in the Python wheel: one request,
    for latency.
    """

    name = "cpp-openvino"
    runtime = "openvino"
    environments = {"": ("openvino", *build.BUILD_TOOLS)}
    options = {
        name: words
        for name, words in backend.OpenVino.options.items()
        if name not in ("hint", "requests", "dynamic")
    }

    def deployment(self, cell: Cell) -> Deployment:
        files = super().deployment(cell).settings["files"]
        return compiled(
            self.runtime, cell, files, openvino_options(cell), "property INFERENCE_NUM_THREADS"
        )

    def expose(
        self, folder: Path, cell: Cell, into: Path, only: Collection[str] | None, inputs: Arrays
    ) -> Exposed:
        if conversion.converts(cell):
            raise Unsupported(
                f"what OpenVINO's PyTorch frontend converted is looked into by `openvino`, whose file {cell.id} runs"
            )
        return super().expose(folder, cell, into, only, inputs)

    def load(self, folder: Path, cell: Cell) -> Session:
        own = folder / backend.OWN
        try:
            return OpenVinoProgram(own if own.exists() else folder / export.FILE, cell)
        except ProgramEnded:  # whatever its last words were, a crash is no refusal
            raise
        except RuntimeError as error:
            refused = conversion.unconverted(error)
            if refused is None:
                raise
            raise refused from error
