"""The C++ backends: ONNX Runtime, OpenVINO and libtorch as programs (`cpp-*`) and behind ctypes (`ctypes-*`).

They read the very artifacts of their Python counterparts, with the same settings, so that what differs is the binding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from backends import native, onnx_artifact, openvino_native, torch_aot, torch_model, torch_script
from harness import Attestation, Backend, Cell, Session, Source, environment

SPINNING = "'default' lets idle threads spin as the runtime does; 'off' makes them sleep at once"


class OrtProgram(native.ProgramSession):
    """ONNX Runtime in C++."""

    def attest(self) -> Attestation:
        return attest_ort(self.facts(), self.cell, self.file)

    def __init__(self, file: Path, cell: Cell) -> None:
        self.file = file
        super().__init__("onnxruntime", ort_options(file, cell), cell)


class OrtLibrary(native.LibrarySession):
    """ONNX Runtime behind ctypes."""

    def attest(self) -> Attestation:
        return attest_ort(self.facts(), self.cell, self.file)

    def __init__(self, file: Path, cell: Cell) -> None:
        self.file = file
        super().__init__("onnxruntime", ort_options(file, cell), cell)


def ort_options(file: Path, cell: Cell) -> Mapping[str, object]:
    """What the C++ code is told; the settings are those of `backends.ort`."""
    spinning = "off" if cell.option.get("spinning") == "off" else "on"
    library = native.library_of("onnxruntime")
    return {"model": file, "library": library, "threads": cell.threads, "spinning": spinning}


def attest_ort(facts: Mapping[str, str], cell: Cell, file: Path) -> Attestation:
    """Precision is that of the graph in the file: nothing in the C ABI tells what was executed."""
    import onnx

    from backends import onnx_precision

    stored = onnx_precision.precision_of_graph(onnx.load(str(file)))
    casts = stored == "fp16"  # no kernel of the CPU provider computes in it: casts to fp32 are inserted around every node
    return Attestation(
        runtime="onnxruntime",
        version=facts["version"],
        device="cpu",
        precision=stored,
        threads=int(facts["threads"]),
        denormals=facts["denormals"],
        spinning=facts["spinning"],
        providers=("CPUExecutionProvider",),
        emulated="weights are stored as fp16; the CPU provider casts to fp32 and computes there" if casts else "",
        details={"precision_from": "the graph in the file", "clock": native.CLOCK},
    )


class OpenVinoProgram(native.ProgramSession):
    """OpenVINO in C++."""

    def __init__(self, file: Path, cell: Cell) -> None:
        hint = {"bf16": "bf16"}.get(cell.precision, "f32")
        shapes = {f"shape {spec.name}": ",".join(map(str, spec.concrete(cell.batch))) for spec in cell.model.inputs}
        options = {"model": file, "threads": cell.threads, "device": cell.device.upper(), "precision_hint": hint, **shapes}
        super().__init__("openvino", options, cell)

    def attest(self) -> Attestation:
        facts = self.facts()
        executed = dict(native.lines(facts))
        counts = openvino_native.compute_nodes(executed)
        hint = facts["INFERENCE_PRECISION_HINT"]
        precision, emulated = openvino_native.ran_in(self.cell.precision, hint, counts, "", False)
        return Attestation(
            runtime="openvino",
            version=facts["version"],
            device=facts["EXECUTION_DEVICES"].strip().lower(),
            precision=precision,
            threads=int(facts["INFERENCE_NUM_THREADS"]),
            denormals="flushed" if facts["CPU_DENORMALS_OPTIMIZATION"].upper() in ("YES", "1", "TRUE") else facts["denormals"],
            spinning="runtime default",
            providers=(facts["EXECUTION_DEVICES"].strip(),),
            placement=dict(counts),
            emulated=emulated,
            details={name.lower(): facts[name] for name in ("NUM_STREAMS", "PERFORMANCE_HINT", "ENABLE_CPU_PINNING")},
        )


class TorchFacts:
    """What both libtorch sessions attest."""

    names: Mapping[str, str] = {"Float": "fp32", "Half": "fp16", "BFloat16": "bf16", "Double": "fp64"}

    def of(self, facts: Mapping[str, str], cell: Cell) -> Attestation:
        """Threads as libtorch says; precision from the types of the frozen constants and of the outputs."""
        types = [self.names.get(word, word) for word in facts["types"].split(",") if word]
        return Attestation(
            runtime="libtorch",
            version=facts["version"],
            device="cpu",
            precision=",".join(sorted(set(types))),
            threads=int(facts["threads"]),
            denormals=facts["denormals"],
            spinning="off" if cell.option.get("spinning") == "off" else "on",
            providers=("AOTInductor" if artifact_of(cell) == "aot" else "TorchScript",),
            labels=() if artifact_of(cell) == "aot" else ("deprecated",),
            details={"clock": native.CLOCK},
        )


class TorchProgram(native.ProgramSession):
    """libtorch in C++."""

    def __init__(self, folder: Path, cell: Cell) -> None:
        super().__init__("libtorch", torch_options(folder, cell), cell)

    def attest(self) -> Attestation:
        return TorchFacts().of(self.facts(), self.cell)


class TorchLibrary(native.LibrarySession):
    """libtorch behind ctypes."""

    def __init__(self, folder: Path, cell: Cell) -> None:
        super().__init__("libtorch", torch_options(folder, cell), cell)

    def attest(self) -> Attestation:
        return TorchFacts().of(self.facts(), self.cell)


def artifact_of(cell: Cell) -> str:
    """`script` or `aot`."""
    return str(cell.option.get("artifact", "script"))


def torch_options(folder: Path, cell: Cell) -> Mapping[str, object]:
    """What the C++ code is told."""
    file = torch_aot.FILE if artifact_of(cell) == "aot" else torch_script.FILE
    return {"model": folder / file, "threads": cell.threads, "artifact": artifact_of(cell)}


class NativeOnnx(onnx_artifact.OnnxBackend):
    """Reads the shared ONNX file in C++."""

    def lacks(self, cell: Cell) -> str:
        return native.lacks() or super().lacks(cell)


class CppOrt(NativeOnnx):
    """A C++ program on ONNX Runtime's C ABI, from the library in the Python wheel."""

    name = "cpp-ort"
    requires = ("onnxruntime",)
    precisions = ("fp32", "fp16", "int8-dynamic", "int8-static")
    distributions = ("onnxruntime", *onnx_artifact.OnnxBackend.distributions)
    options = {**onnx_artifact.OnnxBackend.options, "spinning": SPINNING}

    def load(self, folder: Path, cell: Cell) -> Session:
        return OrtProgram(folder / onnx_artifact.FILE, cell)


class CtypesOrt(CppOrt):
    """The same code as a shared library, called from Python."""

    name = "ctypes-ort"

    def load(self, folder: Path, cell: Cell) -> Session:
        return OrtLibrary(folder / onnx_artifact.FILE, cell)


class CppOpenVino(NativeOnnx):
    """A C++ program on OpenVINO, from the headers and libraries in the Python wheel."""

    name = "cpp-openvino"
    requires = ("openvino",)
    precisions = ("fp32", "bf16", "int8-static")
    distributions = ("openvino", *onnx_artifact.OnnxBackend.distributions)

    def load(self, folder: Path, cell: Cell) -> Session:
        return OpenVinoProgram(folder / onnx_artifact.FILE, cell)


class CppLibtorch(Backend):
    """A C++ program on libtorch: the frozen TorchScript file, or an AOTInductor package."""

    name = "cpp-libtorch"
    requires = ("torch",)
    distributions = torch_model.DISTRIBUTIONS
    options = {
        "artifact": "'script' (default) runs the frozen TorchScript file, 'aot' an AOTInductor package through its C++ loader",
        "spinning": SPINNING,
    }

    def supports(self, cell: Cell) -> str:
        if artifact_of(cell) not in ("script", "aot"):
            return f"artifact is 'script' or 'aot', not {artifact_of(cell)!r}"
        return super().supports(cell) or torch_model.supports_module(cell.model)

    def lacks(self, cell: Cell) -> str:
        return native.lacks() or self._maker(cell).lacks(self._plain(cell))

    def variables(self, cell: Cell) -> Mapping[str, str]:
        return environment.PASSIVE if cell.option.get("spinning") == "off" else {}

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return self._maker(cell).artifact_key(self._plain(cell))

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        return self._maker(cell).prepare(source, self._plain(cell), folder)

    def load(self, folder: Path, cell: Cell) -> Session:
        return TorchProgram(folder, cell)

    def _maker(self, cell: Cell) -> Backend:
        return torch_aot.TorchAot() if artifact_of(cell) == "aot" else torch_script.TorchScript()

    def _plain(self, cell: Cell) -> Cell:
        return replace(cell, backend=self._maker(cell).name, options=())


class CtypesLibtorch(CppLibtorch):
    """The same code as a shared library, called from Python."""

    name = "ctypes-libtorch"

    def load(self, folder: Path, cell: Cell) -> Session:
        return TorchLibrary(folder, cell)


