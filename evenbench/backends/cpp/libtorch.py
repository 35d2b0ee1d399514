"""The backends `cpp-libtorch` and `ctypes-libtorch`: TorchScript or AOTInductor without Python.

Both read the artifacts of `torch-script` and `torch-aot` with the same settings, so that only the
binding differs.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from evenbench.backends.cpp import backend as cpp_backend
from evenbench.backends.cpp import build, frames, library_session, toolchain
from evenbench.backends.torch import aot_inductor, inductor, int8, model, torchscript
from evenbench.backends.torch import precision as torch_precision
from evenbench.harness import Attestation, Backend, Cell, Session, Source, Unsupported
from evenbench.harness.environment import system_info

OPERATORS = "torchvision::"
"""Prefix of torchvision's operators, called by detectors."""

OPERATORS_PATTERN = "_C*.so"
"""File name of torchvision's library of operators; loading the library registers the operators."""

MESSAGE_LENGTH = 400
"""Characters repeated of a loader's message."""

TYPES = {"Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Double": "float64"}
"""Names of floating types in c10 and in torch."""


def artifact_of(cell: Cell) -> str:
    """Return `script` or `aot`."""
    return str(cell.option.get("artifact", "script"))


def torch_file(folder: Path, cell: Cell) -> Path:
    """Return the artifact's file for C++."""
    return folder / (aot_inductor.FILE if artifact_of(cell) == "aot" else torchscript.FILE)


def torch_options(file: Path, cell: Cell) -> dict[str, object]:
    """Return the options of the C++ code."""
    library = operators()
    optional = {"operators": library} if library else {}
    return {"model": file, "threads": cell.threads, "artifact": artifact_of(cell), **optional}


def operators() -> Path | None:
    """Return torchvision's library of operators, or None without torchvision."""
    spec = importlib.util.find_spec("torchvision")
    folders = (spec.submodule_search_locations if spec else None) or ()
    return next(
        (file for folder in folders for file in sorted(Path(folder).glob(OPERATORS_PATTERN))), None
    )


def attest_torch(facts: Mapping[str, str], cell: Cell, file: Path) -> Attestation:
    """Attest from the types of frozen constants, or from the package's code, as in Python."""
    precision = torch_precision.named_types(
        TYPES.get(name, name) for name in facts["types"].split(",") if name
    )
    threads, labels, providers = (
        int(facts["threads"]),
        ("deprecated",),
        (f"ATen {facts['cpu_capability']}",),
    )
    details: dict[str, Any] = {
        name: facts[name]
        for name in ("interop_threads", "float32_matmul_precision", "cpu_capability")
    }
    if artifact_of(cell) == "aot":
        code = aot_inductor.code_of(file)
        precision = code.int8 or torch_precision.named_types(code.constants) or precision
        # Every parallel region has the number in its code; only library calls use libtorch's
        # setting.
        threads = max(code.threads - {threads}, default=threads)
        labels, providers = code.labels, ("AOTInductor",)
        details |= {**code.facts(), "constants": sorted(code.constants)}
    return Attestation(
        runtime="torch",
        version=facts["version"],
        device="cpu",
        precision=precision
        if facts["float32_matmul_precision"] == "highest" or precision != "fp32"
        else "fp32 narrowed",
        threads=threads,
        denormals=facts["denormals"],
        spinning="off" if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE" else "on",
        providers=providers,
        emulated=torch_precision.emulated(precision, "cpu"),
        labels=labels,
        details=details,
    )


class TorchFileSession(cpp_backend.FileSession):
    """libtorch, in a program or a library."""

    library_name = "libtorch"
    options_of, attestation_of = staticmethod(torch_options), staticmethod(attest_torch)


class TorchProgram(TorchFileSession, frames.FrameSession):
    """libtorch in a C++ program."""


class TorchLibrary(TorchFileSession, library_session.LibrarySession):
    """libtorch behind ctypes."""


class CppLibtorch(cpp_backend.NativeBackend):
    """A C++ program on libtorch: a frozen TorchScript file or an AOTInductor package."""

    name = "cpp-libtorch"
    open_outputs = True
    runtime = "libtorch"
    session: ClassVar[type[TorchProgram | TorchLibrary]] = TorchProgram
    precisions = ("fp32", *torch_precision.DTYPES, *int8.PRECISIONS)
    distributions = model.DISTRIBUTIONS
    environments = {"": (*model.DISTRIBUTIONS, *toolchain.BUILD_TOOLS)}
    options = {
        **inductor.OPTIONS,
        "artifact": (
            "'script' (default) runs the frozen TorchScript file, 'aot' an AOTInductor package "
            "through its C++ loader"
        ),
        "spinning": cpp_backend.SPINNING,
    }

    def supports(self, cell: Cell) -> str:
        if artifact_of(cell) not in ("script", "aot"):
            return f"artifact is 'script' or 'aot', not {artifact_of(cell)!r}"
        return super().supports(cell) or self._maker(cell).supports(self._plain(cell))

    def lacks(self, cell: Cell) -> str:
        return super().lacks(cell) or self._maker(cell).lacks(self._plain(cell))

    def variables(self, cell: Cell) -> Mapping[str, str]:
        return system_info.PASSIVE if cell.option.get("spinning") == "off" else {}

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return self._maker(cell).artifact_key(self._plain(cell))

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        return self._maker(cell).prepare(source, self._plain(cell), folder)

    def load(self, folder: Path, cell: Cell) -> Session:
        try:
            return self.session(torch_file(folder, cell), cell)
        except RuntimeError as error:
            if OPERATORS not in str(error):
                raise
            message = " ".join(str(error).split())[:MESSAGE_LENGTH]
            raise Unsupported(
                f"{cell.model.name} calls torchvision's operators, and C++ cannot load "
                f"these here ({message})"
            ) from error

    def _maker(self, cell: Cell) -> Backend:
        return aot_inductor.TorchAot() if artifact_of(cell) == "aot" else torchscript.TorchScript()

    def _plain(self, cell: Cell) -> Cell:
        """Return the cell of the Python backend that makes the artifact."""
        options = tuple(
            (name, value) for name, value in cell.options if name not in ("artifact", "spinning")
        )
        return replace(cell, backend=self._maker(cell).name, options=options)


class CtypesLibtorch(CppLibtorch):
    """The same code in a shared library, called from Python."""

    name = "ctypes-libtorch"
    session = TorchLibrary
    binary = build.LIBRARY
